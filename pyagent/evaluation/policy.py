"""Mean reward of a policy, as Stable-Baselines3's `evaluate_policy` measures it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from pyagent.agents.action_masks import ActionMasks, mask_length
from pyagent.evaluation.lanes import Lanes
from pyagent.evaluation.predictor import Predictor, acting, predict, takes_masks


def evaluate_policy(
    model: Predictor,
    env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any],
    n_eval_episodes: int = 10,
    deterministic: bool = True,
    return_episode_rewards: bool = False,
) -> tuple[float, float] | tuple[list[float], list[int]]:
    """Play `n_eval_episodes` episodes and return the mean and standard deviation of their undiscounted rewards.

    Each of a vector environment's lanes plays its fixed share of the episodes: taking the first that end would
    favour short ones. All of gymnasium's autoreset modes are counted rightly; under next-step autoreset the
    transition that only resets is no part of an episode. Where `RecordEpisodeStatistics` notes an episode's reward
    and length in `info["episode"]`, these are taken, so that wrappers around it do not alter the figures.

    Args:
        model: anything with Stable-Baselines3's `predict`; observations come as a batch, on a plain environment too.
            If its `predict` takes `action_masks`, it is given those that the environment tells, by
            `info["action_mask"]` or by a method `action_masks()`, at every step.
        env: a plain or a vector environment.
        deterministic: passed on to `predict`.
        return_episode_rewards: return the episodes' rewards and lengths instead.

    Returns:
        (mean, standard deviation), or (rewards, lengths), one of each an episode, in the order they ended.

    Raises:
        TypeError: `env` is neither a gymnasium environment nor a gymnasium vector environment.
        ValueError: `n_eval_episodes` below 1, or an action mask of another length or one that allows nothing.
    """
    if n_eval_episodes < 1:
        raise ValueError(f"n_eval_episodes: want at least 1, got {n_eval_episodes}")
    if not isinstance(env, (gym.Env, VectorEnv)):
        raise TypeError(f"env: want a gymnasium Env or VectorEnv, got {type(env).__name__}")
    with acting(model):
        if isinstance(env, VectorEnv):
            rewards, lengths = _play_vector(model, env, n_eval_episodes, deterministic)
        else:
            rewards, lengths = _play_plain(model, env, n_eval_episodes, deterministic)
    if return_episode_rewards:
        return rewards, lengths
    return float(np.mean(rewards)), float(np.std(rewards))


def _play_plain(
    model: Predictor, env: gym.Env[Any, Any], episodes: int, deterministic: bool
) -> tuple[list[float], list[int]]:
    lanes, masked = Lanes([env]), takes_masks(model)
    rewards: list[float] = []
    lengths: list[int] = []
    state = None
    for _ in range(episodes):
        lanes.reset(0)
        reward_sum, steps, over = 0.0, 0, False
        info: dict[str, Any] = {}
        while not over:
            masks = lanes.action_masks([0]) if masked else None
            begins = np.array([steps == 0])
            actions, state = predict(model, lanes.observations(), state, begins, deterministic, masks)
            reward, over, info = lanes.step(actions, [0])[0]
            reward_sum += reward
            steps += 1
        record = info.get("episode", {"r": reward_sum, "l": steps})
        rewards.append(float(np.squeeze(record["r"])))
        lengths.append(int(np.squeeze(record["l"])))
    return rewards, lengths


def _play_vector(
    model: Predictor, env: VectorEnv[Any, Any, Any], episodes: int, deterministic: bool
) -> tuple[list[float], list[int]]:
    share = np.array([(episodes + lane) // env.num_envs for lane in range(env.num_envs)])
    rewards: list[float] = []
    lengths: list[int] = []
    reward_sum, steps = np.zeros(env.num_envs), np.zeros(env.num_envs, dtype=np.int64)
    lanes, state = _VectorLanes(env, takes_masks(model)), None
    while (share > 0).any():
        masks = lanes.action_masks()
        actions, state = predict(model, lanes.observations, state, lanes.episode_start, deterministic, masks)
        counted = ~lanes.resetting
        reward, over, infos = lanes.step(actions)
        reward_sum += np.where(counted, reward, 0.0)
        steps += counted
        for lane in np.flatnonzero(over & (share > 0)):
            noted = _noted_episode(infos, int(lane))
            rewards.append(noted[0] if noted else float(reward_sum[lane]))
            lengths.append(noted[1] if noted else int(steps[lane]))
        share -= over
        reward_sum[over], steps[over] = 0.0, 0
    return rewards, lengths


class _VectorLanes:
    """A vector environment that goes on to the next episode in every lane that ended, whatever its autoreset mode."""

    def __init__(self, env: VectorEnv[Any, Any, Any], masked: bool) -> None:
        self.env = env
        self.mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        self.observations, infos = env.reset()
        self.episode_start = np.ones(env.num_envs, dtype=np.bool_)
        self.resetting = np.zeros(env.num_envs, dtype=np.bool_)
        """bool [B]: lanes whose next transition is a reset and no step"""
        length = mask_length(env.single_action_space) if masked else None
        self._masks = None if length is None else ActionMasks(env, length)
        if self._masks is not None:
            self._masks.begin(infos)

    def action_masks(self) -> NDArray[np.bool_] | None:
        """What is allowed next, bool [B, A]; None where no environment tells, or nobody asks."""
        return None if self._masks is None else self._masks.current

    def step(self, actions: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_], dict[str, Any]]:
        """Rewards [B], which episodes are over [B], and what the environment told."""
        self.observations, reward, terminated, truncated, infos = self.env.step(actions)
        over = (np.asarray(terminated) | np.asarray(truncated)) & ~self.resetting
        # What the end of an episode allows is nobody's choice; same-step autoreset tells of the next episode instead.
        self._read_masks(infos, np.ones_like(over) if self.mode is AutoresetMode.SAME_STEP else ~over)
        if self.mode is AutoresetMode.NEXT_STEP:
            self.episode_start, self.resetting = self.resetting, over
            return reward, over, infos
        if self.mode is AutoresetMode.DISABLED and over.any():
            self.observations, of_reset = self.env.reset(options={"reset_mask": over.copy()})
            self._read_masks(of_reset, over)
        self.episode_start = over
        return reward, over, infos

    def _read_masks(self, infos: dict[str, Any], lanes: NDArray[np.bool_]) -> None:
        if self._masks is not None:
            self._masks.step(infos, lanes)


def _noted_episode(info: dict[str, Any], lane: int) -> tuple[float, int] | None:
    """Reward and length as `RecordEpisodeStatistics` notes them, around the vector or inside each lane."""
    for place in (info, info.get("final_info", {})):
        if isinstance(place, dict) and "episode" in place and place.get("_episode", np.ones(lane + 1))[lane]:
            return float(place["episode"]["r"][lane]), int(place["episode"]["l"][lane])
    return None
