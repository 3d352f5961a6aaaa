import hypothesis
import pytest
import torch

import pyagent
from pyagent import native

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


def pytest_report_header():
    cuda = "ready" if native.cuda is not None and torch.cuda.is_available() else "not tested here"
    return f"pyagent {pyagent.__version__}: native core on {native.isa()}, CUDA {cuda}, torch {torch.__version__}"


def pytest_sessionstart():
    if not native.available:
        pytest.exit("the native core is not loaded (PYAGENT_NATIVE=0?), and it is what these tests test", returncode=1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def randomised():
    """Gives a module random weights: heads that begin at 0 would hide mistakes."""

    def randomise(module):
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
        return module

    return randomise
