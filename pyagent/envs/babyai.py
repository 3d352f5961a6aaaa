"""A BabyAI level of minigrid as a text game: text in, one action word a turn out."""

from __future__ import annotations

import string
from collections.abc import Iterable
from operator import index
from typing import Any

import gymnasium
import minigrid  # noqa: F401 (registers the levels)
from gymnasium import spaces
from gymnasium.envs.registration import load_env_creator
from gymnasium.error import ResetNeeded
from minigrid.core.actions import Actions

from pyagent.envs.levels import TextLevel, text_level

ACTION_WORDS: tuple[str, ...] = tuple(action.name for action in Actions)
"""left right forward pickup drop toggle done: the word of every action, by its number."""

_MAX_LENGTH = 4096
_CHARACTERS = string.ascii_lowercase + string.digits + " .,"


def _make_level(level: str, render_mode: str | None) -> TextLevel:
    if not level.startswith("BabyAI-") or level not in gymnasium.registry:
        raise ValueError(f"level {level!r} is not one that minigrid registers (as BabyAI-GoToLocal-v0 is)")
    spec = gymnasium.spec(level)
    level_class = load_env_creator(str(spec.entry_point))
    return text_level(level_class)(render_mode=render_mode, **spec.kwargs)


class BabyAIText(gymnasium.Env[str, Any]):
    """A BabyAI level whose observations are sentences and whose actions are words.

    Observation: one string. Its first sentence is the mission, each further one a fact: the objects in view, nearest
    first, the nearest wall ahead, left and right, and what the agent carries. Every sentence ends with `` .``.

    Actions: ``Discrete(7)``, named by `action_words`. Rewards are BabyAI's: ``1 - 0.9 * steps / max_steps`` for
    success, else 0. Success or failure of the mission is `terminated`; reaching `max_steps` without either is
    `truncated`.
    ``info["is_success"]`` tells at an episode's end how it went; ``info["seed"]`` names a level's seed at its start.

    Args:
        level: id of one of minigrid's BabyAI levels.
        seeds: level seeds; each `reset` without a seed takes the next. With None such a reset draws a level from the
            environment's own generator, as gymnasium has it.
        render_mode: ``"rgb_array"``, ``"human"`` or None.

    Raises:
        ValueError: minigrid has no such level.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array"], "render_fps": 10}  # noqa: RUF012 (gymnasium declares it so)
    action_words = ACTION_WORDS

    def __init__(
        self, level: str = "BabyAI-GoToLocal-v0", *, seeds: Iterable[int] | None = None, render_mode: str | None = None
    ) -> None:
        self.level = _make_level(level, render_mode)
        self.render_mode = render_mode
        self.action_space = spaces.Discrete(len(ACTION_WORDS))
        self.observation_space = spaces.Text(_MAX_LENGTH, charset=_CHARACTERS)
        self._seed_source = seeds
        self._seeds = None if seeds is None else iter(seeds)
        self._started = False

    @property
    def max_steps(self) -> int:
        """Steps after which the running episode is truncated."""
        return self.level.max_steps

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: makes exactly this level and starts the named seeds again from their first (an iterator of seeds
                cannot start again and goes on).
            options: not used.

        Raises:
            RuntimeError: the named seeds are used up.
        """
        if seed is not None:
            self._seeds = None if self._seed_source is None else iter(self._seed_source)
        elif self._seeds is not None:
            seed = next(self._seeds, None)
            if seed is None:
                raise RuntimeError("seeds: the named level seeds are used up; give more of them or an endless stream")
        super().reset(seed=seed)
        self.level.np_random = self.np_random
        self.level.reset()
        self._started = True
        return self.level.text(), {} if seed is None else {"seed": seed}

    def step(self, action: int) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Takes the action with this number, an integer in [0, 7).

        Raises:
            TypeError: `action` is no integer.
            ValueError: `action` lies outside the action space.
            gymnasium.error.ResetNeeded: no episode was started.
        """
        action = index(action)
        if not 0 <= action < len(ACTION_WORDS):
            raise ValueError(f"action must lie in [0, {len(ACTION_WORDS)}), got {action}")
        if not self._started:
            raise ResetNeeded("step() before reset(): start an episode first")
        _, reward, terminated, truncated, _ = self.level.step(action)
        # An episode that reached its end on its last allowed step was not cut short.
        truncated = truncated and not terminated
        info = {"is_success": terminated and reward > 0} if terminated or truncated else {}
        return self.level.text(), float(reward), terminated, truncated, info

    def render(self) -> Any:
        """The whole level as an RGB image (``"rgb_array"``), or shown in a window (``"human"``)."""
        return self.level.render()

    def close(self) -> None:
        self.level.close()
