"""BabyAI's instructions with the same meaning and less work: lists and tuples instead of arrays and cell loops."""

from __future__ import annotations

from typing import Any, Literal

from minigrid.envs.babyai.core.verifier import ActionInstr, GoToInstr, Instr, ObjDesc, SeqInstr

_AHEAD = ((1, 0), (0, 1), (-1, 0), (0, -1))


class _QuickDescription(ObjDesc):
    """An object description that finds what it speaks of in one pass over the grid's list of cells."""

    def find_matching_objs(self, env: Any, use_location: bool = True) -> tuple[list[Any], list[tuple[int, int]]]:
        env = env.unwrapped
        width, kind, color = env.grid.width, self.type, self.color
        found = [
            (bit % width, bit // width, cell)
            for bit, cell in enumerate(env.grid.grid)
            if cell is not None and (kind is None or cell.type == kind) and (color is None or cell.color == color)
        ]
        found.sort(key=lambda item: item[:2])  # column by column: the order of minigrid's results
        if not use_location:
            tracked = {id(thing) for thing in self.obj_set}
            found = [item for item in found if id(item[2]) in tracked]
        else:
            if self.loc is not None:
                found = [item for item in found if _lies(self.loc, item[0], item[1], env)]
            self.obj_set = [cell for _, _, cell in found]
        self.obj_poss = [(x, y) for x, y, _ in found]
        return self.obj_set, self.obj_poss


def _lies(location: str, x: int, y: int, env: Any) -> bool:
    """Whether a cell of the agent's room lies to the left, right, front or behind of the agent."""
    if not env.room_from_pos(*env.agent_pos).pos_inside(x, y):
        return False
    dx, dy = x - env.agent_pos[0], y - env.agent_pos[1]
    ahead_x, ahead_y = _AHEAD[env.agent_dir]
    if location in ("front", "behind"):
        forward = dx * ahead_x + dy * ahead_y
        return forward > 0 if location == "front" else forward < 0
    right = dy * ahead_x - dx * ahead_y
    return right > 0 if location == "right" else right < 0


class _QuickGoTo(GoToInstr):
    """Go next to an object and look at it."""

    def verify_action(self, action: Any) -> Literal["success", "continue"]:
        return "success" if self.env.front_pos in self.desc.obj_poss else "continue"


def quicken(instruction: Instr) -> None:
    """Gives an instruction and its object descriptions the quick methods, whatever they have found so far."""
    if isinstance(instruction, SeqInstr):
        quicken(instruction.instr_a)
        quicken(instruction.instr_b)
        return
    if type(instruction) is GoToInstr:
        instruction.__class__ = _QuickGoTo
    if isinstance(instruction, ActionInstr):
        for name in ("desc", "desc_move", "desc_fixed"):
            description = getattr(instruction, name, None)
            if type(description) is ObjDesc:
                description.__class__ = _QuickDescription
