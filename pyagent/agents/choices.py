"""Distributions over actions: one choice, or several at once, with choices that are not allowed."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from pyagent.ops import sample_categorical

FORBIDDEN = -1e8
"""score of an action that is not allowed: its probability is 0, and 0 · score is still 0"""


class Choices:
    """What an action space asks for, as independent categorical choices whose scores stand side by side.

    Args:
        space: `Discrete`, one choice and actions [...]; or `MultiDiscrete` of one axis, n choices and actions [..., n].

    Raises:
        TypeError: another space.
    """

    def __init__(self, space: gym.Space[Any]) -> None:
        if isinstance(space, gym.spaces.Discrete):
            self.sizes, self.start = [int(space.n)], np.asarray(int(space.start))
        elif isinstance(space, gym.spaces.MultiDiscrete) and len(space.nvec.shape) == 1:
            self.sizes, self.start = space.nvec.tolist(), np.asarray(space.start)
        else:
            raise TypeError(f"env: want Discrete or MultiDiscrete actions, got {space}")
        self.is_single = isinstance(space, gym.spaces.Discrete)
        self.num_scores = sum(self.sizes)

    def log_probabilities(self, scores: Tensor, mask: Tensor | None = None) -> Tensor:
        """Log-probabilities [..., ΣA] of every choice from scores [..., ΣA]; `mask` is True where it is allowed.

        A score of −∞ is an action that is not allowed, too.
        """
        scores = scores.clamp(min=FORBIDDEN)
        if mask is not None:
            scores = scores.masked_fill(~mask, FORBIDDEN)
        if self.is_single:
            return scores.log_softmax(-1)
        return torch.cat([part.log_softmax(-1) for part in scores.split(self.sizes, -1)], -1)

    def log_prob(self, log_probabilities: Tensor, action: Tensor) -> Tensor:
        """Log-probability [...] of actions."""
        if self.is_single:
            return log_probabilities.gather(-1, action[..., None])[..., 0]
        first = torch.tensor([0, *self.sizes[:-1]], device=action.device).cumsum(0)
        return log_probabilities.gather(-1, action + first).sum(-1)

    def entropy(self, log_probabilities: Tensor) -> Tensor:
        """Entropy [...] in nats."""
        return -(log_probabilities.exp() * log_probabilities).sum(-1)

    def sample(self, log_probabilities: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Actions drawn from [B, ΣA] with a generator of any device, the same ones on every device: int64 [B] or
        [B, n]."""
        return self._joined([sample_categorical(x, generator=generator) for x in self._split(log_probabilities)])

    def best(self, scores: Tensor) -> Tensor:
        """The most probable actions, of equals the first: int64 [...] or [..., n]."""
        return self._joined([part.argmax(-1) for part in self._split(scores)])

    def to_env(self, action: Tensor) -> np.ndarray:
        """Actions as the environment counts them."""
        return action.cpu().numpy() + self.start

    def _split(self, scores: Tensor) -> tuple[Tensor, ...]:
        # One choice may offer more or less at every turn (`ChoosingAgent`).
        return (scores,) if self.is_single else scores.split(self.sizes, -1)

    def _joined(self, actions: list[Tensor]) -> Tensor:
        return actions[0] if self.is_single else torch.stack(actions, -1)
