"""Language generation: the words of a response, from the state after a turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pyagent.agents.drawing import draw
from pyagent.nn import EmbeddingGRU


@dataclass(frozen=True)
class Responses:
    """The tokens of N responses."""

    tokens: Tensor
    """int64 [R, N]: one column a response, ``<eos>`` at its end and after it"""
    lengths: Tensor
    """int64 [N]: tokens of each, its ``<eos>`` included"""

    def select(self, rows: Tensor) -> Responses:
        """These responses, int64 [M]."""
        return Responses(self.tokens[:, rows], self.lengths[rows])


class Generation(nn.Module):
    """A language model of responses: its first word is read from the core's state, each further one from a small
    decoder that starts in this state and reads the words said so far.

    Args:
        vocab_size: V.
        hidden_size: H, of the core.
        embedding_dim: size of the decoder's word vectors.
        eos_id: the token that ends a response.
    """

    def __init__(self, vocab_size: int, hidden_size: int, *, embedding_dim: int = 32, eos_id: int = 2) -> None:
        super().__init__()
        self.eos_id = eos_id
        self.word_head = nn.Linear(hidden_size, vocab_size)
        self.decoder = EmbeddingGRU(vocab_size, embedding_dim, hidden_size)
        nn.init.orthogonal_(self.word_head.weight)
        nn.init.zeros_(self.word_head.bias)

    def forward(self, state: Tensor, response: Tensor) -> Tensor:
        """Scores of every word of given responses.

        Args:
            state: [N, H], the core's after each turn.
            response: int64 [R, N], the responses' tokens; what follows a response's end does not matter.

        Returns:
            [R, N, V]: position r scores token r given those before it.
        """
        output = state[None]
        if response.shape[0] > 1:
            further, _ = self.decoder(response[:-1], output.contiguous())
            output = torch.cat((output, further))
        return self.word_head(output)

    def loss(self, state: Tensor, response: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy on responses, summed over a response's words and averaged over responses.

        Args:
            state: [N, H].
            response: int64 [R, N].
            lengths: int64 [N], tokens of each response, its ``<eos>`` included.

        Returns:
            the loss, and the share of responses that are the most probable word at every position.
        """
        scores = self(state, response)
        inside = torch.arange(response.shape[0], device=response.device)[:, None] < lengths
        losses = nn.functional.cross_entropy(scores.flatten(0, 1), response.flatten(), reduction="none")
        right = (scores.argmax(-1) == response) | ~inside
        return (losses.view_as(inside) * inside).sum() / max(len(lengths), 1), right.all(0).float().mean()

    @torch.no_grad()
    def generate(
        self,
        state: Tensor,
        *,
        max_words: int = 16,
        deterministic: bool = True,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> list[list[int]]:
        """Responses to N turns, each up to its ``<eos>`` (left out) or `max_words`.

        Args:
            state: [N, H].
            deterministic: the most probable word at each position (greedy), or words drawn by their probability.
            temperature: divides the scores before drawing.
            generator: what draws; torch's own where it is None.

        Raises:
            ValueError: `max_words` < 1 or `temperature` ≤ 0.
        """
        if max_words < 1:
            raise ValueError(f"max_words: want 1 or more, got {max_words}")
        if not temperature > 0:
            raise ValueError(f"temperature: want more than 0, got {temperature}")
        said: list[list[int]] = [[] for _ in range(state.shape[0])]
        going = torch.ones(state.shape[0], dtype=torch.bool, device=state.device)
        output, memory = state, state[None].contiguous()
        for _ in range(max_words):
            scores = self.word_head(output)
            words = scores.argmax(-1) if deterministic else draw((scores / temperature).softmax(-1), generator)
            going = going & (words != self.eos_id)
            for lane in going.nonzero()[:, 0].tolist():
                said[lane].append(int(words[lane]))
            if not going.any():
                break
            output, memory = self.decoder.step(words, memory)
        return said

    @contextmanager
    def frozen(self) -> Iterator[Generation]:
        """Keeps what acting derives from the weights; they must not change inside the block."""
        with self.decoder.frozen():
            yield self
