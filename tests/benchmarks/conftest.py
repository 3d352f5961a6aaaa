"""One tiny run of the real suite, all peers that are installed included, and what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from pyagent.benchmarks.records import Run, read_run
from pyagent.benchmarks.suite import run

CASES = (
    "(test_acting and LSTM and H128 and B1)"
    " or (test_kernel_efficiency and RNN and H256 and backward)"
    " or ((test_training or test_training_with_resets or test_dense_training or test_inference) and RNN)"
    " or (test_scaling and T-1)"
    " or test_bf16_training"
)


class TinyRun(NamedTuple):
    folder: Path
    status: int
    run: Run


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    folder = tmp_path_factory.mktemp("benchmarks")
    finished = run(folder, ["--quick", "--peers=all", "-q", "-k", CASES])
    return TinyRun(folder, finished.status, read_run(folder / "results.json"))
