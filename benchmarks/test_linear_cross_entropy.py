"""The language-model head, forward and backward, against torch's two ways: with the logits, and a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import LinearCrossEntropyOptions, functional

from pyagent.ops import linear_cross_entropy

N = 2048


def linear_and_cross_entropy(input: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(functional.linear(input, weight), target)


def chunked_linear_cross_entropy(input: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Chunks of 512 rows are the fastest of 64 to 2048; its own choice needs less memory."""
    options = LinearCrossEntropyOptions(batch_chunk_size=512, chunking_method=None)
    return functional.linear_cross_entropy(input, weight, target, options=options)


PEERS = {"linear + cross_entropy": linear_and_cross_entropy, "linear_cross_entropy": chunked_linear_cross_entropy}


def training_calls(peer: Callable[..., Tensor], V: int, H: int) -> list[Callable[[], None]]:
    """A training call of ours and of the peer on the same weights, verified equal; the weights keep changing."""
    torch.manual_seed(0)
    input, target = torch.randn(N, H), torch.randint(0, V, (N,))
    weight = torch.randn(V, H) / H**0.5  # logits of standard deviation 1

    def leaves_and_loss(head: Callable[..., Tensor]) -> tuple[list[Tensor], Tensor]:
        leaves = [input.clone().requires_grad_(), weight.clone().requires_grad_()]
        loss = head(*leaves, target)
        loss.backward()
        return leaves, loss

    ours, theirs = leaves_and_loss(linear_cross_entropy), leaves_and_loss(peer)
    torch.testing.assert_close(ours[1], theirs[1])
    for x, y in zip(ours[0], theirs[0], strict=True):
        torch.testing.assert_close(x.grad, y.grad, atol=1e-6, rtol=1e-3)

    def training_call(head: Callable[..., Tensor], leaves: list[Tensor]) -> None:
        with torch.no_grad():
            leaves[1][0].add_(1e-6)
        for leaf in leaves:
            leaf.grad = None
        head(*leaves, target).backward()

    return [lambda: training_call(linear_cross_entropy, ours[0]), lambda: training_call(peer, theirs[0])]


@pytest.mark.benchmark(group="language-model head")
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("H", [256, 512])
@pytest.mark.parametrize("V", [8192, 16384, 32768])
def test_head(compare, peer: str, V: int, H: int) -> None:
    compare(*training_calls(PEERS[peer], V, H), peer)
