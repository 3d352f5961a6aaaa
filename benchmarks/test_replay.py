"""Draw a batch by priority and give it new priorities; gather sequences from a ring of steps."""

from __future__ import annotations

import numpy as np
import pytest

from pyagent.replay.storage import gather

from .replay import NumpySampler, NumpyTree, OurSampler, OurTree, Problem, peers, sampler_call, tree_call


@pytest.fixture
def all_peers(request: pytest.FixtureRequest) -> bool:
    return request.config.getoption("--peers") == "all"


@pytest.mark.benchmark(group="replay")
def test_sum_tree(compare, all_peers: bool) -> None:
    """A million items, batches of 256: find, and update."""
    problem = Problem()
    calls, absent = peers(all_peers, lambda peer: tree_call(peer.tree(problem.priority), problem))
    compare(
        tree_call(OurTree(problem.priority), problem),
        tree_call(NumpyTree(problem.priority), problem),
        "numpy",
        peers=calls,
        absent=absent,
    )


@pytest.mark.benchmark(group="replay")
def test_prioritised_sampling(compare, all_peers: bool) -> None:
    """The same with random numbers, importance weights and the exponent α, as a learner calls it."""
    problem = Problem()
    calls, absent = peers(all_peers, lambda peer: sampler_call(peer.sampler(problem.priority), problem))
    compare(
        sampler_call(OurSampler(problem.priority), problem),
        sampler_call(NumpySampler(problem.priority), problem),
        "numpy",
        peers=calls,
        absent=absent,
    )


@pytest.mark.benchmark(group="gathering sequences")
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        pytest.param((), "float32", id="rewards"),
        pytest.param((64,), "int32", id="64 tokens"),
        pytest.param((84, 84), "uint8", id="frames", marks=pytest.mark.full),
    ],
)
def test_gather(compare, shape: tuple[int, ...], dtype: str) -> None:
    """64 sequences of 125 steps out of 32 lanes: R2D2's batch, of one field."""
    B, R, T, n = 32, 2000, 125, 64
    random = np.random.default_rng(0)
    steps = random.integers(0, 100, (B, R, *shape)).astype(dtype)
    lane, start = random.integers(0, B, n), random.integers(0, R, n)

    def by_index() -> np.ndarray:
        rows = lane * R + (start + np.arange(T)[:, None]) % R
        return steps.reshape(B * R, *shape).take(rows, axis=0)

    np.testing.assert_array_equal(gather(steps, lane, start, T), by_index())
    compare(lambda: gather(steps, lane, start, T), by_index, "numpy", bytes=2 * by_index().nbytes)
