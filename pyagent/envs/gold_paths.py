"""Demonstrations of text games: the games' own solutions, and how to go on after mistakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from pyagent.envs.games import find_game
from pyagent.envs.textworld import TextWorldGame, plain_text
from pyagent.text.choices import split_choices


def gold_demonstrations(
    env_id: str,
    episodes: int,
    seed: int,
    *,
    wrap: Callable[[gymnasium.Env[str, Any]], gymnasium.Env[str, Any]] | None = None,
    copies: int = 1,
    detours: float = 0.0,
) -> list[list[tuple[str, str]]]:
    """The games' own solutions on training games: (observation, command) of every turn.

    Args:
        env_id: an id of `games()`, or its bare name.
        episodes: how many games, 0…1000: all different.
        seed: which, in what order, and with which detours.
        wrap: puts wrappers around the game; observations and commands are as they tell them.
        copies: of each game's solution, one after the other, each with detours of its own.
        detours: how probable it is, in [0, 1), that something carried is put where it does not belong before the next
            command. That turn is left out, and the demonstration goes on by taking the thing back: so an agent learns
            what to do after a mistake, but not to make one (Laskey et al. 2017, https://arxiv.org/abs/1703.09327,
            inject noise into a teacher's actions to the same end).

    Raises:
        ValueError: no such game, or a number out of range.
    """
    game = find_game(env_id)
    env = TextWorldGame(game.game, game.params, gold_path=True)
    if not 0 <= episodes <= len(env.official_seeds):
        raise ValueError(f"episodes must lie in [0, {len(env.official_seeds)}], got {episodes}")
    if copies < 1 or not 0 <= detours < 1:
        raise ValueError(f"copies and detours must be 1 or more and lie in [0, 1), got {copies} and {detours}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(env.official_seeds))
    wrapped = env if wrap is None else wrap(env)
    solved: list[list[tuple[str, str]]] = []
    games = 0
    for number in order.tolist():
        if games == episodes:
            break
        found = [_solve(env, wrapped, number, detours, rng) for _ in range(copies)]
        solved += [turns for turns in found if turns]
        games += any(found)
    return solved


def _solve(
    game: TextWorldGame, env: gymnasium.Env[str, Any], seed: int, detours: float, rng: np.random.Generator
) -> list[tuple[str, str]] | None:
    """The solution of one game; None where it asks for a command that the game does not offer."""
    played = _Played(game, env, seed)
    path = [plain_text(command) for command in game.gold_path()]
    for command in path:
        for _ in range(rng.geometric(1 - detours) - 1):
            played.misplace(path, rng)
        played.give(command)
    return played.turns if played.succeeded else None


class _Played:
    """The turns of one game as its wrapped environment tells them."""

    def __init__(self, game: TextWorldGame, env: gymnasium.Env[str, Any], seed: int) -> None:
        self.game, self.env = game, env
        self.text, _ = env.reset(seed=seed)
        self.turns: list[tuple[str, str]] = []
        self.over = self.succeeded = False
        self._misplaced: set[str] = set()

    def give(self, command: str, *, shown: bool = True) -> float:
        """Plays a command, unless the game is over, as it is too when it does not offer this one; the reward."""
        self.over = self.over or command not in self.game.choices
        if self.over:
            return 0.0
        number = self.game.choices.index(command)
        if shown:
            self.turns.append((self.text, split_choices(self.text)[1][number]))
        self.text, reward, terminated, truncated, info = self.env.step(number)
        self.over, self.succeeded = terminated or truncated, info.get("is_success", False)
        return float(reward)

    def misplace(self, path: Sequence[str], rng: np.random.Generator) -> None:
        """Puts something where it was not yet and where the gold path does not put it, and takes it back."""
        wrong = [one for one in self.game.choices if one.startswith("put ") and one not in {*path, *self._misplaced}]
        if not wrong:
            return
        command = wrong[rng.integers(len(wrong))]
        self._misplaced.add(command)
        if self.give(command, shown=False) > 0:
            self.over, self.succeeded = True, False  # a second right place: no mistake to mend
        self.give(f"take {command.removeprefix('put ').split(' in ')[0]}")
