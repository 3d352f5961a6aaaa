"""Environments of texts in which the words that an agent does not know get names."""

from __future__ import annotations

from typing import Any

import gymnasium

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
