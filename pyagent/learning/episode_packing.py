"""Episodes of different lengths side by side in lanes, one after the other without padding between them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def pack_episodes(lengths: Sequence[int], lanes: int) -> tuple[Tensor, Tensor]:
    """Where each turn of each episode goes.

    Longest episodes are placed first, each into the lane that is shortest so far, so that lanes end nearly together.

    Args:
        lengths: turns of each episode, ≥ 1.
        lanes: at most so many.

    Returns:
        row int64 [T, B]: the number of the turn there, counted through the episodes in their given order, −1 where
        a lane has ended; reset bool [T, B]: an episode starts there (or the lane has ended).

    Raises:
        ValueError: no episodes, an empty one, or `lanes` < 1.
    """
    if not lengths or min(lengths) < 1:
        raise ValueError("lengths: want at least one episode, and at least one turn in each")
    if lanes < 1:
        raise ValueError(f"lanes: want 1 or more, got {lanes}")
    lanes = min(lanes, len(lengths))
    first = [0]
    for length in lengths:
        first.append(first[-1] + length)
    filled: list[list[int]] = [[] for _ in range(lanes)]
    starts: list[set[int]] = [set() for _ in range(lanes)]
    heap = [(0, lane) for lane in range(lanes)]
    for episode in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length, lane = heapq.heappop(heap)
        starts[lane].add(length)
        filled[lane].extend(range(first[episode], first[episode + 1]))
        heapq.heappush(heap, (len(filled[lane]), lane))
    T = max(map(len, filled))
    row = torch.full((T, lanes), -1, dtype=torch.int64)
    reset = torch.zeros((T, lanes), dtype=torch.bool)
    for lane, turns in enumerate(filled):
        row[: len(turns), lane] = torch.tensor(turns)
        reset[list(starts[lane]), lane] = True
    return row, reset | (row < 0)


def shuffled_batches(lengths: Sequence[int], batch_size: int, seed: int) -> list[list[int]]:
    """All episodes in an order that follows from `seed`, cut into batches of whole episodes with `batch_size` turns or
    a little more."""
    order = np.random.default_rng(seed).permutation(len(lengths))
    batches: list[list[int]] = [[]]
    turns = 0
    for episode in order.tolist():
        if turns >= batch_size:
            batches.append([])
            turns = 0
        batches[-1].append(episode)
        turns += lengths[episode]
    return batches
