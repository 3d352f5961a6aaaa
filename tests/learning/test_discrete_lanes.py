"""Observations as numbers, and what a step of many lanes says."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Tuple
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import batch_space

from pyagent.learning.discrete_lanes import DiscreteLanes, StateIndex

SPACES = [
    (Discrete(7), 7),
    (Discrete(7, start=-3), 7),
    (MultiDiscrete([2, 3, 4]), 24),
    (MultiDiscrete([2, 3], start=[5, -1]), 6),
    (MultiDiscrete([[2, 3], [1, 2]]), 12),
    (Tuple([Discrete(32), Discrete(11, start=4), Discrete(2)]), 704),
]


@pytest.mark.parametrize(("space", "size"), SPACES)
def test_every_observation_has_its_number(space, size):
    index = StateIndex(space)
    assert index.size == size
    space.seed(0)
    seen = {}
    for _ in range(40 * size if size < 100 else 3000):
        observation = space.sample()
        assert index.is_one(observation)
        seen.setdefault(str(observation), set()).add(index.of_one(observation))
    numbers = [number for found in seen.values() for number in found]
    assert all(len(found) == 1 for found in seen.values())
    assert len(set(numbers)) == len(numbers)
    assert set(numbers) <= set(range(size))
    if size < 100:
        assert len(numbers) == size


@pytest.mark.parametrize(("space", "size"), SPACES)
def test_a_batch_is_its_observations_one_by_one(space, size):
    index, many = StateIndex(space), batch_space(space, 5)
    many.seed(1)
    batch = many.sample()
    assert not index.is_one(batch)
    each = [tuple(part[lane] for part in batch) if isinstance(batch, tuple) else batch[lane] for lane in range(5)]
    assert index(batch).tolist() == [index.of_one(one) for one in each]


def test_the_last_part_counts_fastest():
    index = StateIndex(MultiDiscrete([2, 3, 4]))
    assert index(np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 2, 3]])).tolist() == [1, 4, 12, 23]


@pytest.mark.parametrize(
    ("space", "batch", "message"),
    [
        (Discrete(3), np.array([0, 3]), "environment 1 gave the observation 3"),
        (Discrete(3), np.array([-1, 3]), "environment 0 gave the observation -1"),
        (Discrete(3), np.array([0.0, np.nan]), "environment 1 gave the observation nan"),
        (MultiDiscrete([2, 2]), np.array([[0, 1], [2, 0]]), r"environment 1 gave the observation \[2 0\]"),
        (Tuple([Discrete(2), Discrete(2)]), (np.array([0, 1]), np.array([-1, 1])), "environment 0"),
    ],
)
def test_an_observation_outside_is_named(space, batch, message):
    with pytest.raises(ValueError, match=message):
        StateIndex(space)(batch)


@pytest.mark.parametrize("space", [Box(0, 1, (2,)), Tuple([Discrete(2), Box(0, 1)])])
def test_other_spaces_are_refused(space):
    with pytest.raises(TypeError, match="env: want Discrete"):
        StateIndex(space)


class Count(gym.Env):
    """Counts from 10·lane + 1 up, and ends after `longest` steps: even lanes terminate, odd ones are cut short."""

    observation_space = Tuple([Discrete(100), Discrete(2)])
    action_space = Discrete(1)

    def __init__(self, lane, longest):
        self.lane, self.longest = lane, longest

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return (10 * self.lane, 0), {}

    def step(self, action):
        self.steps += 1
        over = self.steps == self.longest
        odd = self.lane % 2 == 1
        return (10 * self.lane + self.steps, 1), 1.0, over and not odd, over and odd, {"is_success": not odd}


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_step_says_where_an_episode_ended_and_goes_on_with_the_next(mode):
    lanes = DiscreteLanes(SyncVectorEnv([lambda: Count(0, 2), lambda: Count(1, 3)], autoreset_mode=mode))
    lanes.restart(0)
    steps = [lanes.step(np.zeros(2, np.int64)) for _ in range(6)]
    played = [[], []]
    for step in steps:
        assert (step.terminated <= step.ended).all()
        assert (step.ended <= step.valid).all()
        for lane in np.flatnonzero(step.valid):
            played[lane].append((int(step.state[lane]), int(step.next_state[lane]), bool(step.terminated[lane])))
    for lane, start, longest in ((0, 0, 2), (1, 20, 3)):
        whole = [(start + 2 * n + (n > 0), start + 2 * n + 3, lane == 0 and n == longest - 1) for n in range(longest)]
        assert played[lane] == (whole * 4)[: len(played[lane])]
        expected = 6 - 6 // (longest + 1) if mode is AutoresetMode.NEXT_STEP else 6
        assert len(played[lane]) == expected
    assert set(lanes.episodes) == {
        (2.0, 2, 1.0),
        (3.0, 3, 0.0),
    }
