"""How every benchmark compares: in one process, interleaved, fastest of many rounds, only what was verified first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from pyagent import info

ROUNDS = 15
ROWS: list[tuple[str, float, float]] = []
SPEEDS: list[tuple[str, float]] = []


@pytest.fixture(autouse=True, params=[1], ids=lambda n: f"{n} thread")
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@dataclass
class Comparison:
    """Times ours with pytest-benchmark, and beside it, round by round, a peer's."""

    benchmark: BenchmarkFixture
    name: str
    fastest: dict[str, float] = field(default_factory=dict)

    def __call__(self, ours: Callable[[], object], peer: Callable[[], object], peer_name: str) -> None:
        """Both do the same work, which the caller has verified."""
        ours(), peer()
        times: dict[str, list[float]] = {"ours": [], "peer": []}
        for _ in range(ROUNDS):
            for who, run in (("ours", ours), ("peer", peer)):
                start = time.perf_counter()
                run()
                times[who].append(time.perf_counter() - start)
        ours_s, peer_s = min(times["ours"]), min(times["peer"])
        ROWS.append((f"{self.name} against {peer_name}", ours_s, peer_s))
        self.benchmark.extra_info.update(peer=peer_name, ours_s=ours_s, peer_s=peer_s, ratio=peer_s / ours_s)
        self.benchmark.pedantic(ours, rounds=ROUNDS, warmup_rounds=1)


@pytest.fixture
def compare(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Comparison:
    return Comparison(benchmark, request.node.name)


@pytest.fixture
def steps_a_second(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Callable[[int], None]:
    """Call it after timing with the steps of one round."""

    def note(steps: int) -> None:
        if benchmark.stats is not None:  # there are none where benchmarks run as tests
            speed = steps / benchmark.stats.stats.min
            SPEEDS.append((request.node.name, speed))
            benchmark.extra_info["steps_per_second"] = round(speed)

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not ROWS and not SPEEDS:
        return
    terminalreporter.section("fastest of interleaved rounds, in one process")
    terminalreporter.write_line(info.report())
    for name, ours_s, peer_s in ROWS:
        terminalreporter.write_line(
            f"{name:<78} {ours_s * 1e3:9.3f} ms against {peer_s * 1e3:9.3f} ms: {peer_s / ours_s:5.2f}x"
        )
    for name, speed in SPEEDS:
        terminalreporter.write_line(f"{name:<78} {speed:9,.0f} steps/s")
