"""The random numbers that ops turn into choices."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(*size: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Numbers in [0, 1), float64 on `device`, drawn where the generator is: the same ones for tensors of any device."""
    drawn_on = device if generator is None else generator.device
    return torch.rand(*size, dtype=torch.float64, device=drawn_on, generator=generator).to(device)
