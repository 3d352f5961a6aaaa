"""Rewards divided by the spread of the returns that they add up to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyagent.agents.observations import RunningScale


class RewardScale:
    """Divides rewards by the running standard deviation of the discounted sum of rewards so far in an episode, as
    Stable-Baselines3's VecNormalize does; their mean stays.

    Args:
        gamma: discount of a step.
    """

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma
        self.returns = RunningScale(1)
        self._sum: Tensor | None = None

    def restart(self) -> None:
        """New episodes in all lanes."""
        self._sum = None

    def __call__(self, reward: Tensor, reset: Tensor, valid: Tensor) -> Tensor:
        """Scaled rewards [T, B] of the next steps; `reset` begins episodes, what is not `valid` does not count."""
        sums = torch.empty_like(reward, dtype=torch.float64)
        last = torch.zeros_like(sums[0]) if self._sum is None else self._sum
        for t in range(len(reward)):
            last = torch.where(valid[t], last * self.gamma * ~reset[t] + reward[t], last)
            sums[t] = last
        self._sum = last
        self.returns.learn(sums[valid][:, None])
        return reward / self.deviation

    @property
    def deviation(self) -> float:
        """What rewards are divided by."""
        return (float(self.returns.variance) + 1e-8) ** 0.5

    def state_dict(self) -> dict[str, Any]:
        return dict(self.returns.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.returns.load_state_dict(state)
