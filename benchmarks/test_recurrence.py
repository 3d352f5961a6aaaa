"""Embedding and recurrent core, forward and backward, against torch.nn: plain, and with resets as users write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle

import pytest
import torch
from torch import Tensor, nn

import pyagent.nn

VOCABULARY = 256
SHAPES = [(8, 16, 128), (32, 64, 128), (32, 64, 256), (64, 32, 512), (128, 32, 256), (256, 16, 128)]
RESET_SHAPES = [(8, 32, 64), (16, 32, 128), (32, 64, 128), (64, 32, 256)]


def shape_id(shape: tuple[int, int, int]) -> str:
    return "B{}-T{}-H{}".format(*shape)


class TorchEmbeddingRecurrent(nn.Module):
    """nn.Embedding and nn.RNN, GRU or LSTM; with resets the step loop that users write around the cell."""

    def __init__(self, cell: str, H: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, H)
        self.rnn = getattr(nn, cell)(H, H)

    def forward(self, tokens: Tensor, reset: Tensor | None) -> Tensor:
        x = self.embedding(tokens)
        if reset is None:
            return self.rnn(x)[0]
        lstm = isinstance(self.rnn, nn.LSTM)
        h = torch.zeros(1, tokens.shape[1], self.rnn.hidden_size)
        state = (h, h) if lstm else h
        outputs = []
        for t in range(tokens.shape[0]):
            keep = (~reset[t]).view(1, -1, 1).to(x.dtype)
            state = (state[0] * keep, state[1] * keep) if lstm else state * keep
            output, state = self.rnn(x[t : t + 1], state)
            outputs.append(output)
        return torch.cat(outputs)


def training_calls(cell: str, shape: tuple[int, int, int], p_reset: float) -> tuple[Callable[[], None], ...]:
    """A training call of ours and of torch on the same weights, verified equal; inputs and weights keep changing."""
    B, T, H = shape
    torch.manual_seed(0)
    theirs = TorchEmbeddingRecurrent(cell, H)
    ours = getattr(pyagent.nn, f"Embedding{cell}")(VOCABULARY, H, H)
    ours.load_state_dict(theirs.state_dict())
    tokens = [torch.randint(0, VOCABULARY, (T, B)) for _ in range(4)]
    reset = torch.rand(T, B) < p_reset if p_reset else None
    weigh = torch.randn(T, B, H)

    def run_ours(x: Tensor) -> Tensor:
        return ours(x, reset=reset)[0]

    def run_theirs(x: Tensor) -> Tensor:
        return theirs(x, reset)

    for run in (run_ours, run_theirs):
        run(tokens[0]).backward(weigh)
    torch.testing.assert_close(run_ours(tokens[1]), run_theirs(tokens[1]), atol=1e-5, rtol=1e-4)
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs.get_parameter(name).grad, atol=1e-3, rtol=1e-3)

    def training_call(run: Callable[[Tensor], Tensor], weight: Tensor, rotation: Iterator[Tensor]) -> None:
        with torch.no_grad():
            weight.add_(1e-6)
        run(next(rotation)).backward(weigh)

    rotations = cycle(tokens), cycle(tokens)
    return (
        lambda: training_call(run_ours, ours.rnn.weight_hh_l0, rotations[0]),
        lambda: training_call(run_theirs, theirs.rnn.weight_hh_l0, rotations[1]),
    )


@pytest.mark.benchmark(group="recurrent training")
@pytest.mark.parametrize("shape", SHAPES, ids=shape_id)
@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
def test_training(compare, cell: str, shape: tuple[int, int, int]) -> None:
    compare(*training_calls(cell, shape, 0.0), f"nn.{cell}")


@pytest.mark.benchmark(group="recurrent training with resets")
@pytest.mark.parametrize("shape", RESET_SHAPES, ids=shape_id)
@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
def test_training_with_resets(compare, cell: str, shape: tuple[int, int, int]) -> None:
    compare(*training_calls(cell, shape, 1 / 32), f"a step loop over nn.{cell}")
