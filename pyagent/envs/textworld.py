"""A game of TextWorldExpress: text with choices in, the number of a choice out."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable, Sequence
from operator import index
from typing import Any, Literal, get_args

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from pyagent.envs.games import MAX_STEPS
from pyagent.envs.java import java_machine
from pyagent.text.choices import with_choices

Fold = Literal["train", "dev", "test"]
MAX_CHOICES = 256
_MAX_LENGTH = 2**15
_WALKS = 10
_CHARACTERS = "".join(chr(code) for code in range(32, 127) if chr(code) not in string.ascii_uppercase) + "\n"
# The package varies these words by where a thing stands in its list.
_SEEN = re.compile(r"(in one part of the room|in another part of the room|there is also|you also see)( you see)?")
_SPACES = re.compile(r"\s+")
_CHANGES = {-1: "the score fell", 0: "the score stayed", 1: "the score rose"}


class ChoiceText(spaces.Text):
    """Texts of which every line but the first is one of at most `max_choices` choices; see `pyagent.text.choices`."""

    def __init__(self, max_length: int, *, max_choices: int, charset: str) -> None:
        super().__init__(max_length, charset=charset)
        self.max_choices = max_choices


class TextWorldGame(gymnasium.Env[str, Any]):
    """A game of TextWorldExpress whose valid commands are the choices of every turn.

    Observation: one line of sentences, each ended by `` .``: the task, the last command, its answer and whether the
    score rose or fell, the room, what is carried; then one line for each valid command, in the order of the alphabet.

    Action: the number of such a line, from 0. Reward: the change of the score, whose maximum is 1. An episode is
    `terminated` by success (score 1) or by the game's own failure, `truncated` after `max_steps`.
    ``info["is_success"]`` tells at an episode's end how it went; ``info["seed"]`` at its start the official seed.

    Args:
        game: the package's name of the game.
        params: the package's parameters, ``numLocations=5,includeDoors=0``; none are its defaults.
        fold: which of the package's sets of 1,000 games is played. Seed s plays the (s mod 1000)-th game of the fold,
            so that the fold's official seeds (train 0…999, dev 10000…10999, test 20000…20999) are themselves.
        seeds: each `reset` without a seed takes the next; with None it draws a game of the fold.
        max_steps: commands of an episode.
        gold_path: makes `gold_path` known for every game.

    Raises:
        ModuleNotFoundError: the extra ``textworld`` is not installed.
        ValueError: no such game, parameter or fold, or `max_steps` < 1.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (gymnasium declares it so)

    def __init__(
        self,
        game: str = "coin",
        params: str = "",
        *,
        fold: Fold = "train",
        seeds: Iterable[int] | None = None,
        max_steps: int = MAX_STEPS,
        gold_path: bool = False,
    ) -> None:
        if fold not in get_args(Fold):
            raise ValueError(f"fold must be one of {', '.join(get_args(Fold))}, got {fold!r}")
        if max_steps < 1:
            raise ValueError(f"max_steps must be 1 or more, got {max_steps}")
        self.action_space = spaces.Discrete(MAX_CHOICES)
        self.observation_space = ChoiceText(_MAX_LENGTH, max_choices=MAX_CHOICES, charset=_CHARACTERS)
        self.max_steps = max_steps
        self.fold: Fold = fold
        self.choices: tuple[str, ...] = ()
        """the valid commands, by their number; empty before the first `reset`"""
        self._commands: dict[str, str] = {}
        self._machine = java_machine()
        self._server = self._machine.game_server()
        names = list(self._server.getGameNames())
        if game not in names:
            raise ValueError(f"game must be one of {', '.join(names)}, got {game!r}")
        complaint = self._server.load(game, params)
        if complaint:
            raise ValueError(f"params {params!r} are not those of {game}: {complaint}")
        self.official_seeds: tuple[int, ...] = _numbers_in(getattr(self._server, f"getSeeds{fold.title()}")())
        self._task = str(self._server.getTaskDescription())
        self._seed_source = seeds
        self._seeds = None if seeds is None else iter(seeds)
        self._with_gold_path = gold_path
        self._gold_path: list[str] = []
        self._score = 0.0
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Starts a game.

        Args:
            seed: which; also starts the named seeds again from their first.
            options: not used.

        Raises:
            RuntimeError: the named seeds are used up.
        """
        super().reset(seed=seed)
        if seed is not None:
            self._seeds = None if self._seed_source is None else iter(self._seed_source)
        elif self._seeds is None:
            seed = int(self.np_random.integers(len(self.official_seeds)))
        else:
            seed = next(self._seeds, None)
            if seed is None:
                raise RuntimeError("seeds: the named seeds are used up; give more of them or an endless stream")
        official = self.official_seeds[seed % len(self.official_seeds)]
        if self._with_gold_path:  # first: some games share their objects with those that the walks play
            # The package's own gold paths are such walks too, from a seed that nobody knows.
            walks = self._machine.gold_paths(self._server.gameGenerator(), official, self.fold, attempts=_WALKS)
            self._gold_path = min(walks, key=len, default=[])
        told = json.loads(self._server.generateNewGameJSON(official, self.fold, False))
        self._task = str(self._server.getTaskDescription())
        self._score, self._steps = float(told["score"]), 0
        return self._observe(told), {"seed": official}

    def step(self, action: int) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Gives the command with this number.

        Raises:
            TypeError: `action` is no integer.
            ValueError: there is no such choice in this turn.
            gymnasium.error.ResetNeeded: no episode was started.
        """
        action = index(action)
        if not self.choices:
            raise ResetNeeded("step() before reset(): start an episode first")
        if not 0 <= action < len(self.choices):
            raise ValueError(f"action must lie in [0, {len(self.choices)}), the choices of this turn, got {action}")
        command = self.choices[action]
        told = json.loads(self._server.stepJSON(self._commands[command]))
        score = float(told["score"])
        reward, self._score = score - self._score, score
        self._steps += 1
        succeeded = score >= 1
        terminated = succeeded or bool(told["tasksuccess"] or told["taskfailure"])
        truncated = self._steps >= self.max_steps and not terminated
        info = {"is_success": succeeded, "score": score} if terminated or truncated else {}
        return self._observe(told, command, reward), reward, terminated, truncated, info

    def gold_path(self) -> list[str]:
        """Commands that solve the game from its start, always the same: the shortest of several walks of the package's
        own agent for it, which looks for things at random; none where it did not solve the game.

        Raises:
            RuntimeError: the environment was made without `gold_path`, or no episode was started.
        """
        if not self._with_gold_path or not self.choices:
            raise RuntimeError("gold_path: known after reset() of an environment made with gold_path=True")
        return list(self._gold_path)

    def close(self) -> None:
        """Nothing: the Java process ends with the last environment that uses it."""

    def _observe(self, told: dict[str, Any], command: str = "", reward: float = 0.0) -> str:
        self._commands = {plain_text(command): command for command in sorted(told["validActions"])}
        self.choices = tuple(sorted(self._commands))
        if len(self.choices) > MAX_CHOICES:
            raise RuntimeError(f"the game offers {len(self.choices)} commands, more than {MAX_CHOICES}")
        parts = [self._task]
        if command:
            parts += [f"you did {command}.", f"{_CHANGES[int(np.sign(reward))]}."]
            if told["observation"] != told["look"]:
                parts.append(told["observation"])
        sentences = [plain_text(sentence) for part in [*parts, told["look"]] for sentence in part.split(".")]
        sentences += [f"you carry {thing}" for thing in _carried(told["inventory"])]
        return with_choices(" ".join(f"{sentence} ." for sentence in sentences if sentence), self.choices)


def plain_text(text: str) -> str:
    """Lower case, single spaces, no words that only vary."""
    return _SPACES.sub(" ", _SEEN.sub("you see", text.lower()).replace("you see you see", "you see")).strip()


def _numbers_in(listed: Any) -> tuple[int, ...]:
    """A list of Java's in one call: reading it like one of Python's takes a call for each element."""
    return tuple(json.loads(listed.toString()))


def _carried(inventory: str) -> Sequence[str]:
    """What the lines below the inventory's heading name."""
    lines = [plain_text(line) for line in inventory.strip().split("\n")[1:]]
    things = [line for line in lines if line and not line.startswith("your inventory is")]
    return things or ["nothing"]
