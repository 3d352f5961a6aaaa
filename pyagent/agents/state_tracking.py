"""State tracking: the recurrent core carried from turn to turn."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pyagent.nn import GRU, LSTM, RNN, EmbeddingGRU, EmbeddingLSTM, EmbeddingRNN
from pyagent.nn.recurrent import State

CORES = {"rnn": RNN, "gru": GRU, "lstm": LSTM}
TOKEN_CORES = {"rnn": EmbeddingRNN, "gru": EmbeddingGRU, "lstm": EmbeddingLSTM}


def recurrent_core(input_size: int, hidden_size: int = 128, *, cell: str = "gru", num_layers: int = 1) -> nn.Module:
    """A core that reads one vector a turn and remembers: `pyagent.nn.RNN`, `GRU` or `LSTM`.

    A replacement has their `forward(input [T, B, D], state, reset=[T, B]) -> (output [T, B, H], state)`,
    `step(input [B, D], state, reset=[B])`, `frozen()` and the attribute `hidden_size`.

    Raises:
        ValueError: no such cell.
    """
    return _orthogonal(_of_cell(CORES, cell)(input_size, hidden_size, num_layers), hidden_size)


def token_core(
    num_tokens: int, embedding_dim: int, hidden_size: int = 128, *, cell: str = "lstm", num_layers: int = 1
) -> nn.Module:
    """A core that reads one token a turn: `pyagent.nn.EmbeddingRNN`, `EmbeddingGRU` or `EmbeddingLSTM`.

    Raises:
        ValueError: no such cell.
    """
    core = _of_cell(TOKEN_CORES, cell)(num_tokens, embedding_dim, hidden_size, num_layers)
    _orthogonal(core.rnn, hidden_size)
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


def select_lanes(state: State, lanes: torch.Tensor) -> State:
    """The state of these lanes (int64 [M]): [L, M, H], for LSTM a pair."""
    return (state[0][:, lanes], state[1][:, lanes]) if isinstance(state, tuple) else state[:, lanes]
