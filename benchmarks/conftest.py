"""Options, fixtures and the terminal summary of the suite; how a comparison is made is in comparison.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from pyagent import info

from . import memory
from .comparison import FULL, QUICK, Comparison
from .machine import Machine
from .peers import Selection
from .problem import Problem, Shape

ROWS: list[tuple[str, dict[str, Any]]] = []
SPEEDS: list[tuple[str, float]] = []
MEMORY_SHAPES = pytest.StashKey[dict[tuple[str, str], tuple[Shape, ...]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("pyagent")
    group.addoption("--quick", action="store_true", help="few shapes and few rounds: the suite in 90 s")
    group.addoption("--peers", choices=("torch", "all"), default="torch", help="who ours is compared with")
    group.addoption("--threads", type=int, action="append", help="thread counts of every case; 1 if left out")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: left out by --quick")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--quick"):
        left_out = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "threads" in metafunc.fixturenames:
        counts = metafunc.config.getoption("--threads") or [1]
        metafunc.parametrize("threads", counts, indirect=True, ids=[f"{n} thread" for n in counts])


@cache
def machine(threads: int) -> Machine:
    return Machine(threads)


@pytest.fixture(autouse=True)
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def compare(benchmark: BenchmarkFixture, request: pytest.FixtureRequest, threads: int) -> Iterator[Comparison]:
    case = {**_case(request.node.callspec.params), "threads": threads}
    effort = QUICK if request.config.getoption("--quick") else FULL
    yield Comparison(benchmark, case, effort, machine(threads))
    if "ratio" in benchmark.extra_info:
        ROWS.append((request.node.name, dict(benchmark.extra_info)))


def _case(params: dict[str, Any]) -> dict[str, Any]:
    """A test's parameters by name, a shape as B, T and H."""
    case = {name: value for name, value in params.items() if name not in ("shape", "threads")}
    return {**case, **dict(zip("BTH", params.get("shape", ()), strict=False))}


@pytest.fixture
def other_peers(request: pytest.FixtureRequest) -> Selection:
    """The peers besides torch.nn that were asked for."""
    return Selection(request.config.getoption("--peers") == "all")


@pytest.fixture
def peak_memory(
    request: pytest.FixtureRequest, benchmark: BenchmarkFixture
) -> Callable[[Problem], dict[str, int] | None]:
    """Bytes at the peak of training, ours and torch.nn's; None where it cannot be measured or nothing is timed."""
    shapes = request.session.stash.setdefault(MEMORY_SHAPES, _shapes_by_test(request.session.items))

    def measure(problem: Problem) -> dict[str, int] | None:
        if not (memory.available and benchmark.enabled):
            return None
        all_of_it = shapes[request.node.originalname, problem.cell]
        return memory.peaks(problem.cell, all_of_it, problem.tokens, problem.p_reset)[problem[1:4]]

    return measure


def _shapes_by_test(items: list[pytest.Item]) -> dict[tuple[str, str], tuple[Shape, ...]]:
    """Of every test and cell the shapes that run, so that one process measures them all."""
    found: dict[tuple[str, str], tuple[Shape, ...]] = {}
    for item in items:
        params = item.callspec.params
        if "peak_memory" in item.fixturenames:
            key = item.originalname, params["cell"]
            found[key] = (*found.get(key, ()), params["shape"])
    return found


@pytest.fixture
def steps_a_second(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Callable[[int], None]:
    """Call it after timing with the steps of one round."""

    def note(steps: int) -> None:
        if benchmark.stats is not None:  # there are none where benchmarks run as tests
            speed = steps / benchmark.stats.stats.min
            SPEEDS.append((request.node.name, speed))
            benchmark.extra_info["steps_per_second"] = round(speed)

    return note


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]) -> None:
    counts = config.getoption("--threads") or [1]
    output_json["pyagent"] = {
        "quick": config.getoption("--quick"),
        "peers": config.getoption("--peers"),
        "machine": [machine(n).facts() for n in counts],
    }


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not ROWS and not SPEEDS:
        return
    terminalreporter.section("fastest of interleaved rounds, in one process")
    terminalreporter.write_line(info.report())
    for name, row in ROWS:
        for peer, it in row["peers"].items():
            low, high = it["quartiles"]
            terminalreporter.write_line(
                f"{name:<60} {row['ours_s'] * 1e3:9.3f} ms, {peer} {it['seconds'] * 1e3:9.3f} ms: "
                f"{it['ratio']:5.2f}x (rounds {low:.2f}–{high:.2f})"
            )
        for peer, why in row["absent"].items():
            terminalreporter.write_line(f"{name:<60} {peer}: {why}")
    for name, speed in SPEEDS:
        terminalreporter.write_line(f"{name:<60} {speed:9,.0f} steps/s")
