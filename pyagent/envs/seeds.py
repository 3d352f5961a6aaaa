"""Level seeds: those of training lie below 2^30, those of evaluation from 2^30 up, so that they never meet."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

EVALUATION_SEED_START = 2**30
_EVALUATION_SEED_STOP = 2**31


class TrainingSeeds:
    """An endless stream of level seeds in [0, 2^30); every iteration starts it anew.

    Args:
        seed: the run's seed, ≥ 0.
        lane: which of the run's environments; lanes draw independent streams.
    """

    def __init__(self, seed: int, lane: int = 0) -> None:
        for name, value in (("seed", seed), ("lane", lane)):
            if value < 0:
                raise ValueError(f"{name} must be 0 or more, got {value}")
        self.seed = seed
        self.lane = lane

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng([self.seed, self.lane])
        while True:
            yield from generator.integers(EVALUATION_SEED_START, size=256).tolist()


def training_seeds(seed: int, lane: int = 0) -> TrainingSeeds:
    """An endless stream of level seeds for training, drawn from [0, 2^30) by `seed` and `lane`."""
    return TrainingSeeds(seed, lane)


def evaluation_seeds(episodes: int, first: int = 0) -> range:
    """The named seeds of an evaluation: 2^30 + first, 2^30 + first + 1, …: never among those of training.

    Raises:
        ValueError: `episodes` or `first` is negative, or the seeds would pass 2^31.
    """
    if episodes < 0 or first < 0 or EVALUATION_SEED_START + first + episodes > _EVALUATION_SEED_STOP:
        raise ValueError(f"episodes and first must be 0 or more and at most 2^30 together, got {episodes} and {first}")
    return range(EVALUATION_SEED_START + first, EVALUATION_SEED_START + first + episodes)
