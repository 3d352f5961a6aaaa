"""Plain environments side by side, stepped and reset lane by lane."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from numpy.typing import NDArray

from pyagent.agents.action_masks import checked_mask, mask_length


class Lanes:
    """A batch of plain environments in which every lane is reset with its own seed and only chosen lanes step.

    Args:
        envs: environments with equal observation and action spaces; each is one lane.

    Raises:
        ValueError: no environments, or spaces that differ.
    """

    def __init__(self, envs: Sequence[gym.Env[Any, Any]]) -> None:
        if not envs:
            raise ValueError("envs: want at least one environment, got none")
        first = envs[0]
        for env in envs[1:]:
            if (env.observation_space, env.action_space) != (first.observation_space, first.action_space):
                raise ValueError(
                    f"envs: want equal spaces, got {first.observation_space}, {first.action_space} "
                    f"and {env.observation_space}, {env.action_space}"
                )
        self.envs = list(envs)
        self.observation_space = first.observation_space
        self.action_space = first.action_space
        self._actions_space = batch_space(first.action_space, len(envs))
        self._current: list[Any] = [None] * len(envs)
        self._infos: list[dict[str, Any]] = [{} for _ in envs]
        self._mask_length = mask_length(first.action_space)
        self._has_method = [env.has_wrapper_attr("action_masks") for env in envs]

    def __len__(self) -> int:
        return len(self.envs)

    def reset(self, lane: int, seed: int | None = None) -> dict[str, Any]:
        """Start a new episode in one lane and return its info."""
        self._current[lane], self._infos[lane] = self.envs[lane].reset(seed=seed)
        return self._infos[lane]

    def observations(self) -> Any:
        """The lanes' current observations as one batch, laid out as gymnasium's vector environments do."""
        empty = create_empty_array(self.observation_space, n=len(self), fn=np.zeros)
        return concatenate(self.observation_space, self._current, empty)

    def step(self, actions: Any, lanes: Iterable[int]) -> dict[int, tuple[float, bool, dict[str, Any]]]:
        """Step the chosen lanes with their part of the batch of actions: lane → (reward, episode over, info)."""
        split = list(iterate(self._actions_space, actions))
        if len(split) != len(self):
            raise ValueError(f"actions: want one for each of {len(self)} environments, got {len(split)}")
        results: dict[int, tuple[float, bool, dict[str, Any]]] = {}
        for lane in lanes:
            self._current[lane], reward, terminated, truncated, info = self.envs[lane].step(split[lane])
            self._infos[lane] = info
            results[lane] = (float(reward), bool(terminated or truncated), info)
        return results

    def action_masks(self, lanes: Iterable[int]) -> NDArray[np.bool_] | None:
        """What the chosen lanes' environments allow now, bool [B, A]; None where none of them tells, or the actions are
        not discrete. In the other lanes, and where an environment tells nothing, everything is allowed.

        Raises:
            ValueError: a mask of another length, or one that allows nothing; the environment is named.
        """
        told = {lane: mask for lane in lanes if (mask := self._told_mask(lane)) is not None}
        if not told or self._mask_length is None:
            return None
        masks = np.ones((len(self), self._mask_length), dtype=np.bool_)
        for lane, mask in told.items():
            masks[lane] = checked_mask(mask, self._mask_length, lane)
        return masks

    def _told_mask(self, lane: int) -> Any:
        """By info, or else by a method."""
        env, mask = self.envs[lane], self._infos[lane].get("action_mask")
        return env.get_wrapper_attr("action_masks")() if mask is None and self._has_method[lane] else mask
