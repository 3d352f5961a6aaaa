"""State tracking: the recurrent core carried from turn to turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from pyagent.nn import GRU, LSTM, RNN, EmbeddingGRU, EmbeddingLSTM, EmbeddingRNN


class Memoryless(nn.Module):
    """Layers of relu in place of a core, for tasks that need no memory: states are None, resets do nothing."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, num_tokens: int | None = None) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.embedding = None if num_tokens is None else nn.Embedding(num_tokens, input_size)
        sizes = [input_size, *[hidden_size] * num_layers]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(sizes))

    def forward(self, input: Tensor, state: None = None, *, reset: Tensor | None = None) -> tuple[Tensor, None]:
        """`[..., input_size]`, or tokens `[...]`, to `[..., H]`."""
        output = input if self.embedding is None else self.embedding(input)
        for layer in self.layers:
            output = layer(output).relu()
        return output, None

    def step(self, input: Tensor, state: None = None, *, reset: Tensor | None = None) -> tuple[Tensor, None]:
        """The same of one time step, without gradient."""
        with torch.no_grad():
            return self(input)

    @contextmanager
    def frozen(self) -> Iterator[Memoryless]:
        """Nothing is kept."""
        yield self


def _memoryless_tokens(num_tokens: int, embedding_dim: int, hidden_size: int, num_layers: int) -> Memoryless:
    return Memoryless(embedding_dim, hidden_size, num_layers, num_tokens)


CORES = {"rnn": RNN, "gru": GRU, "lstm": LSTM, "none": Memoryless}
TOKEN_CORES = {"rnn": EmbeddingRNN, "gru": EmbeddingGRU, "lstm": EmbeddingLSTM, "none": _memoryless_tokens}


def recurrent_core(input_size: int, hidden_size: int = 128, *, cell: str = "gru", num_layers: int = 1) -> nn.Module:
    """A core that reads one vector a turn and remembers: `pyagent.nn.RNN`, `GRU` or `LSTM`; with ``"none"`` one that
    does not (`Memoryless`).

    A replacement has their `forward(input [T, B, D], state, reset=[T, B]) -> (output [T, B, H], state)`,
    `step(input [B, D], state, reset=[B])`, `frozen()` and the attribute `hidden_size`.

    Raises:
        ValueError: no such cell.
    """
    return _orthogonal(_of_cell(CORES, cell)(input_size, hidden_size, num_layers), hidden_size)


def token_core(
    num_tokens: int, embedding_dim: int, hidden_size: int = 128, *, cell: str = "lstm", num_layers: int = 1
) -> nn.Module:
    """A core that reads one token a turn: `pyagent.nn.EmbeddingRNN`, `EmbeddingGRU`, `EmbeddingLSTM` or `Memoryless`.

    Raises:
        ValueError: no such cell.
    """
    core = _of_cell(TOKEN_CORES, cell)(num_tokens, embedding_dim, hidden_size, num_layers)
    _orthogonal(core.layers if cell == "none" else core.rnn, hidden_size)
    return core


def _of_cell(cores: dict[str, Any], cell: str) -> Any:
    if cell not in cores:
        raise ValueError(f"cell: want one of {', '.join(cores)}, got {cell!r}")
    return cores[cell]


def _orthogonal(core: nn.Module, hidden_size: int) -> nn.Module:
    for weight in core.parameters():
        if weight.dim() == 2:
            for gate in weight.data.split(hidden_size):
                nn.init.orthogonal_(gate)
    return core
