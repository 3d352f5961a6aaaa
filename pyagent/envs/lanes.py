"""A few environments stepped one after the other, with autoreset: what one process does of a vector environment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pyagent.envs.babyai import BabyAIText

Infos = list[tuple[int, dict[str, Any]]]
"""(lane, info) of the lanes that have something to tell"""
Turns = tuple[list[str], list[float], list[bool], list[bool], Infos]


class Lanes:
    """Environments of one level, each with its own stream of seeds.

    Args:
        level: id of one of minigrid's BabyAI levels.
        seeds: for every lane its level seeds.
        autoreset: gymnasium's name of the mode: ``NextStep``, ``SameStep`` or ``Disabled``.
    """

    def __init__(self, level: str, seeds: Sequence[Iterable[int]], autoreset: str) -> None:
        self.envs = [BabyAIText(level, seeds=lane) for lane in seeds]
        self._autoreset = autoreset
        self._observations = [""] * len(self.envs)
        self._ended = [False] * len(self.envs)

    def reset(self, seeds: Sequence[int | None], mask: Sequence[bool] | None) -> tuple[list[str], Infos]:
        """Starts episodes: in all lanes, or in those that `mask` marks."""
        infos: Infos = []
        for lane, env in enumerate(self.envs):
            if mask is None or mask[lane]:
                self._observations[lane], info = env.reset(seed=seeds[lane])
                self._ended[lane] = False
                infos.append((lane, info))
        return list(self._observations), infos

    def step(self, actions: Sequence[int]) -> Turns:
        """One action in every lane."""
        if self._autoreset == "Disabled" and any(self._ended):
            raise RuntimeError("step() with autoreset disabled: reset the lanes whose episode ended first")
        rewards = [0.0] * len(self.envs)
        terminated = [False] * len(self.envs)
        truncated = [False] * len(self.envs)
        infos: Infos = []
        for lane, env in enumerate(self.envs):
            if self._ended[lane]:
                self._observations[lane], info = env.reset()
                self._ended[lane] = False
            else:
                observation, rewards[lane], terminated[lane], truncated[lane], info = env.step(actions[lane])
                ended = terminated[lane] or truncated[lane]
                if ended and self._autoreset == "SameStep":
                    infos.append((lane, {"final_obs": observation, "final_info": info}))
                    observation, info = env.reset()
                    ended = False
                self._observations[lane] = observation
                self._ended[lane] = ended
            if info:
                infos.append((lane, info))
        return list(self._observations), rewards, terminated, truncated, infos

    def close(self) -> None:
        for env in self.envs:
            env.close()
