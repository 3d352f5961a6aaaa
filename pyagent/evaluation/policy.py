"""Mean reward of a policy, as Stable-Baselines3's `evaluate_policy` measures it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from pyagent.evaluation.lanes import Lanes
from pyagent.evaluation.seeds import Predictor, acting


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
        env: a plain or a vector environment.
        deterministic: passed on to `predict`.
        return_episode_rewards: return the episodes' rewards and lengths instead.

    Returns:
        (mean, standard deviation), or (rewards, lengths), one of each an episode, in the order they ended.

    Raises:
        TypeError: `env` is neither a gymnasium environment nor a gymnasium vector environment.
        ValueError: `n_eval_episodes` below 1.
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
    lanes = Lanes([env])
    rewards: list[float] = []
    lengths: list[int] = []
    state = None
    for _ in range(episodes):
        lanes.reset(0)
        reward_sum, steps, over = 0.0, 0, False
        info: dict[str, Any] = {}
        while not over:
            actions, state = model.predict(
                lanes.observations(), state=state, episode_start=np.array([steps == 0]), deterministic=deterministic
            )
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
    mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
    share = np.array([(episodes + lane) // env.num_envs for lane in range(env.num_envs)])
    rewards: list[float] = []
    lengths: list[int] = []
    reward_sum, steps = np.zeros(env.num_envs), np.zeros(env.num_envs, dtype=np.int64)
    observations, _ = env.reset()
    state = None
    episode_start = np.ones(env.num_envs, dtype=np.bool_)
    resetting = np.zeros(env.num_envs, dtype=np.bool_)  # lanes whose next transition is a reset and no step
    while (share > 0).any():
        actions, state = model.predict(
            observations, state=state, episode_start=episode_start, deterministic=deterministic
        )
        observations, reward, terminated, truncated, info = env.step(actions)
        reward_sum += np.where(resetting, 0.0, reward)
        steps += ~resetting
        over = (np.asarray(terminated) | np.asarray(truncated)) & ~resetting
        for lane in np.flatnonzero(over & (share > 0)):
            noted = _noted_episode(info, int(lane))
            rewards.append(noted[0] if noted else float(reward_sum[lane]))
            lengths.append(noted[1] if noted else int(steps[lane]))
        share -= over
        reward_sum[over], steps[over] = 0.0, 0
        observations, episode_start, resetting = _begin_again(env, mode, observations, over, resetting)
    return rewards, lengths


def _begin_again(
    env: VectorEnv[Any, Any, Any],
    mode: AutoresetMode,
    observations: Any,
    over: NDArray[np.bool_],
    resetting: NDArray[np.bool_],
) -> tuple[Any, NDArray[np.bool_], NDArray[np.bool_]]:
    """What the next prediction sees: its observations, which lanes begin an episode, which ones are only resetting."""
    if mode is AutoresetMode.NEXT_STEP:
        return observations, resetting, over
    if mode is AutoresetMode.DISABLED and over.any():
        observations, _ = env.reset(options={"reset_mask": over.copy()})
    return observations, over, np.zeros_like(over)


def _noted_episode(info: dict[str, Any], lane: int) -> tuple[float, int] | None:
    """Reward and length as `RecordEpisodeStatistics` notes them, around the vector or inside each lane."""
    for place in (info, info.get("final_info", {})):
        if isinstance(place, dict) and "episode" in place and place.get("_episode", np.ones(lane + 1))[lane]:
            return float(place["episode"]["r"][lane]), int(place["episode"]["l"][lane])
    return None
