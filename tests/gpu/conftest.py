"""The `device` that a test of launchers gets, and which rung of the ladder (docs/gpu.md) each test is."""

import os
from pathlib import Path

import pytest

from tests.gpu.devices import Cuda, Emulated, why_no_gpu

SANITIZER = os.environ.get("PYAGENT_EMULATED_SANITIZER")  # set by test_sanitizers.py, with the runtime preloaded
SCHEDULES = range(2) if SANITIZER else range(11)  # 0 runs the threads in order, the others at random


@pytest.fixture(params=[*(f"schedule{seed}" for seed in SCHEDULES), pytest.param("gpu", marks=pytest.mark.gpu)])
def device(request):
    """Runs the launchers of the test module's `SOURCES`: emulated under each schedule, and on a GPU if there is one."""
    if request.param == "gpu":
        if reason := why_no_gpu():
            pytest.skip(reason)
        return Cuda(request.module.SOURCES)
    return Emulated(request.module.SOURCES, SANITIZER, seed=int(request.param.removeprefix("schedule")))


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the marks
def pytest_collection_modifyitems(items):
    for item in items:
        if "triton" in Path(item.path).relative_to(Path(__file__).parent).parts:
            item.add_marker(pytest.mark.rung(4))
        elif "device" in getattr(item, "fixturenames", ()) and item.get_closest_marker("gpu") is None:
            item.add_marker(pytest.mark.rung(2))
