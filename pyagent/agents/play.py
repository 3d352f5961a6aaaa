"""A vector environment stepped with the bookkeeping that all learners need: ends, resets, masks, finished episodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array, iterate
from numpy.typing import NDArray

from pyagent.agents.action_masks import ActionMasks


@dataclass(frozen=True)
class EpisodeEnd:
    """One finished episode."""

    lane: int
    reward: float
    length: int
    success: bool | None
    """None where the environment does not tell"""


@dataclass(frozen=True)
class Outcome:
    """What came of one action in each of B lanes."""

    reward: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    """False where the environment ignored the action and only started the next episode"""
    final: Any
    """the observations that ended episodes, as a batch (of other lanes their own), where the environments have gone on
    to the next episode already; None under next-step autoreset, where they are the next observations"""
    infos: dict[str, Any]
    """what the environment told with the step"""

    @property
    def ended(self) -> NDArray[np.bool_]:
        return self.terminated | self.truncated


class Play:
    """Lanes of a vector environment, in any of gymnasium's autoreset modes.

    Args:
        env: the vector environment.
        num_actions: how many scores a mask of allowed actions has; None takes no notice of masks.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], num_actions: int | None) -> None:
        self.env, self.masks = env, ActionMasks(env, num_actions)
        self.mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        self.observations: Any = None
        """of all lanes, now"""
        self.reset = np.ones(env.num_envs, dtype=np.bool_)
        """bool [B]: these observations begin episodes"""
        self.episodes: list[EpisodeEnd] = []
        """finished since the caller last cleared it"""
        self._ignored = np.zeros(env.num_envs, dtype=np.bool_)
        self._rewards, self._lengths = np.zeros(env.num_envs), np.zeros(env.num_envs, dtype=np.int64)

    @property
    def num_lanes(self) -> int:
        return self.env.num_envs

    def restart(self, seed: int | None = None) -> None:
        """Starts new episodes in all lanes."""
        self.observations, infos = self.env.reset(seed=seed)
        self.masks.begin(infos)
        self.reset = np.ones(self.num_lanes, dtype=np.bool_)
        self._ignored[:] = False
        self._rewards[:], self._lengths[:] = 0.0, 0

    def step(self, action: Any) -> Outcome:
        """Takes one action in every lane.

        Raises:
            ValueError: a reward that is no finite number; the environment is named.
        """
        observations, rewards, terminated, truncated, infos = self.env.step(action)
        reward = _finite(rewards)
        valid, ended = ~self._ignored, terminated | truncated
        self._rewards += reward * valid
        self._lengths += valid
        self._note_episodes(ended, infos)
        final = None
        if self.mode is AutoresetMode.NEXT_STEP:
            self.reset, self._ignored = self._ignored, ended
        else:
            self.reset = ended
        # What an environment tells of the actions after an episode's end is not asked for: none may be allowed there.
        self.masks.step(infos, None if self.mode is AutoresetMode.SAME_STEP else ~ended)
        if self.mode is not AutoresetMode.NEXT_STEP and ended.any():
            final = observations
            if self.mode is AutoresetMode.SAME_STEP:
                final = self._final(infos["final_obs"], observations)
            else:
                observations, of_reset = self.env.reset(options={"reset_mask": ended})
                self.masks.step(of_reset, ended)
        self.observations = observations
        return Outcome(reward, terminated, truncated, valid, final, infos)

    def _final(self, final: Any, observations: Any) -> Any:
        """`infos["final_obs"]`, an array with None for lanes that go on, as a batch."""
        space = self.env.single_observation_space
        lanes = list(iterate(self.env.observation_space, observations))
        values = [lane if last is None else last for last, lane in zip(final, lanes, strict=True)]
        if isinstance(space, gym.spaces.Text):
            return values
        return concatenate(space, values, create_empty_array(space, n=len(values), fn=np.zeros))

    def _note_episodes(self, ended: np.ndarray, infos: dict[str, Any]) -> None:
        told = infos.get("final_info", {}) if self.mode is AutoresetMode.SAME_STEP else infos
        there = told.get("_is_success", np.zeros_like(ended))
        for lane in np.flatnonzero(ended).tolist():
            success = bool(told["is_success"][lane]) if there[lane] else None
            self.episodes.append(EpisodeEnd(lane, float(self._rewards[lane]), int(self._lengths[lane]), success))
            self._rewards[lane], self._lengths[lane] = 0.0, 0


def _finite(rewards: Any) -> NDArray[np.float64]:
    reward = np.asarray(rewards, dtype=np.float64)
    bad = ~np.isfinite(reward)
    if bad.any():
        raise ValueError(f"reward: environment {int(bad.argmax())} gave {reward[bad][0]}, want a finite number")
    return reward
