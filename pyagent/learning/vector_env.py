"""From what a learner is given (an id, an environment, a vector environment) to a vector environment and an agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import SyncVectorEnv, VectorEnv

from pyagent.agents import Agent, ChoosingAgent, LanguageAgent
from pyagent.learning.mixed_env import MixedVectorEnv
from pyagent.learning.seeding import torch_seed
from pyagent.text import Tokenizer
from pyagent.text.choices import split_choices


def vector_env(env: Any, num_envs: int, seed: int) -> VectorEnv[Any, Any, Any]:
    """The vector environment that a learner plays.

    Args:
        env: a gymnasium id (our tasks among them), several such ids (lanes in equal parts), an
            environment (one lane), or a vector environment.
        num_envs: lanes to make of an id.
        seed: which levels the lanes of our own tasks play.

    Raises:
        ValueError: no such environment, or `num_envs` cannot be divided among several.
        TypeError: `env` is none of these.
    """
    if isinstance(env, VectorEnv):
        made = env
    elif isinstance(env, gym.Env):
        made = SyncVectorEnv([lambda: env])
    elif is_id(env):
        ids = [env] if isinstance(env, str) else env
        if num_envs % len(ids):
            raise ValueError(f"num_envs: want a multiple of the {len(ids)} environments, got {num_envs}")
        parts = [_of_id(one, num_envs // len(ids), seed + number) for number, one in enumerate(ids)]
        made = parts[0] if len(parts) == 1 else MixedVectorEnv(parts)
    else:
        raise TypeError(f"env: want an environment's id, an environment or a vector one, got {type(env).__name__}")
    return made


def is_id(env: Any) -> bool:
    """Whether `env` names environments, so that they can be made anew."""
    return isinstance(env, str) or (
        isinstance(env, (list, tuple)) and bool(env) and all(isinstance(one, str) for one in env)
    )


def reset_seed(env: Any, place: int) -> int | None:
    """The seed for the first reset at a place of a run: None for our own tasks, made with one by `vector_env`."""
    if is_id(env) and all(_is_task(one) for one in ([env] if isinstance(env, str) else env)):
        return None
    # Below 2^29: a text environment takes the seed as a level's, and those of evaluation start at 2^30.
    return place % 2**29


def _is_task(env_id: str) -> bool:
    from pyagent.envs import games, tasks

    ours = {name for task in tasks() for name in (task.id, task.level)} | {game.id for game in games()}
    return env_id in ours or env_id not in gym.registry


def _of_id(env_id: str, num_envs: int, seed: int) -> VectorEnv[Any, Any, Any]:
    from pyagent.envs import make_vec

    if _is_task(env_id):
        return make_vec(env_id, num_envs, seed=seed)
    return gym.make_vec(env_id, num_envs, vectorization_mode="sync")


def new_agent(env: VectorEnv[Any, Any, Any], seed: int, **sizes: Any) -> Agent:
    """An untrained agent for an environment: a `LanguageAgent` for text, an `Agent` for other observations.

    Args:
        env: with text observations and discrete actions, or what an `Agent` reads.
        seed: of the weights.
        sizes: keywords of the agent; `net_arch` and `normalize` are not for texts.
    """
    if isinstance(env.single_observation_space, gym.spaces.Text):
        own = {name: size for name, size in sizes.items() if name not in ("net_arch", "normalize")}
        return new_language_agent(env, seed, **own)
    with torch_seed(seed):
        return Agent(env.single_observation_space, env.single_action_space, **sizes)


def new_language_agent(
    env: VectorEnv[Any, Any, Any], seed: int, texts: Sequence[str] = (), **sizes: Any
) -> LanguageAgent:
    """An untrained agent for text, its words learned from `texts` and from random play.

    Args:
        env: with text observations.
        seed: of the weights and the play.
        texts: what the vocabulary is learned from; random play where there are none.
        sizes: keywords of `LanguageAgent`, or of `ChoosingAgent` where the texts end with choices.

    Raises:
        TypeError: the environment has no text observations or no discrete actions.
    """
    if not isinstance(env.single_observation_space, gym.spaces.Text):
        raise TypeError(f"env: a language agent reads text observations, got {env.single_observation_space}")
    if not isinstance(env.single_action_space, gym.spaces.Discrete):
        raise TypeError(f"env: a language agent has discrete actions, got {env.single_action_space}")
    tokenizer = new_tokenizer(env, seed, texts)
    with torch_seed(seed):
        if _chooses(env):
            return ChoosingAgent(tokenizer, **sizes)
        return LanguageAgent(tokenizer, action_words(env), **sizes)


def new_tokenizer(env: VectorEnv[Any, Any, Any], seed: int, texts: Sequence[str] = ()) -> Tokenizer:
    """A vocabulary of `texts`, or of random play where there are none, and of the words for actions."""
    words = () if _chooses(env) else action_words(env)
    return Tokenizer.train(texts or _random_play(env, seed), words=words)


def action_words(env: Any) -> tuple[str, ...]:
    """The environment's `action_words`, or action0 action1 … where it has none."""
    words = getattr(env, "action_words", None)
    return tuple(words) if words else tuple(f"action{number}" for number in range(int(env.single_action_space.n)))


def _chooses(env: Any) -> bool:
    """Whether the texts end with the choices that the actions number."""
    return bool(getattr(env.single_observation_space, "max_choices", 0))


def _random_play(env: VectorEnv[Any, Any, Any], seed: int, steps: int = 2000) -> list[str]:
    rng = np.random.default_rng(seed)
    observations, _ = env.reset(seed=seed)
    texts = list(observations)
    actions = len(action_words(env))
    for _ in range(-(-steps // env.num_envs)):
        if _chooses(env):
            actions = [len(split_choices(text)[1]) or 1 for text in observations]
        observations, *_ = env.step(rng.integers(actions, size=env.num_envs))
        texts.extend(observations)
    return texts
