"""BabyAI's levels without the work that a text agent never looks at.

`text_level` derives from a level class of minigrid one with the same dynamics: the same seed makes the same level, and
the same actions lead to the same rewards and ends. It leaves out the image of every step, and does faster what costs
most while a level is generated: random draws, the search for free cells, walls, and the test that all can be reached.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from minigrid.core.grid import Grid
from minigrid.core.roomgrid import RoomGrid
from minigrid.core.world_object import Wall, WorldObj
from minigrid.envs.babyai.core.roomgrid_level import RejectSampling, RoomGridLevel
from minigrid.envs.babyai.core.verifier import Instr

from pyagent.envs.draws import Draws
from pyagent.envs.instructions import quicken
from pyagent.envs.view import View, mission_sentence, observation_text

_log = logging.getLogger(__name__)
_STEP = ((1, 0), (0, 1), (-1, 0), (0, -1))
_RIGHT = tuple(np.array((-dy, dx)) for dx, dy in _STEP)
_CHANGING = (3, 4, 5)  # pickup, drop, toggle: the actions that may change the cell in front


class _QuickGrid(Grid):
    """minigrid's grid whose `get` and `set` trust their caller and whose walls are one object."""

    _wall = Wall()

    def get(self, i: int, j: int) -> WorldObj | None:
        return self.grid[j * self.width + i]

    def set(self, i: int, j: int, v: WorldObj | None) -> None:
        self.grid[j * self.width + i] = v

    def wall_rect(self, x: int, y: int, w: int, h: int) -> None:
        first = y * self.width + x
        last = first + (h - 1) * self.width
        self.grid[first : first + w] = self.grid[last : last + w] = [self._wall] * w
        for start in (first, first + w - 1):
            self.grid[start : start + h * self.width : self.width] = [self._wall] * h


class TextLevel(RoomGridLevel):
    """What `text_level` puts in front of a level class of minigrid."""

    view: View
    mission_text: str
    instrs: Instr
    draws: Draws

    # The room grid makes a `Grid` of its own at every generation; here it becomes a quick one.
    @property
    def grid(self) -> Grid:
        return self._grid

    @grid.setter
    def grid(self, grid: Grid) -> None:
        self._grid = _QuickGrid(grid.width, grid.height)
        self._grid.grid = grid.grid

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
        return observation_text(self.mission_text, self.view, x, y, self.agent_dir, self.carrying)

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
        self.draws = Draws.of(self.np_random, getattr(self, "draws", None))
        while True:
            try:
                RoomGrid._gen_grid(self, width, height)
                x, y = self.agent_pos
                self.agent_pos = (int(x), int(y))
                self.gen_mission()
                self.validate_instrs(self.instrs)
                break
            except (RecursionError, RejectSampling) as error:
                _log.debug("%s: level drawn again: %s", type(self).__name__, error)
        self.agent_dir = int(self.agent_dir)
        quicken(self.instrs)
        self.surface = self.instrs.surface(self)
        self.mission = self.surface

    def _rand_int(self, low: int, high: int) -> int:
        # A numpy integer as in minigrid: BabyAI compares some with `is`, which Python's small ones would satisfy.
        return np.int64(self.draws.integer(low, high))  # pyright: ignore[reportReturnType]

    def _rand_float(self, low: float, high: float) -> float:
        return self.draws.uniform(low, high)

    def _rand_bool(self) -> bool:
        return self.draws.integer(0, 2) == 0

    def _rand_elem(self, iterable: Iterable[Any]) -> Any:
        elements = iterable if isinstance(iterable, list) else list(iterable)
        return elements[self.draws.integer(0, len(elements))]

    def place_obj(
        self, obj: Any, top: Any = None, size: Any = None, reject_fn: Any = None, max_tries: float = math.inf
    ) -> Any:
        left, upper = (0, 0) if top is None else (max(top[0], 0), max(top[1], 0))
        width, height = (self.grid.width, self.grid.height) if size is None else size
        right, lower = min(left + width, self.grid.width), min(upper + height, self.grid.height)
        draw, cells, columns = self.draws.integer, self.grid.grid, self.grid.width
        tries = 0
        while True:
            if tries > max_tries:
                raise RecursionError("place_obj found no free cell")
            tries += 1
            x = draw(left, right)
            y = draw(upper, lower)
            free = cells[y * columns + x] is None and (x, y) != self.agent_pos
            if free and (reject_fn is None or not reject_fn(self, (x, y))):
                break
        self.grid.set(x, y, obj)
        if obj is not None:
            obj.init_pos = obj.cur_pos = (x, y)
        return (x, y)

    def check_objs_reachable(self, raise_exc: bool = True) -> bool:
        free = things = 0
        for bit, cell in enumerate(self.grid.grid):
            if cell is None:
                free |= 1 << bit
            elif cell.type != "wall":
                things |= 1 << bit
                if cell.type == "door":
                    free |= 1 << bit
        columns = self.grid.width
        x, y = self.agent_pos
        reached, grown = 0, 1 << (y * columns + x)
        # One bit a cell: all of the border is wall, so that a shift never carries a step around an edge.
        while grown != reached:
            reached = grown
            through = reached & free
            grown = reached | through << 1 | through >> 1 | through << columns | through >> columns
        if things & ~reached and raise_exc:
            raise RejectSampling("an object cannot be reached")
        return not things & ~reached


@cache
def text_level(level_class: type[RoomGridLevel]) -> type[TextLevel]:
    """The text level made from one of minigrid's BabyAI level classes."""
    return type(f"Text{level_class.__name__}", (TextLevel, level_class), {})
