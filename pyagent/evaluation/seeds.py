"""One episode for each named seed, so that two agents can be compared on the very same episodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from pyagent.evaluation.lanes import Lanes
from pyagent.evaluation.predictor import Predictor, acting, predict, takes_masks
from pyagent.evaluation.statistics import EpisodeStatistics


class RandomPolicy:
    """Chooses each action uniformly from a discrete action space.

    Args:
        action_space: `Discrete(n)`.
        seed: seed of the choices.

    Raises:
        TypeError: the action space is not discrete.
    """

    def __init__(self, action_space: gym.Space[Any], seed: int = 0) -> None:
        if not isinstance(action_space, gym.spaces.Discrete):
            raise TypeError(f"action_space: want gymnasium.spaces.Discrete, got {action_space}")
        self._space = action_space
        self._rng = np.random.default_rng(seed)

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Random actions int64 [B], one for each observation of the batch; there is no memory."""
        del deterministic
        size = len(observation) if episode_start is None else len(episode_start)
        start, count = int(self._space.start), int(self._space.n)
        return self._rng.integers(start, start + count, size=size), state


def evaluate_seeds(
    model: Predictor,
    env: str | Callable[[], gym.Env[Any, Any]],
    seeds: Sequence[int],
    *,
    num_envs: int = 64,
    deterministic: bool = True,
    on_episode: Callable[[int], None] | None = None,
) -> EpisodeStatistics:
    """Play one episode a seed, `num_envs` at a time, and return what came of each, in the order of `seeds`.

    A lane whose episode ended takes the next seed; every episode is played to its end, so that short episodes
    weigh as much as long ones.

    Args:
        model: anything with Stable-Baselines3's `predict`; called with the batch of all lanes, its state carried
            along, `episode_start` marking the lanes that begin, and with the action masks that the environments tell
            if it takes any.
        env: a gymnasium id, or a function that makes one plain environment.
        seeds: distinct seeds, each handed to `env.reset(seed=…)`.
        deterministic: passed on to `predict`.
        on_episode: called with the number of finished episodes whenever one ends.

    Raises:
        ValueError: no seeds, negative or repeated seeds, `num_envs` below 1, or an action mask of another length or one
            that allows nothing.
    """
    names = _checked_seeds(seeds)
    if num_envs < 1:
        raise ValueError(f"num_envs: want at least 1, got {num_envs}")
    lanes = Lanes([_make(env) for _ in range(min(num_envs, len(names)))])
    try:
        with acting(model):
            return _play(model, lanes, names, deterministic, on_episode)
    finally:
        for one in lanes.envs:
            one.close()


def _play(
    model: Predictor,
    lanes: Lanes,
    seeds: list[int],
    deterministic: bool,
    on_episode: Callable[[int], None] | None,
) -> EpisodeStatistics:
    rewards, lengths = np.zeros(len(seeds)), np.zeros(len(seeds), dtype=np.int64)
    successes: list[bool | None] = [None] * len(seeds)
    episode_of = dict(enumerate(range(len(lanes))))  # lane → index of the seed it plays; idle lanes are absent
    for lane, index in episode_of.items():
        lanes.reset(lane, seeds[index])
    started, finished, state = len(lanes), 0, None
    episode_start = np.ones(len(lanes), dtype=np.bool_)
    masked = takes_masks(model)
    while episode_of:
        masks = lanes.action_masks(episode_of) if masked else None
        actions, state = predict(model, lanes.observations(), state, episode_start, deterministic, masks)
        episode_start = np.zeros(len(lanes), dtype=np.bool_)
        for lane, (reward, over, info) in lanes.step(actions, list(episode_of)).items():
            index = episode_of[lane]
            rewards[index] += reward
            lengths[index] += 1
            if not over:
                continue
            successes[index] = None if info.get("is_success") is None else bool(info["is_success"])
            finished += 1
            if on_episode is not None:
                on_episode(finished)
            if started < len(seeds):
                episode_of[lane] = started
                lanes.reset(lane, seeds[started])
                episode_start[lane] = True
                started += 1
            else:
                del episode_of[lane]
    known = None if None in successes else np.array(successes, dtype=np.bool_)
    return EpisodeStatistics(np.array(seeds, dtype=np.int64), rewards, lengths, known)


def _make(env: str | Callable[[], gym.Env[Any, Any]]) -> gym.Env[Any, Any]:
    if not isinstance(env, str):
        return env()
    if env.startswith("pyagent/"):
        import pyagent.envs  # noqa: F401  (registers the ids)
    return gym.make(env, disable_env_checker=True)


def _checked_seeds(seeds: Sequence[int]) -> list[int]:
    names = [int(seed) for seed in seeds]
    if not names:
        raise ValueError("seeds: want at least one, got none")
    if min(names) < 0 or len(set(names)) != len(names):
        raise ValueError(f"seeds: want distinct seeds >= 0, got {len(names)} of which {len(set(names))} distinct")
    return names
