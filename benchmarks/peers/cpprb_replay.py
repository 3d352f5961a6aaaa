"""cpprb: a C++ sum tree and minimum tree behind Cython."""

from __future__ import annotations

from typing import Any

import numpy as np
from cpprb import PrioritizedReplayBuffer

from ..replay import ALPHA, BATCH, BETA


def tree(priority: np.ndarray) -> Any:
    raise NotImplementedError("its tree cannot be called alone")


class Sampler:
    """A step is one byte, the least it can store; it gathers them too."""

    def __init__(self, priority: np.ndarray) -> None:
        env_dict = {"step": {"shape": 1, "dtype": np.uint8}}
        self.buffer = PrioritizedReplayBuffer(len(priority), env_dict, alpha=ALPHA, eps=0.0)
        for part in np.array_split(priority, 10):
            self.buffer.add(step=np.zeros((len(part), 1), np.uint8), priorities=part)

    def sample(self) -> tuple[Any, Any]:
        batch = self.buffer.sample(BATCH, beta=BETA)
        return batch["indexes"], batch["weights"]

    def update(self, index: np.ndarray, priority: np.ndarray) -> None:
        self.buffer.update_priorities(index, priority)


sampler = Sampler
