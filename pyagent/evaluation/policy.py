"""Mean reward of a policy, as Stable-Baselines3's `evaluate_policy` measures it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from pyagent.agents.action_masks import mask_length
from pyagent.agents.play import Play
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
        ValueError: `n_eval_episodes` below 1, an action mask of another length or one that allows nothing, or a vector
            environment's reward that is no finite number.
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
    share = [(episodes + lane) // env.num_envs for lane in range(env.num_envs)]
    rewards: list[float] = []
    lengths: list[int] = []
    play, state = Play(env, mask_length(env.single_action_space) if takes_masks(model) else None), None
    play.restart()
    while any(left > 0 for left in share):
        actions, state = predict(model, play.observations, state, play.reset, deterministic, play.masks.current)
        outcome = play.step(actions)
        for end in play.episodes:
            if share[end.lane] > 0:
                reward, length = _noted_episode(outcome.infos, end.lane) or (end.reward, end.length)
                rewards.append(reward)
                lengths.append(length)
            share[end.lane] -= 1
        play.episodes.clear()
    return rewards, lengths


def _noted_episode(info: dict[str, Any], lane: int) -> tuple[float, int] | None:
    """Reward and length as `RecordEpisodeStatistics` notes them, around the vector or inside each lane."""
    for place in (info, info.get("final_info", {})):
        if isinstance(place, dict) and "episode" in place and place.get("_episode", np.ones(lane + 1))[lane]:
            return float(place["episode"]["r"][lane]), int(place["episode"]["l"][lane])
    return None
