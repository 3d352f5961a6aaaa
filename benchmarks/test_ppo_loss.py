"""PPO's loss, forward and backward, against the same maths composed of torch's functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from pyagent.ops import ppo_loss

CALLS = 10  # a round, of some hundred microseconds each
NUMBERS = {"clip_range": 0.2, "ent_coef": 0.01, "vf_coef": 0.5}
Loss = Callable[..., Tensor]


def composed(logits: Tensor, value: Tensor, action: Tensor, old: Tensor, advantage: Tensor, target: Tensor) -> Tensor:
    """As Stable-Baselines3 writes it, its figures for the log included."""
    log_probabilities = logits.log_softmax(-1)
    log_ratio = log_probabilities.gather(1, action[:, None])[:, 0] - old
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - NUMBERS["clip_range"], 1 + NUMBERS["clip_range"])
    policy = -torch.minimum(ratio * advantage, clipped * advantage).mean()
    value_loss = torch.nn.functional.mse_loss(value, target)
    entropy = -(log_probabilities.exp() * log_probabilities).sum(-1).mean()
    with torch.no_grad():
        (ratio - 1 - log_ratio).mean(), (ratio != clipped).float().mean()
    return policy + NUMBERS["vf_coef"] * value_loss - NUMBERS["ent_coef"] * entropy


def ours(*arguments: Tensor) -> Tensor:
    return ppo_loss(*arguments, **NUMBERS).loss


class Problem:
    def __init__(self, N: int, A: int) -> None:
        torch.manual_seed(0)
        self.logits, action = torch.randn(N, A), torch.randint(0, A, (N,))
        old = self.logits.log_softmax(-1).gather(1, action[:, None])[:, 0] + 0.2 * torch.randn(N)
        self.value, self.rest = torch.randn(N), (action, old, torch.randn(N), torch.randn(N))

    def leaves(self) -> list[Tensor]:
        return [x.clone().requires_grad_() for x in (self.logits, self.value)]

    def results(self, loss: Loss) -> list[Tensor]:
        leaves = self.leaves()
        value = loss(*leaves, *self.rest)
        return [value.detach(), *torch.autograd.grad(value, leaves)]

    def calls(self, loss: Loss) -> Callable[[], None]:
        leaves = self.leaves()

        def train() -> None:
            for _ in range(CALLS):
                loss(*leaves, *self.rest).backward()
                for leaf in leaves:
                    leaf.grad = None

        return train


@pytest.mark.benchmark(group="PPO loss")
@pytest.mark.parametrize("N", [256, 1024, pytest.param(4096, marks=pytest.mark.full)], ids="N{}".format)
@pytest.mark.parametrize("A", [7, 18], ids="A{}".format)
def test_ppo_loss(compare: Any, N: int, A: int) -> None:
    problem = Problem(N, A)
    for got, value in zip(problem.results(ours), problem.results(composed), strict=True):
        torch.testing.assert_close(got, value, atol=1e-6, rtol=1e-4)
    bytes = 4 * N * (3 * A + 12) * CALLS  # logits, probabilities and gradient once each, and a row's numbers
    compare(problem.calls(ours), problem.calls(composed), "composed torch", bytes=bytes, calls=CALLS)
