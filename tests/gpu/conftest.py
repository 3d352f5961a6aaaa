"""The `device` that a test of launchers gets, and which rung of the ladder (docs/gpu.md) each test is."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.gpu.devices import Cuda, Emulated, why_no_gpu

HERE = Path(__file__).parent
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
        if not item.path.is_relative_to(HERE):  # pytest gives the tests of all folders
            continue
        if item.path.is_relative_to(HERE / "triton"):
            item.add_marker(pytest.mark.rung(4))
        elif uses_device(item) and item.get_closest_marker("gpu") is None:
            item.add_marker(pytest.mark.rung(2))
        if rung := item.get_closest_marker("rung"):
            item.user_properties.append(("rung", rung.args[0]))


cases = Counter()  # that passed, by rung
failures = Counter()


def pytest_runtest_logreport(report):
    properties = dict(report.user_properties)
    if "rung" not in properties:
        return
    if report.failed:
        failures[properties["rung"]] += 1
    elif report.when == "call" and report.passed:
        cases[properties["rung"]] += properties.get("cases", 1)  # of a process that ran tests of its own


def pytest_unconfigure(config):
    """Last of all lines, so after pytest's own."""
    rungs = [f"rung {rung}: {cases[rung]} passed, {failures[rung]} failed" for rung in sorted({*cases, *failures})]
    if rungs:
        config.get_terminal_writer().line("gpu-check: " + "; ".join(rungs))
