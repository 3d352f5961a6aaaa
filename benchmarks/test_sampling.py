"""Acting: batched draws from a softmax against torch.multinomial, ε-greedy against torch's functions composed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from pyagent.ops import epsilon_greedy, sample_categorical

SHAPES = [(64, 18), (4096, 18), (8, 32_768)]
EPSILON = 0.1
TOP_K, TOP_P = 50, 0.9


def multinomial(logits: Tensor) -> Tensor:
    return torch.multinomial(logits.softmax(-1), 1).squeeze(-1)


def masked_multinomial(logits: Tensor, mask: Tensor) -> Tensor:
    return multinomial(logits.masked_fill(~mask, -torch.inf))


def top_k_multinomial(logits: Tensor) -> Tensor:
    kept, action = logits.topk(min(TOP_K, logits.shape[-1]))
    return action.gather(-1, torch.multinomial(kept.softmax(-1), 1)).squeeze(-1)


def top_p_multinomial(logits: Tensor) -> Tensor:
    ranked, action = logits.sort(dim=-1, descending=True)
    weight = ranked.softmax(-1)
    weight = weight.masked_fill(weight.cumsum(-1) - weight >= TOP_P, 0)
    return action.gather(-1, torch.multinomial(weight, 1)).squeeze(-1)


def composed_epsilon_greedy(q: Tensor) -> Tensor:
    explores, any_action = torch.rand(q.shape[0]) < EPSILON, torch.randint(q.shape[1], (q.shape[0],))
    return torch.where(explores, any_action, q.argmax(-1))


def repeated(draw: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], None]:
    calls = max(1, 100_000 // inputs[0].numel())

    def act() -> None:
        for _ in range(calls):
            draw(*inputs)

    return act


def shares(draw: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """How often each of few actions is drawn in a million draws."""
    torch.manual_seed(1)
    rows = [x.expand(1_000_000, -1) for x in inputs]
    return torch.bincount(draw(*rows), minlength=inputs[0].shape[-1]) / 1e6


def verify(ours: Callable[..., Tensor], theirs: Callable[..., Tensor], masked: bool = False) -> None:
    """Ten actions get the same shares; standard deviations of both are at most 0.0005."""
    values = torch.tensor([0.0, 1.0, 2.0, -1.0, 3.0, 0.5, 0.2, -3.0, 2.5, 1.5])
    inputs = (values, values < 2) if masked else (values,)
    torch.testing.assert_close(shares(ours, *inputs), shares(theirs, *inputs), atol=0.004, rtol=0)


RULES = {
    "plain": (lambda z: sample_categorical(z), multinomial),
    "mask": (lambda z, mask: sample_categorical(z, mask=mask), masked_multinomial),
    "top-k": (lambda z: sample_categorical(z, top_k=TOP_K), top_k_multinomial),
    "top-p": (lambda z: sample_categorical(z, top_p=TOP_P), top_p_multinomial),
}


@pytest.mark.benchmark(group="sampling")
@pytest.mark.parametrize(("N", "A"), SHAPES, ids=lambda n: str(n))
@pytest.mark.parametrize("rule", RULES)
def test_sample_categorical(compare: Any, rule: str, N: int, A: int) -> None:
    ours, theirs = RULES[rule]
    verify(ours, theirs, masked=rule == "mask")
    torch.manual_seed(0)
    inputs = (3 * torch.randn(N, A), torch.rand(N, A) < 0.7) if rule == "mask" else (3 * torch.randn(N, A),)
    compare(repeated(ours, *inputs), repeated(theirs, *inputs), "torch.multinomial")


@pytest.mark.benchmark(group="epsilon-greedy")
@pytest.mark.parametrize(("N", "A"), SHAPES, ids=lambda n: str(n))
def test_epsilon_greedy(compare: Any, N: int, A: int) -> None:
    def ours(q: Tensor) -> Tensor:
        return epsilon_greedy(q, EPSILON)

    verify(ours, composed_epsilon_greedy)
    q = torch.randn(N, A)
    compare(repeated(ours, q), repeated(composed_epsilon_greedy, q), "composed torch")
