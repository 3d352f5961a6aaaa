"""Language understanding: the text of a turn becomes one vector."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pyagent.nn import EmbeddingGRU
from pyagent.text import Tokenizer


@dataclass(frozen=True)
class Turns:
    """The texts of N turns as the U distinct sentences that occur in them."""

    tokens: Tensor
    """int64 [L, U]: one column a sentence"""
    lengths: Tensor
    """int64 [U]: tokens of each sentence, 1…L"""
    sentences: Tensor
    """int64 [N, S]: each turn's sentences in order, −1 after its last; every turn has one at least"""

    def __len__(self) -> int:
        return self.sentences.shape[0]

    def select(self, rows: Tensor) -> Turns:
        """These turns (int64 [M]) with only the sentences that occur in them."""
        return Turns(self.tokens, self.lengths, self.sentences[rows]).compact()

    def compact(self) -> Turns:
        """Without the sentences that no turn has."""
        used, position = torch.unique(self.sentences, return_inverse=True)
        if len(used) and used[0] < 0:
            used, position = used[1:], position - 1
        return Turns(self.tokens[:, used], self.lengths[used], position)


class SentenceVectors(NamedTuple):
    """What attention and pooling need of each sentence, all [U, H]."""

    query: Tensor
    key: Tensor
    value: Tensor
    feature: Tensor


class Understanding(nn.Module):
    """Reads every distinct sentence of a batch once, then each turn with attention from its first sentence.

    A sentence s of words w_1…w_n has the state h_s of an embedding GRU at its end, and the bag b_s = Σ e(w_i)/√n of
    its word vectors. The first sentence of a turn (the mission) attends to the others: heads score q·k with
    k_s = W_k b_s and q = k_first + W_q h_first, so that sentences that share words with the mission are looked at from
    the start; W_q begins at 0 and learns the rest. The turn's vector is
    relu(norm(W [attended values; largest feature over all sentences; feature of the first sentence])).

    Args:
        tokenizer: turns text into tokens.
        output_size: D, size of a turn's vector.
        embedding_dim: size of a word's vector.
        hidden_size: H, size of a sentence's vector; a multiple of `num_heads`.
        num_heads: attention heads.

    Raises:
        ValueError: `hidden_size` is not a multiple of `num_heads`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        output_size: int = 128,
        *,
        embedding_dim: int = 32,
        hidden_size: int = 64,
        num_heads: int = 4,
    ) -> None:
        super().__init__()
        if num_heads < 1 or hidden_size % num_heads:
            raise ValueError(f"hidden_size: want a multiple of num_heads={num_heads}, got {hidden_size}")
        self.tokenizer = tokenizer
        self.output_size = output_size
        self.num_heads = num_heads
        H = hidden_size
        self.reader = EmbeddingGRU(len(tokenizer), embedding_dim, H)
        self.norm = nn.LayerNorm(H)
        self.query = nn.Linear(H, H)
        self.key = nn.Linear(embedding_dim, H, bias=False)
        self.value = nn.Linear(H, H)
        self.feature = nn.Linear(H, H)
        self.sharpness = nn.Parameter(torch.ones(num_heads))
        self.output = nn.Linear(3 * H, output_size)
        self.output_norm = nn.LayerNorm(output_size)
        self._known: _KnownSentences | None = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Orthogonal weights: signals keep their size on the way from a word to the decision."""
        for name in ("weight_ih", "weight_hh"):
            for gate in self.reader.rnn.parameter(name).data.chunk(3):
                nn.init.orthogonal_(gate)
        for layer, gain in ((self.key, 1.0), (self.value, 1.0), (self.feature, 2**0.5), (self.output, 2**0.5)):
            nn.init.orthogonal_(layer.weight, gain)
        nn.init.zeros_(self.query.weight)
        nn.init.zeros_(self.query.bias)

    def prepare(self, texts: Sequence[str]) -> Turns:
        """Splits texts into sentences (a full stop ends one) and these into tokens; no weight is involved."""
        number_of: dict[str, int] = {}
        sentences = sentence_numbers(texts, number_of)
        return Turns(*self._tokens(list(number_of)), sentences.to(self.sharpness.device))

    def forward(self, turns: Turns) -> Tensor:
        """One vector a turn, [N, D]."""
        return self._attend(self._read(turns.tokens, turns.lengths), turns.sentences)

    def step(self, texts: Sequence[str]) -> Tensor:
        """The same for acting, without gradient; inside `frozen()` no sentence is read twice. Returns [N, D]."""
        with torch.no_grad():
            if self._known is None:
                return self(self.prepare(texts))
            sentences = sentence_numbers(texts, self._known.number_of)
            self._read_new(self._known)
            return self._attend(self._known.vectors, sentences.to(self.sharpness.device))

    @contextmanager
    def frozen(self) -> Iterator[Understanding]:
        """Keeps the vectors of sentences until the block ends; weights must not change inside it."""
        outer = self._known
        self._known = outer or _KnownSentences()
        try:
            with self.reader.frozen():
                yield self
        finally:
            self._known = outer

    def _tokens(self, sentences: list[str]) -> tuple[Tensor, Tensor]:
        ids = self.tokenizer.encode_batch([f"{sentence} ." for sentence in sentences])
        lengths = [len(one) for one in ids]
        tokens = np.zeros((len(ids), max(lengths, default=0)), dtype=np.int64)
        tokens[np.arange(tokens.shape[1]) < np.array(lengths, dtype=np.int64)[:, None]] = [
            i for one in ids for i in one
        ]
        device = self.sharpness.device
        return torch.from_numpy(tokens.T.copy()).to(device), torch.tensor(lengths, dtype=torch.int64, device=device)

    def _read_new(self, known: _KnownSentences) -> None:
        """Reads the sentences that got a number since the last call."""
        if len(known.number_of) > known.count:
            known.add(self._read(*self._tokens(list(known.number_of)[known.count :])))

    def _read(self, tokens: Tensor, lengths: Tensor) -> SentenceVectors:
        _, state = self.reader(tokens, lengths=lengths)
        state = self.norm(state[-1])
        inside = torch.arange(tokens.shape[0], device=tokens.device)[:, None] < lengths
        words = self.reader.embedding(tokens) * inside[..., None]
        key = self.key(words.sum(0) / lengths[:, None].to(words.dtype).sqrt())
        return SentenceVectors(key + self.query(state), key, self.value(state), self.feature(state).relu())

    def _attend(self, vectors: SentenceVectors, sentences: Tensor) -> Tensor:
        heads = (self.num_heads, vectors.key.shape[1] // self.num_heads)
        there = sentences >= 0
        index = sentences.clamp(min=0)
        query, key, value, feature = (
            nn.functional.embedding(index[:, :1] if name == "query" else index, vector)
            for name, vector in zip(SentenceVectors._fields, vectors, strict=True)
        )
        query, key, value = (x.unflatten(-1, heads) for x in (query, key, value))
        score = (query * key).sum(-1) * (self.sharpness.exp() / heads[1] ** 0.5)
        # The mission looks at the other sentences; at itself only where there is no other.
        others = there & (torch.arange(there.shape[1], device=there.device) > 0)
        others[:, 0] = ~others.any(1)
        weight = score.masked_fill(~others[..., None], -torch.inf).softmax(1)
        attended = (weight[..., None] * value).sum(1).flatten(1)
        largest = (feature * there[..., None]).amax(1)
        turn = self.output(torch.cat((attended, largest, feature[:, 0]), -1))
        return self.output_norm(turn).relu()


class _KnownSentences:
    """Vectors of the sentences read since acting began."""

    def __init__(self) -> None:
        self.number_of: dict[str, int] = {}
        self.count = 0
        self._vectors: SentenceVectors | None = None

    @property
    def vectors(self) -> SentenceVectors:
        if self._vectors is None:
            raise RuntimeError("no sentence was read yet")
        return self._vectors

    def add(self, new: SentenceVectors) -> None:
        old = self._vectors
        self._vectors = (
            new if old is None else SentenceVectors(*(torch.cat(pair) for pair in zip(old, new, strict=True)))
        )
        self.count = len(self.number_of)


def sentence_numbers(texts: Sequence[str], number_of: dict[str, int]) -> Tensor:
    """The number of every sentence, int64 [N, S] with −1 after a turn's last; new sentences get the next numbers."""
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise TypeError("texts: want a sequence of strings, one a turn")
    turns: list[list[int]] = []
    for text in texts:
        stripped = [piece.strip() for piece in text.split(".")]
        turn = [number_of.setdefault(sentence, len(number_of)) for sentence in stripped if sentence]
        turns.append(turn or [number_of.setdefault("", len(number_of))])
    lengths = np.array([len(turn) for turn in turns], dtype=np.int64)
    sentences = np.full((len(turns), int(lengths.max(initial=1))), -1, dtype=np.int64)
    sentences[np.arange(sentences.shape[1]) < lengths[:, None]] = [number for turn in turns for number in turn]
    return torch.from_numpy(sentences)
