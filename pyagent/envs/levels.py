"""BabyAI's levels without the work that a text agent never looks at.

`text_level` derives from a level class of minigrid one with the same dynamics: the same seed makes the same level and
the same actions lead to the same rewards and ends. What it leaves out is the image of every step; what it does faster
is the grid's bookkeeping while a level is generated.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import numpy as np
from minigrid.core.grid import Grid
from minigrid.core.roomgrid import RoomGrid
from minigrid.core.world_object import WorldObj
from minigrid.envs.babyai.core.roomgrid_level import RejectSampling, RoomGridLevel
from minigrid.envs.babyai.core.verifier import Instr

from pyagent.envs.view import View, mission_sentence, observation_text

_log = logging.getLogger(__name__)
_STEP = ((1, 0), (0, 1), (-1, 0), (0, -1))
_RIGHT = tuple(np.array((-dy, dx)) for dx, dy in _STEP)
_CHANGING = (3, 4, 5)  # pickup, drop, toggle: the actions that may change the cell in front


class _QuickGrid(Grid):
    """minigrid's grid whose `get` and `set` trust their caller."""

    def get(self, i: int, j: int) -> WorldObj | None:
        return self.grid[j * self.width + i]

    def set(self, i: int, j: int, v: WorldObj | None) -> None:
        self.grid[j * self.width + i] = v


class TextLevel(RoomGridLevel):
    """What `text_level` puts in front of a level class of minigrid."""

    view: View
    mission_text: str
    instrs: Instr

    def reset(self, **kwargs: Any) -> Any:
        result = super().reset(**kwargs)
        self.view = View(self.grid)
        self.mission_text = mission_sentence(self.mission)
        return result

    def step(self, action: Any) -> Any:
        x, y = self.front_pos
        result = super().step(action)
        if action in _CHANGING:
            self.view.refresh(x, y)
        return result

    def text(self) -> str:
        """The text of this turn."""
        x, y = self.agent_pos
        return observation_text(self.mission_text, self.view, int(x), int(y), int(self.agent_dir), self.carrying)

    def gen_obs(self) -> dict[str, Any]:
        """No image: `text` is what is seen. `gen_obs_grid` still makes minigrid's own view."""
        return {}

    @property
    def front_pos(self) -> Any:
        x, y = self.agent_pos
        dx, dy = _STEP[self.agent_dir]
        return (x + dx, y + dy)

    @property
    def right_vec(self) -> Any:
        return _RIGHT[self.agent_dir]

    def _gen_grid(self, width: int, height: int) -> None:
        while True:
            try:
                RoomGrid._gen_grid(self, width, height)
                self.gen_mission()
                self.validate_instrs(self.instrs)
                break
            except (RecursionError, RejectSampling) as error:
                _log.debug("%s: level drawn again: %s", type(self).__name__, error)
        self.surface = self.instrs.surface(self)
        self.mission = self.surface


@cache
def text_level(level_class: type[RoomGridLevel]) -> type[TextLevel]:
    """The text level made from one of minigrid's BabyAI level classes."""
    return type(f"Text{level_class.__name__}", (TextLevel, level_class), {})
