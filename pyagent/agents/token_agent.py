"""A recurrent language model that knows what every word is worth, and speaks accordingly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pyagent.agents.agent_folder import action_ids, load_agent, save_agent
from pyagent.agents.drawing import draw
from pyagent.nn import EmbeddingGRU, EmbeddingLSTM, EmbeddingRNN
from pyagent.nn.recurrent import State
from pyagent.ops import linear_cross_entropy
from pyagent.text import Tokenizer

EMBEDDING_CORES = {"rnn": EmbeddingRNN, "gru": EmbeddingGRU, "lstm": EmbeddingLSTM}
NO_WORD = -1


class SpokenWords(NamedTuple):
    """What the heads say of words that were spoken in K states."""

    q: Tensor
    """[2, K], of each head"""
    target_q: Tensor
    """[K]: the smaller of the two target heads, without gradient"""
    v: Tensor
    """[K]"""
    conservatism: Tensor
    """[2]: mean of log Σ_w exp Q(s, w) − Q(s, a), of each head"""
    cross_entropy: Tensor
    """the language model's, mean"""


class WordValues(nn.Module):
    """Q of every word: H → `size` → V. Untrained it is 0 everywhere, so that it steers nothing."""

    def __init__(self, hidden_size: int, size: int, vocab_size: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(hidden_size, size), nn.ReLU())
        self.output = nn.Linear(size, vocab_size)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, state: Tensor) -> Tensor:
        """[…, V] of states […, H]."""
        return self.output(self.hidden(state))

    def of(self, state: Tensor, word: Tensor) -> Tensor:
        """[K] of these words (int64 [K], any number where there is none) alone."""
        return self._of(self.hidden(state), word)

    def of_and_conservatism(self, state: Tensor, word: Tensor) -> tuple[Tensor, Tensor]:
        """`of`, and the cross-entropy of Q's softmax: the values of a whole vocabulary are never held."""
        hidden = self.hidden(state)
        weight, bias = self.output.weight, self.output.bias
        conservatism = linear_cross_entropy(hidden, weight, word, linear_bias=bias, ignore_index=NO_WORD)
        return self._of(hidden, word), conservatism

    def _of(self, hidden: Tensor, word: Tensor) -> Tensor:
        there = word.clamp(min=0)
        return (hidden * self.output.weight[there]).sum(-1) + self.output.bias[there]


class TokenAgent(nn.Module):
    """One stream of words: `core` (embedding → recurrent core) reads prompts and responses alike, `word_head` scores
    the next word, two heads `q` tell what each next word is worth, and `v` what the state is worth.

    Every turn is ``<bos> prompt response <eos>`` of this stream, and the state is carried from turn to turn. A word is
    chosen by its steered score, with the target heads Q̂ and this module's `beta`:

        log π(w | s) = log p(w | s) + β·(min(Q̂_1, Q̂_2)(s, w) − V(s)) + constant

    so β = 0 is the language model as it is. Snell et al. 2022, "Offline RL for natural language generation with
    implicit language Q-learning", https://arxiv.org/abs/2206.11871

    Args:
        tokenizer: the vocabulary.
        action_words: the word of each action, by its number, where an environment takes numbers; each one token.
        cell: ``"gru"``, ``"lstm"`` or ``"rnn"``.
        embedding_dim: size of a word's vector.
        hidden_size: H, of the core.
        num_layers: layers of the core.
        q_size: width of the hidden layer of the heads.
        beta: β.

    Raises:
        ValueError: no such cell; an action word that is not one known token.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        action_words: Sequence[str] = (),
        *,
        cell: str = "lstm",
        embedding_dim: int = 64,
        hidden_size: int = 128,
        num_layers: int = 1,
        q_size: int = 128,
        beta: float = 1.0,
    ) -> None:
        super().__init__()
        if cell not in EMBEDDING_CORES:
            raise ValueError(f"cell: want one of {', '.join(EMBEDDING_CORES)}, got {cell!r}")
        self.tokenizer, self.action_words, self.beta = tokenizer, tuple(action_words), beta
        self.config = {"action_words": list(action_words), "cell": cell, "embedding_dim": embedding_dim}
        self.config |= {"hidden_size": hidden_size, "num_layers": num_layers, "q_size": q_size}
        V, H = len(tokenizer), hidden_size
        self.action_ids = action_ids(tokenizer, self.action_words)
        self.core = EMBEDDING_CORES[cell](V, embedding_dim, H, num_layers)
        self.word_head = nn.Linear(H, V)
        self.q = nn.ModuleList(WordValues(H, q_size, V) for _ in range(2))
        self.target_q = deepcopy(self.q).requires_grad_(False)
        self.v = nn.Sequential(nn.Linear(H, q_size), nn.ReLU(), nn.Linear(q_size, 1))

    def forward(self, tokens: Tensor, state: State | None = None, *, reset: Tensor | None = None) -> Tensor:
        """States [T, B, H] after each token of streams int64 [T, B]; `reset` (bool [T, B]) begins an episode there."""
        return self.core(tokens, state, reset=reset)[0]

    def spoken(self, state: Tensor, word: Tensor) -> SpokenWords:
        """What the heads say of the words that followed states, to learn from.

        Args:
            state: [K, H].
            word: int64 [K]; −1 where none followed: such a row has a V, its other figures mean nothing.
        """
        heads: Any = self.q, self.target_q
        q, conservatism = zip(*(head.of_and_conservatism(state, word) for head in heads[0]), strict=True)
        with torch.no_grad():
            target_q = torch.minimum(*(head.of(state, word) for head in heads[1]))
        weight, bias = self.word_head.weight, self.word_head.bias
        cross_entropy = linear_cross_entropy(state, weight, word, linear_bias=bias, ignore_index=NO_WORD)
        return SpokenWords(torch.stack(q), target_q, self.v(state)[..., 0], torch.stack(conservatism), cross_entropy)

    @torch.no_grad()
    def update_target(self, tau: float) -> None:
        """Moves the target heads a share `tau` of the way to the heads (Polyak averaging)."""
        for target, online in zip(self.target_q.parameters(), self.q.parameters(), strict=True):
            target.lerp_(online, tau)

    @torch.no_grad()
    def advantage(self, state: Tensor) -> Tensor:
        """min(Q̂_1, Q̂_2) − V of every next word, […, V], of states […, H]."""
        return torch.minimum(*(head(state) for head in self.target_q)) - self.v(state)

    @torch.no_grad()
    def scores(self, state: Tensor) -> Tensor:
        """Steered scores of the next word, […, V]: log π but for a constant."""
        scores = self.word_head(state)
        return scores if self.beta == 0 else scores + self.beta * self.advantage(state)

    @torch.no_grad()
    def read(
        self, prompts: Sequence[str], state: State | None = None, *, reset: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Reads ``<bos> prompt`` in B lanes.

        Args:
            prompts: B texts.
            state: of the lanes; None forgets everything.
            reset: bool [B], lanes whose memory starts anew.

        Returns:
            the output [B, H] after each prompt's last word, and the state.

        Raises:
            TypeError: `prompts` is one string or holds something else than strings.
            ValueError: there are none.
        """
        ids = self.tokenizer.encode_batch(prompts)
        if not ids:
            raise ValueError("prompts: want one at least, got none")
        lengths = torch.tensor([1 + len(one) for one in ids])
        tokens = np.zeros((len(ids), int(lengths.max())), dtype=np.int64)
        for lane, one in enumerate(ids):
            tokens[lane, : 1 + len(one)] = [self.tokenizer.bos_id, *one]
        stream = torch.from_numpy(tokens.T.copy()).to(self.device)
        resets = None
        if reset is not None:
            resets = torch.zeros(stream.shape, dtype=torch.bool, device=self.device)
            resets[0] = reset
        output, after = self.core(stream, state, reset=resets, lengths=lengths.to(self.device))
        return output[lengths - 1, torch.arange(len(ids))], after

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[str],
        state: State | None = None,
        *,
        reset: Tensor | None = None,
        max_words: int = 16,
        deterministic: bool = True,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> tuple[list[str], State]:
        """Responses to B prompts, each up to its ``<eos>`` (left out) or `max_words`.

        Args:
            prompts, state, reset: as for `read`.
            deterministic: the word with the highest steered score, or words drawn by their softmax.
            temperature: divides the scores before drawing.
            generator: what draws; torch's own where it is None.

        Returns:
            the responses, and the state after them, to be handed back with the next prompts.

        Raises:
            ValueError: `max_words` < 1 or `temperature` ≤ 0.
        """
        if max_words < 1:
            raise ValueError(f"max_words: want 1 or more, got {max_words}")
        if not temperature > 0:
            raise ValueError(f"temperature: want more than 0, got {temperature}")
        output, state = self.read(prompts, state, reset=reset)
        said: list[list[int]] = [[] for _ in range(len(output))]
        going = torch.ones(len(output), dtype=torch.bool, device=self.device)
        for number in range(max_words + 1):
            words = _choose(self.scores(output) / temperature, deterministic, generator)
            if number == max_words:  # cut short: what was said ends as every response does
                words = torch.full_like(words, self.tokenizer.eos_id)
            output, after = self.core.step(words, state)
            state = _where(going, after, state)
            going = going & (words != self.tokenizer.eos_id)
            for lane in going.nonzero()[:, 0].tolist():
                said[lane].append(int(words[lane]))
            if not going.any():
                break
        return [self.tokenizer.decode(one) for one in said], state

    @torch.no_grad()
    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Answers a batch of texts (or one text), as Stable-Baselines3's `predict`.

        Args:
            observation: a string, or a sequence of B strings.
            state: what the last call returned; None forgets everything.
            episode_start: bool [B]: lanes whose memory starts anew.
            deterministic: the best answer, or one drawn with torch's generator.

        Returns:
            numbers of actions, int64 [B] (one number for one string), or, of an agent without `action_words`, the
            responses themselves; and the state to hand back.
        """
        prompts = [observation] if isinstance(observation, str) else list(observation)
        reset = None
        if episode_start is not None and state is not None:
            starts = np.atleast_1d(np.asarray(episode_start, dtype=np.bool_))
            reset = torch.from_numpy(starts).to(self.device)
        if not self.action_words:
            said, state = self.generate(prompts, state, reset=reset, deterministic=deterministic)
            return (said[0] if isinstance(observation, str) else said), state
        output, state = self.read(prompts, state, reset=reset)
        ids = torch.tensor(self.action_ids, device=self.device)
        actions = _choose(self.scores(output)[:, ids], deterministic, None)
        _, state = self.core.step(ids[actions], state)
        _, state = self.core.step(torch.full_like(actions, self.tokenizer.eos_id), state)
        return (int(actions[0]) if isinstance(observation, str) else actions.cpu().numpy()), state

    @property
    def device(self) -> torch.device:
        return self.word_head.weight.device

    @contextmanager
    def frozen(self) -> Iterator[TokenAgent]:
        """For acting: keeps what the core derives from its weights, which must not change inside the block."""
        with self.core.frozen():
            yield self

    def save(self, path: str | Path) -> None:
        """Writes `tokenizer.json`, `weights.safetensors` and `config.json` into the folder `path`."""
        save_agent(path, self, self.tokenizer, self.config | {"beta": self.beta})

    @classmethod
    def load(cls, path: str | Path, **keywords: Any) -> TokenAgent:
        """The agent that `save` wrote; `keywords` of the constructor replace what it was made with.

        Raises:
            FileNotFoundError: the folder lacks one of the files.
            ValueError: the files do not hold such an agent.
        """
        return load_agent(cls, path, **keywords)


def _choose(scores: Tensor, deterministic: bool, generator: torch.Generator | None) -> Tensor:
    """int64 [B] of scores [B, N]."""
    if deterministic:
        return scores.argmax(-1)
    return draw(scores.softmax(-1), generator)


def _where(lanes: Tensor, there: State, elsewhere: State) -> State:
    """The one state in these lanes (bool [B]), the other in the rest."""
    if isinstance(there, tuple):
        return _where(lanes, there[0], elsewhere[0]), _where(lanes, there[1], elsewhere[1])  # type: ignore[return-value]
    return torch.where(lanes[:, None], there, elsewhere)  # type: ignore[arg-type]
