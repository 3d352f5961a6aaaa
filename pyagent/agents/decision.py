"""Decision: which action word to say, and how good the situation is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyagent.nn.recurrent import in_float32


class Decision(nn.Module):
    """A policy that is the language model itself, restricted to the words that are actions, and a value head.

    So supervised fine-tuning on action words and policy gradient act on the very same weights.

    Args:
        action_ids: the token of each action's word.
        hidden_size: H, of the core.
        value_size: width of the value head's hidden layer.

    Raises:
        ValueError: two actions have the same word.
    """

    action_ids: Tensor

    def __init__(self, action_ids: Sequence[int], hidden_size: int, *, value_size: int = 64) -> None:
        super().__init__()
        if len(set(action_ids)) != len(action_ids) or not action_ids:
            raise ValueError(f"action_ids: want one token for each action, all different, got {list(action_ids)}")
        self.register_buffer("action_ids", torch.tensor(action_ids, dtype=torch.int64), persistent=False)
        self.value = nn.Sequential(nn.Linear(hidden_size, value_size), nn.Tanh(), nn.Linear(value_size, 1))

    def forward(self, state: Tensor, word_head: nn.Linear) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the actions [..., A] and values [...] of states [..., H], not in bfloat16 even of such
        states: differences of both are learned from.

        `word_head` is the language model's: word scores from a state.
        """
        bias = None if word_head.bias is None else word_head.bias[self.action_ids]
        scores = nn.functional.linear(state, word_head.weight[self.action_ids], bias)
        scores, value = in_float32(scores), in_float32(self.value(state))
        return scores.log_softmax(-1), value.squeeze(-1)
