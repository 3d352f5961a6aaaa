"""Acting on one problem: steps of tokens in, the state carried along, no gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import pyagent.nn

from .problem import VOCABULARY, Problem
from .recurrent import TorchRecurrent

STEPS = 20
Act = Callable[[], Any]  # plays STEPS steps from zeros; the last output [B, H], as whatever array the peer has


class Acting:
    """A layer with E = H, its weights, and the tokens of every step."""

    def __init__(self, cell: str, B: int, H: int) -> None:
        torch.manual_seed(0)
        self.cell, self.B, self.H = cell, B, H
        self.reference = TorchRecurrent(Problem(cell, B, STEPS, H))
        self.tokens = torch.randint(0, VOCABULARY, (STEPS, B))

    def ours(self) -> tuple[pyagent.nn.embedding_recurrent.EmbeddingRecurrent, Act]:
        """Our module, to be frozen around the call."""
        module = getattr(pyagent.nn, f"Embedding{self.cell}")(VOCABULARY, self.H, self.H)
        module.load_state_dict(self.reference.state_dict())

        def act() -> Tensor:
            state = None
            for token in self.tokens:
                output, state = module.step(token, state)
            return output

        return module, act

    def torch_nn(self) -> Tensor:
        """nn.Embedding and torch.nn's layer on sequences of one."""
        state = None
        with torch.no_grad():
            for token in self.tokens:
                output, state = self.reference.rnn(self.reference.embedding(token[None]), state)
        return output[0]
