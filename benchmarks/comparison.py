"""The fixture that compares: in one process, interleaved, fastest of many rounds, only what was verified first."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

import torch
from pytest_benchmark.fixture import BenchmarkFixture

from .machine import Machine

Call = Callable[[], object]


@dataclass(frozen=True)
class Effort:
    """How long a case is timed: as many rounds as fit into `seconds`, within limits."""

    seconds: float
    fewest_rounds: int
    most_rounds: int

    def rounds(self, seconds_a_round: float) -> int:
        return max(self.fewest_rounds, min(self.most_rounds, int(self.seconds / max(seconds_a_round, 1e-9))))


FULL = Effort(seconds=1.6, fewest_rounds=5, most_rounds=60)
QUICK = Effort(seconds=0.15, fewest_rounds=3, most_rounds=20)


def timed(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ratio_facts(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Fastest time, its ratio to ours, and the quartiles of the rounds' own ratios, which are the spread."""
    rounds = [b / a for a, b in zip(ours, theirs, strict=True)]
    low, _, high = quantiles(rounds, n=4) if len(rounds) > 1 else rounds * 3
    return {"seconds": min(theirs), "ratio": min(theirs) / min(ours), "quartiles": [low, high]}


class Comparison:
    """Times ours with pytest-benchmark, and beside it, round by round, every peer.

    Peers run in pytest-benchmark's set-up of one round and in its clean-up of the next, so that ours goes second and
    first by turns; several peers change their order likewise.
    """

    def __init__(self, benchmark: BenchmarkFixture, case: Mapping[str, Any], effort: Effort, machine: Machine) -> None:
        self._benchmark, self._case, self._effort, self._machine = benchmark, case, effort, machine

    def __call__(
        self,
        ours: Call,
        peer: Call,
        peer_name: str,
        *,
        peers: Mapping[str, Call] | None = None,
        absent: Mapping[str, str] | None = None,
        flops: int | None = None,
        peer_flops: int | None = None,
        bytes: int | None = None,
        dtype: torch.dtype = torch.float32,
        **facts: Any,
    ) -> None:
        """All do the same work, which the caller has verified.

        Args:
            ours, peer, peer_name: what is compared; the ratio of the case is this peer's.
            peers: more of them, by name.
            absent: peers that were asked for and are not there, with the reason.
            flops: floating-point operations of one call of ours; `peer_flops` of the peer, where they differ.
            bytes: what a call must move.
            dtype: whose peak the share is of.
            facts: whatever else the report should hold, as JSON.
        """
        calls = {peer_name: peer, **(peers or {})}
        for call in (ours, *calls.values()):
            call()
        a_round = timed(ours) + sum(timed(call) for call in calls.values())
        times = self._interleave(ours, calls, self._effort.rounds(a_round))
        info = self._benchmark.extra_info
        info.update(self._case, peer=peer_name, dtype=str(dtype).removeprefix("torch."), **facts)
        info.update(flops=flops, bytes=bytes, absent=dict(absent or {}))
        if times is None:
            return
        fastest = min(self._benchmark.stats.stats.data)
        info["ours_s"] = fastest
        info["peers"] = {name: ratio_facts(self._benchmark.stats.stats.data, each) for name, each in times.items()}
        info.update(peer_s=info["peers"][peer_name]["seconds"], ratio=info["peers"][peer_name]["ratio"])
        if flops:
            rate = flops / fastest
            info.update(gflops=rate / 1e9, share_of_peak=rate / self._machine.peak(dtype))
            if self._machine.fma and dtype == torch.float32:
                info["share_of_fma"] = rate / (self._machine.fma * self._machine.threads)
        if peer_flops:
            info["peer_gflops"] = peer_flops / info["peer_s"] / 1e9

    def _interleave(self, ours: Call, calls: Mapping[str, Call], rounds: int) -> dict[str, list[float]] | None:
        """Seconds of every round of every peer; None where benchmarks run as tests and nothing is timed."""
        times: dict[str, list[float]] = {name: [] for name in calls}
        done = 0

        def run_peers() -> None:
            for name in reversed(calls) if done % 4 < 2 else calls:
                times[name].append(timed(calls[name]))

        def before() -> None:
            if done % 2 == 0:
                run_peers()

        def after() -> None:
            nonlocal done
            if done % 2 == 1:
                run_peers()
            done += 1

        self._benchmark.pedantic(ours, setup=before, teardown=after, rounds=rounds)
        return times if self._benchmark.stats is not None else None
