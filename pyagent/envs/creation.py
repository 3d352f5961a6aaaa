"""Making one environment, or many that step together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import gymnasium
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from pyagent.envs.babyai import BabyAIText
from pyagent.envs.games import find_game, is_game
from pyagent.envs.seeds import training_seeds
from pyagent.envs.tasks import find_task
from pyagent.envs.vector import TextVectorEnv

if TYPE_CHECKING:
    from pyagent.envs.textworld import Fold, TextWorldGame


def make(env_id: str, seeds: Iterable[int] | None = None, *, render_mode: str | None = None) -> BabyAIText:
    """One text environment.

    Args:
        env_id: an id of `tasks()`, or its bare level name.
        seeds: each `reset()` without a seed takes the next of these; see `training_seeds` and `evaluation_seeds`.
        render_mode: ``"rgb_array"``, ``"human"`` or None.

    Raises:
        ValueError: there is no such task.
    """
    task = find_task(env_id)
    env = BabyAIText(task.level, seeds=seeds, render_mode=render_mode)
    env.spec = gymnasium.spec(task.id)
    return env


def make_vec(
    env_id: str,
    num_envs: int,
    *,
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    workers: int = 0,
) -> VectorEnv[Any, Any, Any]:
    """Many environments of one task that step together: a `TextVectorEnv`, of games a `SyncVectorEnv` on their
    training fold, in one Java process.

    Args:
        env_id: an id of `tasks()` or `games()`, or its bare name.
        num_envs: how many, ≥ 1.
        seed: lane i plays the levels of ``training_seeds(seed, i)``.
        seeds: plays these levels instead: lane i takes ``seeds[i::num_envs]``, again and again.
        autoreset_mode: one of gymnasium's; see `TextVectorEnv`.
        workers: processes that share the environments between them, at most `num_envs`; 0 steps them here, and games
            know no other.

    Raises:
        ValueError: there is no such task, `num_envs` < 1, a wrong `workers`, or `seeds` are fewer than `num_envs`.
    """
    if num_envs < 1:
        raise ValueError(f"num_envs must be 1 or more, got {num_envs}")
    if seeds is not None and len(seeds) < num_envs:
        raise ValueError(f"seeds must name a level for each of the {num_envs} environments, got {len(seeds)}")
    lanes = [training_seeds(seed, lane) if seeds is None else _Cycle(seeds[lane::num_envs]) for lane in range(num_envs)]
    if is_game(env_id):
        if workers:
            raise ValueError(f"workers must be 0 for games, which share one Java process, got {workers}")
        makers = [partial(make_game, env_id, lane) for lane in lanes]
        return SyncVectorEnv(makers, autoreset_mode=AutoresetMode(autoreset_mode))
    return TextVectorEnv(find_task(env_id).level, lanes, autoreset_mode=autoreset_mode, workers=workers)


def make_game(env_id: str, seeds: Iterable[int] | None = None, *, fold: Fold = "train") -> TextWorldGame:
    """One game of TextWorldExpress.

    Args:
        env_id: an id of `games()`, or its bare name.
        seeds: each `reset()` without a seed takes the next of these; see `TextWorldGame`.
        fold: ``"train"``, ``"dev"`` or ``"test"``.

    Raises:
        ModuleNotFoundError: the extra ``textworld`` is not installed.
        ValueError: there is no such game or fold.
    """
    from pyagent.envs.textworld import TextWorldGame

    game = find_game(env_id)
    env = TextWorldGame(game.game, game.params, fold=fold, seeds=seeds)
    env.spec = gymnasium.spec(game.id)
    return env


class _Cycle:
    """The same seeds again and again; every iteration starts from the first."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._seeds = tuple(seeds)

    def __iter__(self) -> Iterator[int]:
        while True:
            yield from self._seeds
