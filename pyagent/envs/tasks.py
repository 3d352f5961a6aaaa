"""The levels that are registered, and what they ask for."""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium

NAMESPACE = "pyagent"


@dataclass(frozen=True)
class Task:
    """One registered level."""

    id: str
    """gymnasium id, ``pyagent/<Level>-v0``"""
    description: str
    """what the mission asks for"""
    distractors: bool
    """whether objects stand about that the mission does not speak of"""
    max_steps: int
    """steps after which an episode is truncated (the longest, where it depends on the mission)"""
    level: str
    """id of the minigrid level behind it"""


def _task(name: str, description: str, distractors: bool, max_steps: int) -> Task:
    return Task(f"{NAMESPACE}/{name}-v0", description, distractors, max_steps, f"BabyAI-{name}-v0")


_TASKS = (
    _task("GoToRedBallNoDists", "go to the red ball, alone in a room", False, 64),
    _task("GoToRedBallGrey", "go to the red ball among grey objects", True, 64),
    _task("GoToRedBall", "go to the red ball among other objects", True, 64),
    _task("GoToObj", "go to the only object of a room", False, 64),
    _task("GoToLocal", "go to the named object among others", True, 64),
    _task("GoToLocalS5N2", "go to the named one of two objects in a small room", True, 25),
    _task("GoToLocalS8N4", "go to the named one of four objects", True, 64),
    _task("GoToRedBlueBall", "go to the red ball or to the blue ball, as told", True, 64),
    _task("GoToDoor", "go to the door of the named colour", True, 441),
    _task("GoToObjDoor", "go to the named object or door", True, 576),
    _task("GoToObjMaze", "go to the only object of nine rooms", False, 576),
    _task("GoTo", "go to the named object somewhere in nine rooms", True, 576),
    _task("GoToSeq", "go to up to four objects of nine rooms in the order told", True, 2304),
    _task("OpenRedDoor", "open the red door", False, 50),
    _task("OpenDoor", "open the named door of four", True, 576),
    _task("OpenDoorLoc", "open a door named by colour or by where it is", True, 576),
    _task("Open", "open a door somewhere in nine rooms", True, 576),
    _task("PickupLoc", "pick up an object named by colour, kind or where it is", True, 64),
    _task("PickupDist", "pick up an object named by colour or kind", True, 49),
    _task("Pickup", "pick up an object somewhere in nine rooms", True, 576),
    _task("UnblockPickup", "pick up an object; objects may block the way", True, 576),
    _task("PutNextLocal", "put one object next to another", True, 128),
    _task("PutNextLocalS5N3", "put one object next to another in a small room", True, 50),
    _task("PutNextS5N2Carrying", "put the carried object next to another", True, 200),
    _task("UnlockLocal", "open the locked door with its key", False, 576),
    _task("Unlock", "open the locked door with the right key, in nine rooms", True, 576),
    _task("SynthLoc", "one of all of these actions, in nine rooms", True, 1152),
    _task("BossLevel", "up to four of all of these actions in the order told", True, 4608),
)


def tasks() -> tuple[Task, ...]:
    """All registered levels, easier kinds first within each kind of mission."""
    return _TASKS


def find_task(env_id: str) -> Task:
    """The task of a gymnasium id; the bare level name (``GoToLocal``) is understood too.

    Raises:
        ValueError: no such task.
    """
    for task in _TASKS:
        if env_id in (task.id, task.id.removeprefix(f"{NAMESPACE}/").removesuffix("-v0")):
            return task
    raise ValueError(f"env_id {env_id!r} is none of the tasks: {', '.join(task.id for task in _TASKS)}")


def register_tasks() -> None:
    """Registers every task with gymnasium; those already there are left alone."""
    for task in _TASKS:
        if task.id not in gymnasium.registry:
            gymnasium.register(id=task.id, entry_point="pyagent.envs.babyai:BabyAIText", kwargs={"level": task.level})
