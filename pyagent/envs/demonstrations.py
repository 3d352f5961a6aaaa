"""Solved episodes of BabyAI's own bot, as text: what supervised fine-tuning learns from."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from itertools import islice
from operator import index

from minigrid.utils.baby_ai_bot import BabyAIBot

from pyagent.envs.babyai import ACTION_WORDS, BabyAIText
from pyagent.envs.games import is_game
from pyagent.envs.seeds import training_seeds
from pyagent.envs.tasks import find_task
from pyagent.envs.worker import Worker

_log = logging.getLogger(__name__)
_CHUNK = 32
"""levels handed to a process at a time"""
Episode = list[tuple[str, str]]
"""one solved episode: (observation text, action word) of every turn"""


class _Bot(BabyAIBot):
    """BabyAI's bot, which notes what it has seen from the text level's view instead of drawing a view of its own."""

    def _process_obs(self) -> None:
        level = self.mission
        for x, y in level.view.visible_cells(*level.agent_pos, level.agent_dir):
            self.vis_mask[x, y] = True


class Demonstrator:
    """Plays levels of one task with the bot.

    Args:
        level: id of one of minigrid's BabyAI levels.
    """

    def __init__(self, level: str) -> None:
        self._env = BabyAIText(level)

    def solve(self, seeds: Sequence[int]) -> list[Episode | None]:
        """The bot's episode on each of these levels; None where it did not solve one."""
        return [self._solve(seed) for seed in seeds]

    def _solve(self, seed: int) -> Episode | None:
        observation, _ = self._env.reset(seed=seed)
        bot = _Bot(self._env.level)
        episode: Episode = []
        while True:
            try:
                action = index(bot.replan())  # pyright: ignore[reportArgumentType]
            except Exception as error:  # the bot gives up with whatever its code happens to run into
                _log.debug("%s, level %d: the bot gave up: %r", self._env.level, seed, error)
                return None
            episode.append((observation, ACTION_WORDS[action]))
            observation, _, terminated, truncated, info = self._env.step(action)
            if terminated or truncated:
                return episode if info["is_success"] else None


def demonstrations(env_id: str, episodes: int, seed: int, *, processes: int = 1) -> list[Episode]:
    """Solved episodes on the levels of ``training_seeds(seed)``, in that order; of a game, different training games.

    Args:
        env_id: an id of `tasks()` or `games()`, or its bare name.
        episodes: how many, ≥ 0.
        seed: which levels.
        processes: worker processes that play at the same time; 1 plays in this one. The result is the same.

    Raises:
        ValueError: there is no such task, `episodes` is negative or `processes` < 1.
        RuntimeError: the bot solves fewer than one level in ten.
    """
    if episodes < 0:
        raise ValueError(f"episodes must be 0 or more, got {episodes}")
    if processes < 1:
        raise ValueError(f"processes must be 1 or more, got {processes}")
    if is_game(env_id):
        from pyagent.envs.gold_paths import gold_demonstrations

        return gold_demonstrations(env_id, episodes, seed)
    level = find_task(env_id).level
    solved: list[Episode] = []
    tried = 0
    with closing(_played(level, seed, processes)) as played:
        while len(solved) < episodes:
            tried += 1
            if tried > 100 + 10 * episodes:
                raise RuntimeError(f"{env_id}: the bot solved only {len(solved)} of {tried - 1} levels")
            episode = next(played)
            if episode is not None:
                solved.append(episode)
    return solved


def prompt_response_pairs(episodes: Iterable[Episode]) -> list[tuple[str, str]]:
    """All turns as (prompt, response): the observation's text and the action word to answer."""
    return [turn for episode in episodes for turn in episode]


def _played(level: str, seed: int, processes: int) -> Generator[Episode | None]:
    """What the bot made of each of the training levels in turn, without end."""
    seeds = iter(training_seeds(seed))
    if processes == 1:
        demonstrator = Demonstrator(level)
        while True:
            yield from demonstrator.solve([next(seeds)])
    with ExitStack() as stack:
        workers = []
        for _ in range(processes):
            workers.append(Worker(f"{__name__}:{Demonstrator.__name__}", level))
            stack.callback(workers[-1].close)
        for worker in workers:
            worker.send("solve", list(islice(seeds, _CHUNK)))
        while True:
            for worker in workers:
                played = worker.receive()
                worker.send("solve", list(islice(seeds, _CHUNK)))
                yield from played
