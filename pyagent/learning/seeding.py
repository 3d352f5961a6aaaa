"""Random numbers that follow from a run's seed and from where the run stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derived_seed(seed: int, *place: int) -> int:
    """A seed in [0, 2^31) for one purpose of a run: different places give independent streams."""
    return int(np.random.SeedSequence([seed, *place]).generate_state(1)[0] >> 1)


@contextmanager
def torch_seed(seed: int) -> Iterator[None]:
    """Seeds torch's CPU generator inside the block and puts it back after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
