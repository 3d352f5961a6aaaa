"""The text of a turn against the one told cell by cell from minigrid's own observation."""

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Box, Door, Key, Wall
from minigrid.minigrid_env import MiniGridEnv

import pyagent.envs as envs
from pyagent.envs.view import View, mission_sentence, observation_text, observation_text_reference

CELLS = st.sampled_from(
    [
        *[lambda: None] * 8,
        *[Wall] * 3,
        lambda: Ball("red"),
        lambda: Box("grey"),
        lambda: Key("blue"),
        lambda: Door("green"),
        lambda: Door("yellow", is_open=True),
        lambda: Door("purple", is_locked=True),
    ]
)


def original_level(level):
    return gymnasium.make(f"BabyAI-{level}-v0", disable_env_checker=True).unwrapped


@pytest.fixture(scope="module")
def canvas():
    """A level of minigrid whose grid and agent the tests set as they like."""
    env = original_level("GoToObj")
    env.reset(seed=0)
    return env


@settings(max_examples=200)
@given(data=st.data(), width=st.integers(3, 9), height=st.integers(3, 9), direction=st.integers(0, 3))
def test_any_grid_is_told_as_minigrid_shows_it(canvas, data, width, height, direction):
    grid = Grid(width, height)
    grid.grid = [make() for make in data.draw(st.lists(CELLS, min_size=width * height, max_size=width * height))]
    canvas.grid, canvas.agent_dir, canvas.mission = grid, direction, "go to the door, then go to the ball"
    canvas.agent_pos = data.draw(st.tuples(st.integers(0, width - 1), st.integers(0, height - 1)))
    canvas.carrying = data.draw(st.sampled_from([None, Key("red")]))
    view = View(grid)
    expected = observation_text_reference(canvas.gen_obs())
    x, y = canvas.agent_pos
    assert observation_text(mission_sentence(canvas.mission), view, x, y, direction, canvas.carrying) == expected
    _, mask = canvas.gen_obs_grid()
    visible = {(i, j) for i in range(width) for j in range(height) if in_mask(canvas, mask, i, j)}
    assert set(view.visible_cells(x, y, direction)) == visible


def in_mask(env, mask, i, j):
    place = env.relative_coords(i, j)
    return place is not None and bool(mask[place])


@settings(max_examples=100)
@given(data=st.data(), direction=st.integers(0, 3))
def test_a_refreshed_view_is_a_new_one(data, direction):
    grid = Grid(7, 7)
    grid.grid = [make() for make in data.draw(st.lists(CELLS, min_size=49, max_size=49))]
    view = View(grid)
    x, y = data.draw(st.tuples(st.integers(0, 6), st.integers(0, 6)))
    if grid.get(x, y) is None or grid.get(x, y).type != "wall":
        new = data.draw(CELLS.map(lambda make: make()).filter(lambda cell: cell is None or cell.type != "wall"))
        grid.set(x, y, new)
    view.refresh(x, y)
    assert view.sentences(3, 3, direction) == View(grid).sentences(3, 3, direction)


def test_a_turn_reads_as_promised(canvas):
    grid = Grid(9, 9)
    grid.wall_rect(0, 0, 9, 9)
    grid.horz_wall(0, 2)
    grid.set(4, 2, Door("yellow"))
    grid.set(3, 3, Ball("red"))
    grid.set(5, 5, Key("grey"))
    grid.set(4, 1, Box("blue"))  # behind the door
    text = observation_text(mission_sentence("go to the red ball"), View(grid), 4, 5, 3, Box("green"))
    assert text == (
        "go to the red ball . you see a grey key 1 step right . you see a red ball 2 steps forward and 1 step left . "
        "you see a closed yellow door 3 steps forward . you carry a green box ."
    )


def test_the_nearest_walls_are_told(canvas):
    grid = Grid(9, 9)
    grid.wall_rect(0, 0, 9, 9)
    assert View(grid).sentences(1, 5, 3) == ["you see a wall 5 steps forward .", "you see a wall 1 step left ."]
    assert View(grid).sentences(1, 5, 1) == ["you see a wall 3 steps forward .", "you see a wall 1 step right ."]
    assert View(grid).sentences(1, 4, 0) == []


def test_sentences_come_from_a_small_set():
    """What an encoder that reads every distinct sentence once has to read."""
    env = envs.make("GoToLocal")
    sentences = set()
    generator = np.random.default_rng(0)
    for seed in range(60):
        text, _ = env.reset(seed=seed)
        for _ in range(10):
            sentences |= set(text.split(" . "))
            text, _, terminated, truncated, _ = env.step(int(generator.integers(3)))
            if terminated or truncated:
                break
    kinds = 3 * 6 * 48  # ball, box, key; colours; cells of the view
    assert len(sentences) <= kinds + 12 + 7 + 36


@pytest.mark.parametrize(
    "level", ["GoToLocal", "PickupLoc", "PutNextLocal", "OpenDoor", "UnlockLocal", "GoTo", "PutNextS5N2Carrying"]
)
def test_text_follows_minigrids_image_through_episodes(level):
    env = envs.make(level)
    generator = np.random.default_rng(0)
    for seed in range(8):
        text, _ = env.reset(seed=seed)
        assert text == observation_text_reference(MiniGridEnv.gen_obs(env.level))
        for _ in range(30):
            text, _, terminated, truncated, _ = env.step(int(generator.choice(7, p=[0.1, 0.1, 0.3, 0.2, 0.1, 0.2, 0])))
            assert text == observation_text_reference(MiniGridEnv.gen_obs(env.level))
            if terminated or truncated:
                break
