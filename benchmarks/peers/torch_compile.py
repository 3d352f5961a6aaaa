"""torch.compile: of the whole module, and where users loop over steps, of the step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..acting import Acting
from ..recurrent import Data, TorchContender, TorchRecurrent

_CELL = {"RNN": torch.rnn_tanh_cell, "GRU": torch.gru_cell, "LSTM": torch.lstm_cell}
Step = Callable[..., tuple[Tensor, Tensor]]


def compiled_step(cell: str, module: TorchRecurrent) -> Step:
    """Compiled `(x, reset or None, h, c) -> (h, c)`, through the cell that torch.nn.LSTMCell and the others call."""

    def step(x: Tensor, reset: Tensor | None, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        if reset is not None:
            keep = (~reset)[:, None].to(x.dtype)
            h, c = h * keep, c * keep
        rnn = module.rnn
        weights = rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0, rnn.bias_hh_l0
        if cell == "LSTM":
            return torch.lstm_cell(x, (h, c), *weights)
        return _CELL[cell](x, h, *weights), c

    torch.compiler.reset()  # what other cases compiled counts against this one's limit, past which it would run eagerly
    return torch.compile(step)


def sequences(data: Data, mode: str) -> TorchContender:
    module = TorchRecurrent(data.problem)
    if data.reset is None:
        torch.compiler.reset()
        return TorchContender(data, module, torch.compile(module))
    step = compiled_step(data.problem.cell, module)

    def loop(input: Tensor, reset: Tensor) -> Tensor:
        x = module.embedding(input)
        h = c = x.new_zeros(x.shape[1:])
        outputs = []
        for t in range(x.shape[0]):
            h, c = step(x[t], reset[t], h, c)
            outputs.append(h)
        return torch.stack(outputs)

    return TorchContender(data, module, loop)


def acting(data: Acting) -> Callable[[], Tensor]:
    module = data.reference
    step = compiled_step(data.cell, module)

    @torch.no_grad()
    def act() -> Tensor:
        h = c = torch.zeros(data.B, data.H)
        for token in data.tokens:
            h, c = step(module.embedding(token), None, h, c)
        return h

    return act
