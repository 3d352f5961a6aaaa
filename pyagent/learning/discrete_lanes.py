"""Environments of numbered states and actions, side by side."""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray


class Step(NamedTuple):
    """One step of B lanes."""

    state: NDArray[np.int64]
    action: NDArray[np.int64]
    """counted from 0"""
    reward: NDArray[np.float64]
    next_state: NDArray[np.int64]
    """where an episode ended its last state, whatever the lane goes on with"""
    terminated: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    """False where the environment ignored the action and only started the next episode"""
    ended: NDArray[np.bool_]
    moved: NDArray[np.bool_]
    """the lane goes on in another state than `next_state`"""


class DiscreteLanes:
    """Steps environments of numbered states and actions, in each of gymnasium's autoreset modes.

    Args:
        env: with `Discrete` actions and `Discrete`, `MultiDiscrete` or a `Tuple` of `Discrete` observations.

    Raises:
        TypeError: other spaces.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        actions = env.single_action_space
        if not isinstance(actions, gym.spaces.Discrete):
            raise TypeError(f"env: want discrete actions, got {actions}")
        self.env = env
        self.first_action, self.num_actions = int(actions.start), int(actions.n)
        self.index = StateIndex(env.single_observation_space)
        self.mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        self.episodes: list[tuple[float, int, float | None]] = []
        """(reward, length, success or None) of those that ended"""
        self.state = np.zeros(env.num_envs, dtype=np.int64)

    def __len__(self) -> int:
        return self.env.num_envs

    def restart(self, seed: int) -> None:
        """New episodes in all lanes."""
        observations, _ = self.env.reset(seed=seed)
        self.state = self.index(observations)
        self._ignored = np.zeros(len(self), dtype=np.bool_)
        self._rewards, self._lengths = np.zeros(len(self)), np.zeros(len(self), dtype=np.int64)
        self.episodes.clear()

    def step(self, action: NDArray[np.int64]) -> Step:
        """Takes an action in every lane.

        Raises:
            ValueError: a reward is not finite, or an observation not in its space; the environment is named.
        """
        observations, rewards, terminated, truncated, infos = self.env.step(action + self.first_action)
        terminated, ended = np.asarray(terminated), np.asarray(terminated) | np.asarray(truncated)
        reward, valid = np.asarray(rewards, dtype=np.float64), ~self._ignored
        wrong = np.flatnonzero(valid & ~np.isfinite(reward))
        if wrong.size:
            raise ValueError(f"env: environment {wrong[0]} gave the reward {reward[wrong[0]]}, want a finite number")
        state, self.state = self.state, self.index(observations)
        next_state, moved = self.state, np.zeros_like(ended)
        if self.mode is AutoresetMode.NEXT_STEP:
            self._ignored = ended
        elif ended.any():
            moved = ended
            if self.mode is AutoresetMode.SAME_STEP:
                next_state = self.state.copy()
                for lane in np.flatnonzero(ended):
                    next_state[lane] = self.index.of_one(infos["final_obs"][lane], int(lane))
            else:
                observations, _ = self.env.reset(options={"reset_mask": ended})
                self.state = self.index(observations)
        step = Step(state, action, reward, next_state, terminated, valid, ended, moved)
        self._note_episodes(step, infos)
        return step

    def _note_episodes(self, step: Step, infos: dict[str, Any]) -> None:
        self._rewards += step.reward * step.valid
        self._lengths += step.valid
        if not step.ended.any():
            return
        told = infos.get("final_info", {}) if self.mode is AutoresetMode.SAME_STEP else infos
        there = told.get("_is_success", np.zeros_like(step.ended))
        for lane in np.flatnonzero(step.ended):
            success = float(told["is_success"][lane]) if there[lane] else None
            self.episodes.append((float(self._rewards[lane]), int(self._lengths[lane]), success))
            self._rewards[lane], self._lengths[lane] = 0.0, 0


class StateIndex:
    """Numbers the observations of a space from 0, the last part counting fastest.

    Args:
        space: `Discrete`, `MultiDiscrete`, or a `Tuple` of `Discrete`.

    Raises:
        TypeError: another space.
    """

    def __init__(self, space: gym.Space[Any]) -> None:
        self.space = space
        if isinstance(space, gym.spaces.MultiDiscrete):
            sizes, starts = space.nvec.reshape(-1), space.start.reshape(-1)
        else:
            parts = space.spaces if isinstance(space, gym.spaces.Tuple) else (space,)
            discrete = [part for part in parts if isinstance(part, gym.spaces.Discrete)]
            if len(discrete) < len(parts):
                raise TypeError(f"env: want Discrete, MultiDiscrete or a Tuple of Discrete observations, got {space}")
            sizes, starts = zip(*((part.n, part.start) for part in discrete), strict=True)
        self._sizes, self._starts = np.array(sizes, dtype=np.int64), np.array(starts, dtype=np.int64)
        self._strides = np.append(np.cumprod(self._sizes[:0:-1])[::-1], 1)
        self.size = int(np.prod(self._sizes, dtype=object))

    def __call__(self, observations: Any, first_lane: int = 0) -> NDArray[np.int64]:
        """Numbers [B] of a batch as vector environments lay it out.

        Raises:
            ValueError: an observation is not in the space; its environment is named.
        """
        parts = np.stack(observations, -1) if isinstance(self.space, gym.spaces.Tuple) else np.asarray(observations)
        digits = parts.reshape(len(parts), -1) - self._starts
        inside = ((digits >= 0) & (digits < self._sizes)).all(1)  # a NaN is not
        if not inside.all():
            lane = int(np.flatnonzero(~inside)[0])
            got, lane = parts[lane], first_lane + lane
            raise ValueError(f"env: environment {lane} gave the observation {got}, want one of {self.space}")
        return digits.astype(np.int64) @ self._strides

    def of_one(self, observation: Any, lane: int = 0) -> int:
        """The number of one environment's observation."""
        if isinstance(self.space, gym.spaces.Tuple):
            return int(self([np.asarray(part)[None] for part in observation], lane)[0])
        return int(self(np.asarray(observation)[None], lane)[0])

    def is_one(self, observation: Any) -> bool:
        """Whether this is an observation alone and no batch of them."""
        if isinstance(self.space, gym.spaces.Tuple):
            return np.ndim(observation[0]) == 0
        return np.ndim(observation) == len(self.space.shape or ())
