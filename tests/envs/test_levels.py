"""Our levels against minigrid's own: same seed, same level; same actions, same outcome."""

import gymnasium
import numpy as np
import pytest

import pyagent.envs as envs
from pyagent.envs.view import observation_text_reference


def original_level(task):
    return gymnasium.make(task.level, disable_env_checker=True).unwrapped


def cells(level):
    return [None if cell is None else (*cell.encode(), cell.contains is not None) for cell in level.grid.grid]


@pytest.mark.parametrize("task", envs.tasks(), ids=lambda task: task.id)
def test_same_seeds_make_minigrids_levels(task, capsys):
    env, original = envs.make(task.id), original_level(task)
    for seed in (0, 1, 2, None, None):  # without a seed the generator goes on where it stands
        text, _ = env.reset(seed=seed)
        assert capsys.readouterr().out == ""
        original.reset(seed=seed)
        capsys.readouterr()  # minigrid prints when it draws a level again
        assert cells(env.level) == cells(original)
        assert tuple(env.level.agent_pos) == tuple(original.agent_pos)
        assert (env.level.agent_dir, env.level.mission) == (original.agent_dir, original.mission)
        assert env.max_steps == original.max_steps <= task.max_steps
        assert text == observation_text_reference(original.gen_obs())
        assert env.observation_space.contains(text)


@pytest.mark.parametrize(
    "level", ["GoToLocal", "PickupLoc", "PutNextLocal", "OpenDoor", "GoToSeq", "PutNextS5N2Carrying"]
)
def test_same_actions_lead_to_the_same_outcome(level):
    task = next(task for task in envs.tasks() if task.id == f"pyagent/{level}-v0")
    env, original = envs.make(task.id), original_level(task)
    generator = np.random.default_rng(1)
    for seed in range(10, 18):
        env.reset(seed=seed)
        original.reset(seed=seed)
        for _ in range(50):
            action = int(generator.choice(7, p=[0.15, 0.15, 0.3, 0.15, 0.15, 0.08, 0.02]))
            text, reward, terminated, truncated, _ = env.step(action)
            seen, *outcome, _ = original.step(action)
            assert text == observation_text_reference(seen)
            assert (reward, terminated) == tuple(outcome[:2])
            assert truncated == (outcome[2] and not terminated)
            assert cells(env.level) == cells(original)
            if terminated or truncated:
                break
