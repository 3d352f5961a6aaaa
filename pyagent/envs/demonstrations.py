"""Solved episodes of BabyAI's own bot, as text: what supervised fine-tuning learns from."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from operator import index

from minigrid.utils.baby_ai_bot import BabyAIBot

from pyagent.envs.babyai import ACTION_WORDS
from pyagent.envs.creation import make
from pyagent.envs.seeds import training_seeds

_log = logging.getLogger(__name__)
Episode = list[tuple[str, str]]
"""one solved episode: (observation text, action word) of every turn"""


def demonstration(env_id: str, seed: int) -> Episode | None:
    """The bot's episode on the level `seed`; None where it does not solve it."""
    env = make(env_id)
    observation, _ = env.reset(seed=seed)
    bot = BabyAIBot(env.level)
    episode: Episode = []
    while True:
        try:
            action = index(bot.replan())  # pyright: ignore[reportArgumentType]
        except Exception as error:  # the bot gives up on some levels with whatever its code runs into
            _log.debug("%s, level %d: the bot gave up: %r", env_id, seed, error)
            return None
        episode.append((observation, ACTION_WORDS[action]))
        observation, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            return episode if info["is_success"] else None


def demonstrations(env_id: str, episodes: int, seed: int) -> list[Episode]:
    """Solved episodes on the levels of ``training_seeds(seed)``, in that order.

    Args:
        env_id: an id of `tasks()`.
        episodes: how many, ≥ 0.
        seed: which levels.

    Raises:
        ValueError: there is no such task, or `episodes` is negative.
        RuntimeError: the bot solves fewer than one level in ten.
    """
    if episodes < 0:
        raise ValueError(f"episodes must be 0 or more, got {episodes}")
    solved: list[Episode] = []
    if not episodes:
        return solved
    for tried, level_seed in enumerate(training_seeds(seed)):
        if tried >= 100 + 10 * episodes:
            raise RuntimeError(f"{env_id}: the bot solved only {len(solved)} of {tried} levels")
        episode = demonstration(env_id, level_seed)
        if episode is not None:
            solved.append(episode)
            if len(solved) == episodes:
                break
    return solved


def prompt_response_pairs(episodes: Iterable[Episode]) -> list[tuple[str, str]]:
    """All turns as (prompt, response): the observation's text and the action word to answer."""
    return [turn for episode in episodes for turn in episode]
