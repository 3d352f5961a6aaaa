"""These run where Triton interprets kernels, which is decided before it is imported: see ../test_interpreted.py."""

import os

import pytest
import torch

if os.environ.get("TRITON_INTERPRET") == "1":
    from tests.gpu.triton import interpreter  # noqa: F401  # strict from the first launch on
else:
    collect_ignore_glob = ["*"]


@pytest.fixture(autouse=True)
def _memory_holds_nan():
    """New memory is NaN, or the largest integer, so that what a kernel forgets to write shows."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def _nothing_reported():
    from pyagent.kernels import bad_values

    bad_values.word(torch.device("cpu")).zero_()


@pytest.fixture
def reported():
    """Which bits kernels have reported."""
    from pyagent.kernels import bad_values

    return lambda: bad_values.word(torch.device("cpu")).item()
