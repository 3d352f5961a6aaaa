"""The `device` that a test of launchers gets, and which rung of the ladder (docs/gpu.md) each test is."""

import json
import os
from pathlib import Path

import pytest

from tests.gpu.devices import Cuda, Emulated, why_no_gpu

# What test_sanitizers.py tells the processes that it starts.
SANITIZER = os.environ.get("PYAGENT_EMULATED_SANITIZER")
FAULTS = json.loads(os.environ.get("PYAGENT_PLANTED_FAULTS", "[]"))
# 0 runs the threads in order, the others at random. What sanitizers find hardly depends on it.
SCHEDULES = [1] if SANITIZER else range(11)


@pytest.fixture(params=[*(f"schedule{seed}" for seed in SCHEDULES), pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request):
    """Runs the launchers of the test module's `SOURCES`: emulated under each schedule, and on a GPU if there is one."""
    if request.param == "gpu":
        if reason := why_no_gpu():
            pytest.skip(reason)
        return Cuda(request.module.SOURCES)
    seed = int(request.param.removeprefix("schedule"))
    return Emulated(request.module.SOURCES, SANITIZER, seed=seed, replacements=FAULTS)


def uses_device(item):
    return "device" in getattr(item, "fixturenames", ())


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the marks
def pytest_collection_modifyitems(items):
    if SANITIZER:
        items[:] = filter(uses_device, items)
    for item in items:
        if "triton" in Path(item.path).relative_to(Path(__file__).parent).parts:
            item.add_marker(pytest.mark.rung(4))
        elif uses_device(item) and item.get_closest_marker("gpu") is None:
            item.add_marker(pytest.mark.rung(2))
