"""The language-model head, forward and backward, against torch's two ways: with the logits, and a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import LinearCrossEntropyOptions, functional

from pyagent.ops import linear_cross_entropy

from . import memory

N = 2048
Head = Callable[[Tensor, Tensor, Tensor], Tensor]


def linear_and_cross_entropy(input: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(functional.linear(input, weight), target)


def chunked_linear_cross_entropy(input: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Chunks of 512 rows are the fastest of 64 to 2048; its own choice needs less memory."""
    options = LinearCrossEntropyOptions(batch_chunk_size=512, chunking_method=None)
    return functional.linear_cross_entropy(input, weight, target, options=options)


class Problem:
    """A training call of any head on the same input and weights; the weights keep changing."""

    def __init__(self, V: int, H: int) -> None:
        torch.manual_seed(0)
        self.input, self.target = torch.randn(N, H), torch.randint(0, V, (N,))
        self.weight = torch.randn(V, H) / H**0.5  # logits of standard deviation 1

    def results(self, head: Head) -> list[Tensor]:
        leaves = [self.input.clone().requires_grad_(), self.weight.clone().requires_grad_()]
        loss = head(*leaves, self.target)
        return [loss.detach(), *torch.autograd.grad(loss, leaves)]

    def call(self, head: Head) -> Callable[[], None]:
        leaves = [self.input.clone().requires_grad_(), self.weight.clone().requires_grad_()]

        def train() -> None:
            with torch.no_grad():
                leaves[1][0].add_(1e-6)
            head(*leaves, self.target).backward()
            for leaf in leaves:
                leaf.grad = None

        return train


def peaks(V: int, H: int) -> dict[str, int]:
    """Bytes at the peak of a call beyond the gradients that any head must return."""
    problem, gradients = Problem(V, H), 4 * H * (N + V)
    heads = {"ours": linear_cross_entropy, "peer": linear_and_cross_entropy}
    return {name: max(0, memory.peak_of(problem.call(head)) - gradients) for name, head in heads.items()}


@pytest.mark.benchmark(group="head")
@pytest.mark.parametrize("H", [256, 512])
@pytest.mark.parametrize("V", [8192, *(pytest.param(V, marks=pytest.mark.full) for V in (16384, 32768))])
def test_head(compare, benchmark, V: int, H: int) -> None:
    problem = Problem(V, H)
    wanted = problem.results(linear_and_cross_entropy)
    for head in (linear_cross_entropy, chunked_linear_cross_entropy):
        for got, value in zip(problem.results(head), wanted, strict=True):
            torch.testing.assert_close(got, value, atol=1e-6, rtol=1e-3)
    compare(
        problem.call(linear_cross_entropy),
        problem.call(linear_and_cross_entropy),
        "linear + cross_entropy",
        peers={"linear_cross_entropy": problem.call(chunked_linear_cross_entropy)},
        flops=6 * N * V * H,
        peer_flops=6 * N * V * H,
        bytes=8 * H * (N + V),
        memory=memory.measured(peaks, V, H) if memory.available and benchmark.enabled else None,
        logits_bytes=4 * N * V,
    )
