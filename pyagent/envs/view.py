"""What the agent sees, told in words.

The text of one turn is a list of short sentences: the mission, every object in view (nearest first), the nearest wall
straight ahead, to the left and to the right, and what the agent carries. Positions are counted in steps from the agent:
``2 steps forward and 1 step left``. Only what minigrid's 7x7 partial view shows is told; walls and closed doors hide
what is behind them exactly as they do there.

`View` works on bit masks of whole rows and columns instead of minigrid's cell-by-cell loops;
`observation_text_reference` tells the same from minigrid's own observation and is the oracle of the tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from minigrid.core.constants import IDX_TO_COLOR, IDX_TO_OBJECT
from minigrid.core.grid import Grid
from minigrid.core.world_object import WorldObj

FORWARD = 7
"""Rows of the view, the agent's own included: it sees 6 steps ahead."""
SIDE = 3
"""Columns of the view on either side of the agent."""
_ALL = 0b1111111
_AGENT = 1 << SIDE
_MARGIN = FORWARD - 1
_DIGITS = bytes.maketrans(b"\0\1", b"01")
_DOOR_STATES = ("an open", "a closed", "a locked")


def _steps(count: int, direction: str) -> str:
    return f"{count} step{'' if count == 1 else 's'} {direction}"


def _place(forward: int, right: int) -> str:
    side = _steps(abs(right), "right" if right > 0 else "left")
    if not forward:
        return side
    return _steps(forward, "forward") + (f" and {side}" if right else "")


_PLACES = tuple(tuple(_place(forward, right) for right in range(-SIDE, SIDE + 1)) for forward in range(FORWARD))
_WALL = tuple(tuple(f"you see a wall {place} ." for place in row) for row in _PLACES)
_DISTANCES = tuple(tuple(forward + abs(right) for right in range(-SIDE, SIDE + 1)) for forward in range(FORWARD))


def mission_sentence(mission: str) -> str:
    """The mission as the first sentence of a turn: punctuation apart, closed by `` .``"""
    return mission.replace(",", " ,") + " ."


def _name(kind: str, color: str, state: int) -> str:
    article = _DOOR_STATES[state] if kind == "door" else "a"
    return f"{article} {color} {kind}"


def _described(thing: Any) -> str:
    state = 0 if thing.type != "door" or thing.is_open else 2 if thing.is_locked else 1
    return _name(thing.type, thing.color, state)


def _carried(kind: str | None, color: str = "") -> str:
    return f"you carry a {color} {kind} ." if kind else "you carry nothing ."


def _masks(lines: Iterable[bytes]) -> list[int]:
    """One mask of walls for each line of cells, with a margin where everything is wall, as in minigrid's own view."""
    outside = [-1] * _MARGIN
    inside = [int(b"1" * _MARGIN + line[::-1] + b"1" * _MARGIN, 2) | -1 << len(line) + _MARGIN for line in lines]
    return [*outside, *inside, *outside]


class View:
    """The visible part of one level, kept as bit masks of its rows and columns.

    Args:
        grid: the level's grid. Walls are read once; call `refresh` for a cell whose content changed.
    """

    def __init__(self, grid: Grid) -> None:
        width, cells = grid.width, grid.grid
        self._grid = grid
        self._things: dict[tuple[int, int], str] = {}
        walls = bytes([cell is not None and cell.type == "wall" for cell in cells]).translate(_DIGITS)
        # Rows first to last, and in each the cells last to first: the first cell is the lowest bit.
        self._wall_rows = _masks(walls[start : start + width] for start in range(0, len(walls), width))
        self._wall_columns = _masks(walls[x::width] for x in range(width))
        self._opaque_rows = list(self._wall_rows)
        self._opaque_columns = list(self._wall_columns)
        for bit, cell in enumerate(cells):
            if cell is not None and cell.type != "wall":
                y, x = divmod(bit, width)
                self._things[x, y] = _described(cell)
                if not cell.see_behind():
                    self._set_opaque(x, y, True)

    def _set_opaque(self, x: int, y: int, opaque: bool) -> None:
        x += _MARGIN
        y += _MARGIN
        if opaque:
            self._opaque_rows[y] |= 1 << x
            self._opaque_columns[x] |= 1 << y
        else:
            self._opaque_rows[y] &= ~(1 << x)
            self._opaque_columns[x] &= ~(1 << y)

    def refresh(self, x: int, y: int) -> None:
        """Reads the cell (x, y) again after an object was taken, dropped, opened or closed there."""
        cell = self._grid.grid[y * self._grid.width + x]
        if cell is None:
            self._things.pop((x, y), None)
        elif cell.type != "wall":
            self._things[x, y] = _described(cell)
        self._set_opaque(x, y, cell is not None and not cell.see_behind())

    def visible_rows(self, x: int, y: int, direction: int) -> list[int]:
        """The 7 rows of the view from an agent at (x, y) that looks to `direction` (0 right, 1 down, 2 left, 3 up).

        Returns:
            for each number of steps forward a 7-bit mask; bit `k` stands for the cell whose coordinate across the line
            of sight (y for directions 0 and 2, x for 1 and 3) is the agent's plus `k - 3`.
        """
        along, across, lanes = (y, x, self._opaque_rows) if direction & 1 else (x, y, self._opaque_columns)
        step = 1 if direction < 2 else -1
        shift = across + _MARGIN - SIDE
        start = along + _MARGIN
        rows = [0] * FORWARD
        seen = _AGENT
        for forward in range(FORWARD):
            clear = ~(lanes[start + step * forward] >> shift) & _ALL
            # Sight spreads sideways through clear cells until it stops growing, then to the next row.
            while True:
                through = seen & clear
                spread = (through | through << 1 | through >> 1) & _ALL
                grown = seen | spread
                if grown == seen:
                    break
                seen = grown
            rows[forward] = seen
            if not spread:
                break
            seen = spread
        return rows

    def visible_cells(self, x: int, y: int, direction: int) -> Iterator[tuple[int, int]]:
        """The cells of the grid that an agent at (x, y) looking to `direction` sees, its own included."""
        sign = 1 if direction < 2 else -1
        for forward, row in enumerate(self.visible_rows(x, y, direction)):
            for across in range(-SIDE, SIDE + 1):
                if row >> (across + SIDE) & 1:
                    i, j = (across, forward * sign) if direction & 1 else (forward * sign, across)
                    if 0 <= x + i < self._grid.width and 0 <= y + j < self._grid.height:
                        yield x + i, y + j

    def sentences(self, x: int, y: int, direction: int) -> list[str]:
        """The sentences for all that an agent at (x, y) looking to `direction` sees."""
        rows = self.visible_rows(x, y, direction)
        vertical = direction & 1
        sign = 1 if direction < 2 else -1
        right_sign = 1 if direction in (0, 3) else -1
        found = []
        for (i, j), name in self._things.items():
            forward, across = ((j - y) * sign, i - x) if vertical else ((i - x) * sign, j - y)
            if (
                0 <= forward < FORWARD
                and -SIDE <= across <= SIDE
                and rows[forward] >> (across + SIDE) & 1
                and (forward or across)
            ):
                column = across * right_sign + SIDE
                found.append((_DISTANCES[forward][column], forward, column, name))
        found.sort()
        told = [f"you see {name} {_PLACES[forward][column]} ." for _, forward, column, name in found]
        self._tell_walls(told, rows, x, y, direction)
        return told

    def _tell_walls(self, told: list[str], rows: list[int], x: int, y: int, direction: int) -> None:
        along, across, lanes = (y, x, self._wall_rows) if direction & 1 else (x, y, self._wall_columns)
        step = 1 if direction < 2 else -1
        shift = across + _MARGIN - SIDE
        start = along + _MARGIN
        for forward in range(1, FORWARD):
            if rows[forward] & lanes[start + step * forward] >> shift & _AGENT:
                told.append(_WALL[forward][SIDE])
                break
        walls = rows[0] & lanes[start] >> shift
        right_step = 1 if direction in (0, 3) else -1
        for turn in (-right_step, right_step):
            for count in range(1, SIDE + 1):
                if walls >> (SIDE + turn * count) & 1:
                    told.append(_WALL[0][SIDE + turn * right_step * count])
                    break


def observation_text(mission: str, view: View, x: int, y: int, direction: int, carrying: WorldObj | None) -> str:
    """The text of one turn.

    Args:
        mission: the mission sentence, as `mission_sentence` returns it.
        view: the level's view.
        x, y, direction: where the agent stands and looks.
        carrying: what it carries.
    """
    carried = _carried(None) if carrying is None else _carried(carrying.type, carrying.color)
    return " ".join((mission, *view.sentences(x, y, direction), carried))


def observation_text_reference(observation: Mapping[str, Any]) -> str:
    """The same text, cell by cell, from minigrid's own observation: image uint8 [7, 7, 3] and mission."""
    image = observation["image"]
    found, walls = [], {}
    carried = _carried(None)
    for column in range(2 * SIDE + 1):
        for row in range(FORWARD):
            kind_index, color_index, state = (int(value) for value in image[column, row])
            kind, color = IDX_TO_OBJECT[kind_index], IDX_TO_COLOR[color_index]
            forward, right = FORWARD - 1 - row, column - SIDE
            if kind in ("unseen", "empty"):
                continue
            if forward == right == 0:
                carried = _carried(kind, color)
            elif kind == "wall":
                walls[forward, right] = True
            else:
                found.append((forward + abs(right), forward, right, _name(kind, color, state)))
    told = [f"you see {name} {_place(forward, right)} ." for _, forward, right, name in sorted(found)]
    ahead = [(forward, 0) for forward in range(1, FORWARD)]
    left = [(0, -count) for count in range(1, SIDE + 1)]
    right_side = [(0, count) for count in range(1, SIDE + 1)]
    for cells in (ahead, left, right_side):
        nearest = next((cell for cell in cells if cell in walls), None)
        if nearest is not None:
            told.append(f"you see a wall {_place(*nearest)} .")
    return " ".join((mission_sentence(observation["mission"]), *told, carried))
