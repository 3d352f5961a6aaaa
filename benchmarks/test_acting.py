"""One acting step, tokens in, inside `frozen()`, against nn.Embedding and torch.nn's core on a sequence of one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import pyagent.nn

VOCABULARY = 256
STEPS = 20


@pytest.mark.benchmark(group="acting step")
@pytest.mark.parametrize("B", [1, 8, 64])
@pytest.mark.parametrize("H", [128, 256, 512])
@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
def test_acting_step(compare, cell: str, H: int, B: int) -> None:
    torch.manual_seed(0)
    ours = getattr(pyagent.nn, f"Embedding{cell}")(VOCABULARY, H, H)
    embedding, rnn = nn.Embedding(VOCABULARY, H), getattr(nn, cell)(H, H)
    embedding.load_state_dict(ours.embedding.state_dict())
    rnn.load_state_dict(ours.rnn.state_dict())
    tokens = torch.randint(0, VOCABULARY, (STEPS, B))

    def act_ours() -> torch.Tensor:
        state = None
        for t in range(STEPS):
            output, state = ours.step(tokens[t], state)
        return output

    def act_theirs() -> torch.Tensor:
        state = None
        with torch.no_grad():
            for t in range(STEPS):
                output, state = rnn(embedding(tokens[t : t + 1]), state)
        return output[0]

    with ours.frozen():
        torch.testing.assert_close(act_ours(), act_theirs(), atol=1e-5, rtol=1e-4)
        compare(act_ours, act_theirs, f"nn.{cell}, {STEPS} steps")
