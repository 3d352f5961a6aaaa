"""Q-learning losses, forward and backward, against the same maths composed of torch's functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pyagent.ops import q_learning_loss

CALLS = 20  # a round, of tens of microseconds each
EPSILON = 1e-3
KINDS = {
    "q-learning": {},
    "double, huber": {"double": True, "huber_delta": 1.0},
    "double, huber, rescaled": {"double": True, "huber_delta": 1.0, "rescale_epsilon": EPSILON},
}


def hyperbolic(x: Tensor) -> Tensor:
    return x.sign() * ((x.abs() + 1).sqrt() - 1) + EPSILON * x


def parabolic(x: Tensor) -> Tensor:
    return x.sign() * (((1 + 4 * EPSILON * (x.abs() + 1 + EPSILON)).sqrt() - 1) / (2 * EPSILON)).square() - x.sign()


class Problem:
    """A learner's call of the loss and its backward, on 64 lanes of 64 steps."""

    def __init__(self, kind: str, A: int) -> None:
        torch.manual_seed(0)
        self.setting = dict(KINDS[kind])
        self.double = self.setting.pop("double", False)
        self.q_tm1, self.q_t, self.selector = torch.randn(3, 64, 64, A)
        self.a_tm1, self.weights = torch.randint(0, A, (64, 64)), torch.rand(64)
        self.r_t, self.discount_t = torch.randn(64, 64), torch.full((64, 64), 0.99)

    def ours(self, q_tm1: Tensor) -> Tensor:
        selector = self.selector if self.double else None
        return q_learning_loss(
            *(q_tm1, self.a_tm1, self.r_t, self.discount_t, self.q_t),
            q_t_selector=selector,
            weights=self.weights,
            **self.setting,
        ).loss

    def composed(self, q_tm1: Tensor) -> Tensor:
        rescaled = "rescale_epsilon" in self.setting
        with torch.no_grad():
            if self.double:
                v_t = self.q_t.gather(-1, self.selector.argmax(-1, keepdim=True)).squeeze(-1)
            else:
                v_t = self.q_t.amax(-1)
            target = self.r_t + self.discount_t * (parabolic(v_t) if rescaled else v_t)
            target = hyperbolic(target) if rescaled else target
        q_a = q_tm1.gather(-1, self.a_tm1.unsqueeze(-1)).squeeze(-1)
        if "huber_delta" in self.setting:
            losses = functional.huber_loss(q_a, target, reduction="none")
        else:
            losses = 0.5 * functional.mse_loss(q_a, target, reduction="none")
        return (self.weights * losses).mean()

    def results(self, loss: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        q_tm1 = self.q_tm1.clone().requires_grad_()
        value = loss(q_tm1)
        return value.detach(), torch.autograd.grad(value, q_tm1)[0]

    def calls(self, loss: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        q_tm1 = self.q_tm1.clone().requires_grad_()

        def train() -> None:
            for _ in range(CALLS):
                loss(q_tm1).backward()
                q_tm1.grad = None

        return train


@pytest.mark.benchmark(group="TD losses")
@pytest.mark.parametrize("A", [18, pytest.param(6, marks=pytest.mark.full)], ids="A{}".format)
@pytest.mark.parametrize("kind", KINDS)
def test_td_loss(compare: Any, kind: str, A: int) -> None:
    problem = Problem(kind, A)
    wanted = problem.results(problem.composed)
    for got, value in zip(problem.results(problem.ours), wanted, strict=True):
        # The paper's own formula of the inverse loses digits in float32.
        torch.testing.assert_close(got, value, atol=1e-6, rtol=1e-3 if "rescaled" in kind else 1e-5)
    # Values of both states are read and the gradient written, once each; the selector's are read too.
    bytes = 4 * 64 * 64 * ((3 if problem.double else 2) * A + 6) * CALLS
    compare(problem.calls(problem.ours), problem.calls(problem.composed), "composed torch", bytes=bytes, calls=CALLS)
