"""Prioritised replay: what is drawn from, ours, and numpy's way to do it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np

from pyagent.replay import SumTree

from .comparison import Call

ITEMS, BATCH = 1_000_000, 256
ALPHA, BETA = 0.6, 0.4
PEERS = {"cpprb_replay": "cpprb", "torchrl_replay": "TorchRL", "tianshou_replay": "tianshou"}  # by module


class Draws(NamedTuple):
    """What a call is given: new ones each time."""

    uniform: np.ndarray
    priority: np.ndarray


class Problem:
    """Priorities are whole numbers whose sums are exact in float32 too, so that all trees find the same items."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self.priority = self.priorities(ITEMS)
        self.draws = [Draws(self._random.random(BATCH), self.priorities(BATCH)) for _ in range(64)]

    def priorities(self, count: int) -> np.ndarray:
        return self._random.integers(1, 14, count).astype(np.float64)


class OurTree:
    """The bare tree: `cycle` draws a batch and gives it new priorities."""

    def __init__(self, priority: np.ndarray) -> None:
        self.tree = SumTree(len(priority))
        self.update(np.arange(len(priority)), priority)

    def find(self, uniform: np.ndarray) -> np.ndarray:
        return self.tree.sample(uniform, stratified=False)[0]

    def update(self, index: np.ndarray, priority: np.ndarray) -> None:
        self.tree.update(index, priority)


class NumpyTree:
    """A binary tree in an array, all indices of a batch together, as it is written without a compiler."""

    def __init__(self, priority: np.ndarray) -> None:
        self.levels = int(np.ceil(np.log2(len(priority))))
        self.tree = np.zeros(2 << self.levels)
        self.update(np.arange(len(priority)), priority)

    def find(self, uniform: np.ndarray) -> np.ndarray:
        rest, node = uniform * self.tree[1], np.ones(len(uniform), np.int64)
        for _ in range(self.levels):
            left = self.tree[2 * node]
            right = rest >= left
            rest = np.where(right, rest - left, rest)
            node = 2 * node + right
        return node - (1 << self.levels)

    def update(self, index: np.ndarray, priority: np.ndarray) -> None:
        node = index + (1 << self.levels)
        self.tree[node] = priority
        for _ in range(self.levels):
            node = node // 2
            self.tree[node] = self.tree[2 * node] + self.tree[2 * node + 1]


class OurSampler:
    """What a learner calls: importance weights and the exponent of the priorities too."""

    def __init__(self, priority: np.ndarray) -> None:
        self.tree, self.generator = SumTree(len(priority)), np.random.default_rng(0)
        self.update(np.arange(len(priority)), priority)

    def sample(self) -> tuple[Any, Any]:
        index, priority = self.tree.sample(BATCH, self.generator, stratified=False)
        return index, (priority.min() / priority) ** BETA

    def update(self, index: np.ndarray, priority: np.ndarray) -> None:
        self.tree.update(index, priority**ALPHA)


class NumpySampler:
    def __init__(self, priority: np.ndarray) -> None:
        self.tree, self.generator = NumpyTree(priority**ALPHA), np.random.default_rng(0)

    def sample(self) -> tuple[Any, Any]:
        index = self.tree.find(self.generator.random(BATCH))
        priority = self.tree.tree[index + (1 << self.tree.levels)]
        return index, (priority.min() / priority) ** BETA

    def update(self, index: np.ndarray, priority: np.ndarray) -> None:
        self.tree.update(index, priority**ALPHA)


def tree_call(tree: Any, problem: Problem) -> Call:
    """Verified: two batches are the items that the cumulative sums say."""
    priority = problem.priority.copy()
    for draws in problem.draws[:2]:
        sums = np.cumsum(priority)
        # Between two whole numbers: no contender's way to treat equality matters.
        uniform = (np.floor(draws.uniform * sums[-1]) + 0.5) / sums[-1]
        index = np.asarray(tree.find(uniform))
        np.testing.assert_array_equal(index, np.searchsorted(sums, uniform * sums[-1], side="right"))
        tree.update(index, draws.priority)
        priority[index] = draws.priority
    following = cycle(problem.draws)

    def call() -> None:
        draws = next(following)
        tree.update(tree.find(draws.uniform), draws.priority)

    return call


def sampler_call(sampler: Any, problem: Problem) -> Call:
    """Verified: importance weights are what the priorities say, before and after an update."""
    priority = problem.priority.copy()
    for draws in problem.draws[:2]:
        index, weights = (np.asarray(each) for each in sampler.sample())
        wanted = priority[index] ** (-ALPHA * BETA)
        np.testing.assert_allclose(weights / weights.max(), wanted / wanted.max(), rtol=1e-3)
        sampler.update(index, draws.priority)
        priority[index] = draws.priority
    following = cycle(problem.draws)

    def call() -> None:
        index, _ = sampler.sample()
        sampler.update(index, next(following).priority)

    return call


def peers(wanted: bool, make: Callable[[Any], Call]) -> tuple[dict[str, Call], dict[str, str]]:
    """Calls of the other libraries, verified, and why some are absent."""
    calls: dict[str, Call] = {}
    absent: dict[str, str] = {}
    for module, name in PEERS.items() if wanted else ():
        try:
            calls[name] = make(importlib.import_module(f".peers.{module}", __package__))
        except ModuleNotFoundError as error:
            absent[name] = f"{error.name} is not installed (pip install 'pyagent[peers]')"
        except NotImplementedError as error:
            absent[name] = str(error)
    return calls, absent
