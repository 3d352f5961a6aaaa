"""tianshou: a segment tree compiled by numba. (Up to 0.5; later ones do not import beside today's gymnasium.)"""

from __future__ import annotations

from typing import Any

import numpy as np
from tianshou.data import PrioritizedReplayBuffer
from tianshou.data.utils.segtree import SegmentTree

from ..replay import ALPHA, BATCH, BETA


class Tree:
    def __init__(self, priority: np.ndarray) -> None:
        self.tree = SegmentTree(len(priority))
        self.update(np.arange(len(priority)), priority)

    def find(self, uniform: np.ndarray) -> np.ndarray:
        return self.tree.get_prefix_sum_idx(uniform * self.tree.reduce())

    def update(self, index: np.ndarray, priority: np.ndarray) -> None:
        self.tree[index] = priority


class Sampler:
    def __init__(self, priority: np.ndarray) -> None:
        self.buffer = PrioritizedReplayBuffer(len(priority), alpha=ALPHA, beta=BETA)
        self.buffer._size = len(priority)  # filled step by step it would take minutes
        self.update(np.arange(len(priority)), priority)

    def sample(self) -> tuple[Any, Any]:
        index = self.buffer.sample_indices(BATCH)
        weights = self.buffer.get_weight(index)
        return index, weights / np.max(weights)

    def update(self, index: np.ndarray, priority: np.ndarray) -> None:
        self.buffer.update_weight(index, priority)


tree, sampler = Tree, Sampler
