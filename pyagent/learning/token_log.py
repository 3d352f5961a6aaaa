"""Logged conversations and games as one stream of tokens: which were spoken, and what they earned."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyagent.agents.token_agent import NO_WORD
from pyagent.learning.episode_packing import pack_episodes
from pyagent.text import Tokenizer

LoggedTurn = tuple[str, "str | None", float]
"""(prompt, response, reward)"""
LoggedEpisode = Sequence[LoggedTurn]
"""Every turn of an episode. One that was cut short ends with (last prompt, None, 0): nothing was answered any more,
and what the prompt promises counts for what came before. One that ends with a response earned nothing after it."""


class TokenBatch(NamedTuple):
    """Episodes packed into lanes, and the K moments in which a word was chosen, in order within each episode."""

    tokens: Tensor
    """int64 [T, B]"""
    reset: Tensor
    """bool [T, B]: an episode starts here"""
    place: Tensor
    """int64 [K]: t·B + b of the token after which a word was chosen"""
    word: Tensor
    """int64 [K]: the word; −1 after an episode's last prompt that nothing answered"""
    reward: Tensor
    """float32 [K]: 0 but at the ``<eos>`` of each response"""
    continues: Tensor
    """bool [K]: the next moment belongs to the same episode"""


@dataclass(frozen=True)
class TokenLog:
    """E episodes; every turn is ``<bos> prompt response <eos>``, or ``<bos> prompt`` where nothing answered."""

    tokens: NDArray[np.int32]
    """[N], episode after episode"""
    word: NDArray[np.int32]
    """[N]: the word chosen after this token; −1 where it was not the speaker's turn"""
    reward: NDArray[np.float32]
    """[N]: of this word"""
    unanswered: NDArray[np.bool_]
    """[N]: the last token of an episode that was cut short"""
    length: NDArray[np.int64]
    """[E]: tokens of each episode"""
    turns: NDArray[np.int64]
    """[E]: responses of each episode"""

    @classmethod
    def of(cls, episodes: Sequence[LoggedEpisode], tokenizer: Tokenizer) -> TokenLog:
        """The log of these episodes.

        Raises:
            ValueError: no episodes, one without a response, a reward that is not finite, or a turn without a response
                that is not the last of its episode.
            TypeError: a turn that is no (prompt, response, reward), two strings and a number.
        """
        _check(episodes)
        turns = [turn for episode in episodes for turn in episode]
        prompts = tokenizer.encode_batch([prompt for prompt, _, _ in turns])
        responses = tokenizer.encode_batch([response or "" for _, response, _ in turns])
        tokens: list[int] = []
        word: list[int] = []
        reward = np.zeros(sum(len(p) + len(r) + 2 for p, r in zip(prompts, responses, strict=True)), dtype=np.float32)
        unanswered, length = [], []
        bos, eos = tokenizer.bos_id, tokenizer.eos_id
        encoded = iter(zip(prompts, responses, strict=True))
        for episode in episodes:
            start = len(tokens)
            for _, response, earned in episode:
                prompt, answer = next(encoded)
                said = [] if response is None else [*answer, eos]
                tokens += [bos, *prompt, *said]
                word += [NO_WORD] * len(prompt) + said + [NO_WORD]
                if response is None:
                    unanswered.append(len(tokens) - 1)
                else:
                    reward[len(tokens) - 2] = earned
            length.append(len(tokens) - start)
        cut = np.zeros(len(tokens), dtype=np.bool_)
        cut[unanswered] = True
        answered = [sum(response is not None for _, response, _ in episode) for episode in episodes]
        return cls(
            np.array(tokens, dtype=np.int32),
            np.array(word, dtype=np.int32),
            reward[: len(tokens)],
            cut,
            np.array(length, dtype=np.int64),
            np.array(answered, dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.length)

    def pack(self, episodes: Sequence[int], lanes: int, device: torch.device | str = "cpu") -> TokenBatch:
        """These episodes, whole, in at most so many lanes; where a lane has ended, ``<unk>`` follows."""
        chosen = np.asarray(episodes, dtype=np.int64)
        row, reset = pack_episodes(self.length[chosen].tolist(), lanes)
        stop = np.cumsum(self.length)[chosen]
        source = np.concatenate([np.arange(*ends) for ends in zip(stop - self.length[chosen], stop, strict=True)])
        there = row.flatten() >= 0
        place = torch.empty(len(source), dtype=torch.int64)
        place[row.flatten()[there]] = there.nonzero()[:, 0]
        tokens = torch.zeros(row.numel(), dtype=torch.int64)
        tokens[place] = torch.from_numpy(self.tokens[source].astype(np.int64))
        moments = np.flatnonzero((self.word[source] != NO_WORD) | self.unanswered[source])
        episode = np.repeat(np.arange(len(chosen)), self.length[chosen])[moments]
        batch = TokenBatch(
            tokens.view(row.shape),
            reset,
            place[moments],
            torch.from_numpy(self.word[source][moments].astype(np.int64)),
            torch.from_numpy(self.reward[source][moments]),
            torch.from_numpy(np.append(episode[1:] == episode[:-1], False)),
        )
        return TokenBatch(*(tensor.to(device) for tensor in batch))

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        return dict(vars(self))


def _check(episodes: Sequence[LoggedEpisode]) -> None:
    if not len(episodes):
        raise ValueError("episodes: want one at least, got none")
    for number, episode in enumerate(episodes):
        for turn, parts in enumerate(episode):
            _check_turn(parts, f"turn {turn} of number {number}", last=turn == len(episode) - 1)
        if not any(response is not None for _, response, _ in episode):
            raise ValueError(f"episodes: number {number} has no response to learn from")


def _check_turn(turn: Any, name: str, last: bool) -> None:
    if isinstance(turn, str) or len(turn) != 3 or not isinstance(turn[2], numbers.Real):
        raise TypeError(f"episodes: {name} is {turn!r}, want (prompt, response, reward)")
    _, response, reward = turn
    if not math.isfinite(reward):
        raise ValueError(f"episodes: the reward of {name} is {reward}")
    if response is None and not (last and reward == 0):
        raise ValueError(
            f"episodes: {name} has no response: want that only in the last turn of an episode that was cut short, "
            "with reward 0"
        )
