"""Words that an agent does not know get names, so that it can tell them apart and learns what to do with them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

_WORD = re.compile(r"\w+")


def count_words(episodes: Iterable[Iterable[str]]) -> Counter[str]:
    """In how many of these episodes (each some texts) every word occurs."""
    return Counter(word for episode in episodes for word in {word for text in episode for word in _WORD.findall(text)})


class UnknownWords:
    """Renames the words of an episode that are not known: the first of them is ``unknown0``, the next ``unknown1``, …

    In training some known words are forgotten for an episode, the rare ones more often: a word that occurs in n
    episodes with probability α/(n + α) (Kiperwasser and Goldberg 2016, https://arxiv.org/abs/1603.04351, there a word
    at a time). An agent that saw all words of its training games would never learn what to do with a new one.

    Args:
        known: in how many training episodes each known word occurs.
        alpha: α ≥ 0; 0 forgets nothing.
        seed: of what is forgotten.
        names: how many there are, ≥ 1; further unknown words share them.

    Raises:
        ValueError: `alpha` or `names` out of range.
    """

    def __init__(self, known: Mapping[str, int], alpha: float = 0.0, *, seed: int = 0, names: int = 8) -> None:
        if alpha < 0 or names < 1:
            raise ValueError(f"alpha and names: want 0 or more and 1 or more, got {alpha} and {names}")
        self.known, self.alpha, self.names = known, alpha, names
        self._rng = np.random.default_rng(seed)
        self._called: dict[str, str] = {}
        self._unknown = 0

    def begin(self) -> None:
        """A new episode: names and forgotten words start anew."""
        self._called.clear()
        self._unknown = 0

    def rename(self, text: str) -> str:
        """The text with unknown words by their names."""
        return _WORD.sub(lambda found: self._call(found.group()), text)

    def _call(self, word: str) -> str:
        name = self._called.get(word)
        if name is None:
            name = self._called[word] = self._new_name() if self._is_unknown(word) else word
        return name

    def _is_unknown(self, word: str) -> bool:
        count = self.known.get(word, 0)
        return not count or bool(self._rng.random() < self.alpha / (count + self.alpha))

    def _new_name(self) -> str:
        self._unknown += 1
        return f"unknown{(self._unknown - 1) % self.names}"
