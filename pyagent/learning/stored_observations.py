"""Observations as arrays of fixed shape, for replay, and back."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch

from pyagent.agents import SpaceReader
from pyagent.agents.observations import Rows
from pyagent.replay import SequenceReplay

_FEW_TEXTS = 4096


class StoredObservations:
    """Between a vector environment's observations and the fields of a replay.

    Texts are kept once each and stand in the replay as their numbers; see `is_crowded` for how they leave.

    Args:
        space: of one observation.
        understanding: reads observations; its `prepare` makes what `turns` returns.
    """

    def __init__(self, space: gym.Space[Any], understanding: Any) -> None:
        self.understanding = understanding
        self.is_text = isinstance(space, gym.spaces.Text)
        self.texts: list[str] = []
        self._number_of: dict[str, int] = {}
        self._free: list[int] = []
        self._enough = _FEW_TEXTS

    def specs(self, observations: Any) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and dtype of each field, from a batch of observations."""
        return {name: (value.shape[1:], value.dtype) for name, value in self.fields(observations).items()}

    def fields(self, observations: Any) -> dict[str, np.ndarray]:
        """The fields [B, ...] of a batch."""
        if self.is_text:
            return {"observation.0": np.array([self._number(text) for text in observations], dtype=np.int64)}
        rows: Rows = self.understanding.prepare(observations)
        return {f"observation.{i}": part.cpu().numpy() for i, part in enumerate(rows.parts)}

    def turns(self, fields: dict[str, np.ndarray]) -> Any:
        """What the understanding reads, T·n rows of fields [T, n, ...], row t·n+b."""
        values = [fields[f"observation.{i}"] for i in range(len(fields)) if f"observation.{i}" in fields]
        if self.is_text:
            return self.understanding.prepare([self.texts[i] for i in values[0].reshape(-1).tolist()])
        assert isinstance(self.understanding, SpaceReader)
        device = self.understanding.place.device
        return Rows(tuple(torch.from_numpy(value).flatten(0, 1).to(device) for value in values))

    @property
    def is_crowded(self) -> bool:
        """Whether the texts are twice as many as were in use when `keep_only` was last called, and not few."""
        return len(self._number_of) >= self._enough

    def keep_only(self, replay: SequenceReplay) -> None:
        """Forgets texts that do not occur in this replay; their numbers are given to others."""
        used = set(np.unique(replay.stored("observation.0")).tolist())
        self._number_of = {text: number for text, number in self._number_of.items() if number in used}
        self._free = [number for number in range(len(self.texts)) if number not in used]
        for number in self._free:
            self.texts[number] = ""
        self._enough = max(2 * len(self._number_of), _FEW_TEXTS)

    def load_texts(self, texts: list[str]) -> None:
        self.texts = list(texts)
        self._number_of = {text: number for number, text in enumerate(self.texts)}

    def _number(self, text: str) -> int:
        number = self._number_of.get(text)
        if number is None:
            if self._free:
                number = self._free.pop()
                self.texts[number] = text
            else:
                number = len(self.texts)
                self.texts.append(text)
            self._number_of[text] = number
        return number
