"""Many text environments that step together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from pyagent.envs.babyai import ACTION_WORDS, BabyAIText
from pyagent.envs.lanes import Lanes


class TextVectorEnv(VectorEnv[tuple[str, ...], np.ndarray, np.ndarray]):
    """A gymnasium vector environment of BabyAI levels told in words.

    Observations are tuples of `num_envs` strings, rewards float64 ``[num_envs]``, ends bool ``[num_envs]``.
    ``metadata["autoreset_mode"]`` says what happens to an episode that ended:

    - ``NextStep``: the next `step` ignores this lane's action and returns the new episode's first observation, with
      reward 0 and no end;
    - ``SameStep``: the step that ends an episode returns the next one's first observation; the last one of the old
      episode is in ``infos["final_obs"]``, its info in ``infos["final_info"]``;
    - ``Disabled``: call ``reset(options={"reset_mask": ended})``.

    Args:
        level: id of one of minigrid's BabyAI levels.
        seeds: for every lane its level seeds.
        autoreset_mode: one of gymnasium's modes, or its name.
    """

    action_words = ACTION_WORDS

    def __init__(
        self,
        level: str,
        seeds: Sequence[Iterable[int]],
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        mode = AutoresetMode(autoreset_mode)
        self.num_envs = len(seeds)
        self._lanes = Lanes(level, seeds, mode.value)
        single = self._lanes.envs[0]
        self.metadata = {**BabyAIText.metadata, "autoreset_mode": mode}
        self.single_action_space = single.action_space
        self.single_observation_space = single.observation_space
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Starts an episode in every lane.

        Args:
            seed: lane i starts with level ``seed + i`` (or ``seed[i]``) and then plays its own seeds from their first.
            options: ``{"reset_mask": bool [num_envs]}`` starts only the marked lanes.
        """
        seeds = self._lane_seeds(seed)
        mask = self._reset_mask(options)
        observations, infos = self._lanes.reset(seeds, mask)
        return tuple(observations), self._merge(infos)

    def step(self, actions: Any) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Takes one action in every lane: integers ``[num_envs]``.

        Raises:
            ValueError: wrong number of actions, or one outside the action space; no lane has moved then.
        """
        observations, rewards, terminated, truncated, infos = self._lanes.step(self._checked(actions))
        return (
            tuple(observations),
            np.array(rewards, dtype=np.float64),
            np.array(terminated, dtype=np.bool_),
            np.array(truncated, dtype=np.bool_),
            self._merge(infos),
        )

    def close_extras(self, **kwargs: Any) -> None:
        self._lanes.close()

    def _checked(self, actions: Any) -> list[int]:
        array = np.asarray(actions)
        if array.shape != (self.num_envs,) or not np.issubdtype(array.dtype, np.integer):
            raise ValueError(
                f"actions must be {self.num_envs} integers, got {array.dtype} of shape {list(array.shape)}"
            )
        if array.min() < 0 or array.max() >= len(ACTION_WORDS):
            raise ValueError(f"actions must lie in [0, {len(ACTION_WORDS)}), got {array.min()} to {array.max()}")
        return array.tolist()

    def _lane_seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            return [int(seed) + lane for lane in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"seed must be one integer or {self.num_envs} of them, got {len(seed)}")
        return list(seed)

    def _reset_mask(self, options: dict[str, Any] | None) -> list[bool] | None:
        if options is None or "reset_mask" not in options:
            return None
        mask = np.asarray(options["reset_mask"])
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ValueError(
                f"options['reset_mask'] must be bool of shape [{self.num_envs}] with at least one True, "
                f"got {mask.dtype} of shape {list(mask.shape)}"
            )
        return mask.tolist()

    def _merge(self, infos: list[tuple[int, dict[str, Any]]]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for lane, info in infos:
            merged = self._add_info(merged, info, lane)
        return merged
