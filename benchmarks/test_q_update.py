"""Tabular Q-learning a batch at a time, in place, against the loop in numpy and, with `--peers all`, in numba."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

import numpy as np
import pytest
import torch

from pyagent.ops import q_update

N = 4096
UPDATES = 8  # a timed call: one alone would be timed with what the peers left in the caches
ALPHA = 0.1
Update = Callable[..., object]


def numpy_loop(q_table, state, action, reward, next_state, discount, alpha):
    for i in range(len(state)):
        target = reward[i] + discount[i] * q_table[next_state[i]].max()
        q_table[state[i], action[i]] += alpha * (target - q_table[state[i], action[i]])


class Problem:
    """A table and four batches of transitions between states at random, one in twenty terminal."""

    def __init__(self, S: int, A: int, dtype: str) -> None:
        random = np.random.default_rng(0)
        self.q_table = random.standard_normal((S, A)).astype(dtype)
        self.alpha = float(np.dtype(dtype).type(ALPHA))
        self.batches = [
            (
                random.integers(S, size=N),
                random.integers(A, size=N),
                random.standard_normal(N).astype(dtype),
                random.integers(S, size=N),
                (0.99 * (random.random(N) > 0.05)).astype(dtype),
            )
            for _ in range(4)
        ]

    def result(self, update: Update) -> np.ndarray:
        q_table = self.q_table.copy()
        for batch in self.batches:
            update(q_table, *batch, self.alpha)
        return q_table

    def call(self, update: Update) -> Callable[[], None]:
        q_table, batches = self.q_table.copy(), cycle(self.batches)

        def learn() -> None:
            for _ in range(UPDATES):
                update(q_table, *next(batches), self.alpha)

        return learn


@pytest.mark.benchmark(group="q update")
@pytest.mark.parametrize("A", [6, 18])
@pytest.mark.parametrize("S", [500, pytest.param(100_000, marks=pytest.mark.full)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_q_update(compare, other_peers, dtype: str, S: int, A: int) -> None:
    problem = Problem(S, A, dtype)
    wanted = problem.result(numpy_loop)
    np.testing.assert_array_equal(problem.result(q_update), wanted)

    def numba_loop(peer) -> Callable[[], None]:
        # Python's float is numba's float64, and float32 would then be computed in that.
        update = lambda *batch: peer.q_update(*batch[:-1], np.dtype(dtype).type(batch[-1]))  # noqa: E731
        np.testing.assert_array_equal(problem.result(update), wanted)
        return problem.call(update)

    others = other_peers.of({"numba_loop": "numba"}, numba_loop)
    compare(
        problem.call(q_update),
        problem.call(numpy_loop),
        "numpy loop",
        peers=others.calls,
        absent=others.absent,
        bytes=UPDATES * N * (3 * 8 + (A + 4) * np.dtype(dtype).itemsize),
        dtype=getattr(torch, dtype),
        steps=UPDATES * N,
    )
