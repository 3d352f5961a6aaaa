"""The value tests again on every instruction set of this processor but the one in use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyagent import native

ROOT = Path(__file__).parents[2]
VALUES = [
    "tests/ops/test_recurrence.py",
    "tests/ops/test_recurrence_step.py",
    "tests/ops/test_linear.py",
    "tests/ops/test_tanh_layers.py",
    "tests/ops/test_linear_cross_entropy.py",
    "tests/ops/test_linear_scan.py",
    "tests/ops/test_n_step_returns.py",
    "tests/ops/test_retrace.py",
    "tests/ops/test_table_updates.py",
    "tests/core/test_accuracy.py",
]
SELECTED = "equal or follows or accuracy or gradcheck or nan or thread"


@pytest.mark.parametrize("isa", [isa for isa in native.supported_isas() if isa != native.isa()])
def test_values_and_gradients_on_every_instruction_set(isa):
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *VALUES, "-k", SELECTED]
    environment = {**os.environ, "PYAGENT_CPU_ISA": isa}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert f"native core on {isa}" in done.stdout
