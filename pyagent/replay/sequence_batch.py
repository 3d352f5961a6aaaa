"""Sequences drawn from a replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SequenceBatch:
    """n sequences of `T = burn_in + sequence_length + n_step` steps, laid out `[T, n, …]`."""

    fields: dict[str, NDArray[Any]]
    """each `[T, n, *shape]`, as it was added"""
    reset: NDArray[np.bool_]
    """`[T, n]`: the state is replaced by zeros before this step"""
    valid: NDArray[np.bool_]
    """`[T, n]`: False where the environment ignored the action and only its observation counts"""
    state: tuple[NDArray[np.float32], ...]
    """the core's state before step 0, each `[L, n, H]`; empty where none is kept"""
    weights: NDArray[np.float32]
    """`[n]`: importance weights, the largest 1"""
    ids: NDArray[np.int64]
    """`[n]`: for `update_priorities`"""
