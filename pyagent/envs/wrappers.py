"""Wrappers of environments of texts: what an agent is told besides, or in other words."""

from __future__ import annotations

from operator import index
from typing import Any

import gymnasium

from pyagent.text.tried_choices import TriedChoices
from pyagent.text.unknown_words import UnknownWords


class RenameUnknownWords(gymnasium.ObservationWrapper[str, Any, str]):
    """Renames unknown words in the texts of `env`, the same way throughout an episode.

    Args:
        env: with text observations.
        words: which are known; see `UnknownWords`.
    """

    def __init__(self, env: gymnasium.Env[str, Any], words: UnknownWords) -> None:
        super().__init__(env)
        self.words = words

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self.words.begin()
        return super().reset(seed=seed, options=options)

    def observation(self, observation: str) -> str:
        return self.words.rename(observation)


class MarkTriedChoices(gymnasium.Wrapper[str, Any, str, Any]):
    """Marks the choices that were taken before in the same place; see `TriedChoices`.

    Args:
        env: with text observations that end with choices.
        tried: what is told apart.
    """

    def __init__(self, env: gymnasium.Env[str, Any], tried: TriedChoices | None = None) -> None:
        super().__init__(env)
        self.tried = tried or TriedChoices()
        self._text = ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self.tried.begin()
        self._text, info = self.env.reset(seed=seed, options=options)
        return self.tried.mark(self._text), info

    def step(self, action: Any) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        before = self._text
        self._text, reward, terminated, truncated, info = self.env.step(action)
        self.tried.take(before, index(action))
        return self.tried.mark(self._text), reward, terminated, truncated, info
