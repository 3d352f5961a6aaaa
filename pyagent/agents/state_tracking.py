"""State tracking: the recurrent core carried from turn to turn."""

from __future__ import annotations

import torch
from torch import nn

from pyagent.nn import GRU, LSTM, RNN
from pyagent.nn.recurrent import State

CORES = {"rnn": RNN, "gru": GRU, "lstm": LSTM}


def recurrent_core(input_size: int, hidden_size: int = 128, *, cell: str = "gru", num_layers: int = 1) -> nn.Module:
    """A core that reads one vector a turn and remembers: `pyagent.nn.RNN`, `GRU` or `LSTM`.

    A replacement has their `forward(input [T, B, D], state, reset=[T, B]) -> (output [T, B, H], state)`,
    `step(input [B, D], state, reset=[B])`, `frozen()` and the attribute `hidden_size`.

    Raises:
        ValueError: no such cell.
    """
    if cell not in CORES:
        raise ValueError(f"cell: want one of {', '.join(CORES)}, got {cell!r}")
    core = CORES[cell](input_size, hidden_size, num_layers)
    for weight in core.parameters():
        if weight.dim() == 2:
            for gate in weight.data.split(hidden_size):
                nn.init.orthogonal_(gate)
    return core


def select_lanes(state: State, lanes: torch.Tensor) -> State:
    """The state of these lanes (int64 [M]): [L, M, H], for LSTM a pair."""
    return (state[0][:, lanes], state[1][:, lanes]) if isinstance(state, tuple) else state[:, lanes]
