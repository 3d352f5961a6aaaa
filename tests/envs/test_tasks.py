"""The registry of tasks."""

import pytest

import pyagent.envs as envs

MOVABLE = ("ball", "box", "key")


@pytest.mark.parametrize("task", [task for task in envs.tasks() if task.max_steps <= 128], ids=lambda task: task.id)
def test_distractors_are_objects_the_mission_does_not_speak_of(task):
    env = envs.make(task.id)
    env.reset(seed=0)
    things = [cell for cell in env.level.grid.grid if cell is not None and cell.type != "wall"]
    spoken = [getattr(env.level.instrs, name, None) for name in ("desc", "desc_move", "desc_fixed")]
    needed = sum(description is not None for description in spoken)
    assert (len(things) > needed) == task.distractors


def test_descriptions_and_ids_are_distinct():
    tasks = envs.tasks()
    assert len({task.id for task in tasks}) == len({task.description for task in tasks}) == len(tasks)
    assert all(task.id == f"pyagent/{task.level.removeprefix('BabyAI-')}" for task in tasks)
