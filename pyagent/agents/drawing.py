"""Drawing by probability, with a generator of any device."""

from __future__ import annotations

import torch
from torch import Tensor


def draw(probabilities: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One index a row, `[B]` int64, of probabilities `[B, A]` (in any scale), on their device.

    The learners draw with a CPU generator, whose state is saved with them, wherever the agent is: an action is on its
    way to an environment on the CPU anyway.
    """
    device = probabilities.device if generator is None else generator.device
    return torch.multinomial(probabilities.to(device), 1, generator=generator)[:, 0].to(probabilities.device)
