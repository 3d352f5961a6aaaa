"""Several vector environments as one."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from pyagent.agents.action_masks import ActionMasks
from pyagent.envs import make_vec
from pyagent.learning.mixed_env import MixedVectorEnv


def test_lanes_are_those_of_the_parts():
    def parts():
        return [make_vec("GoToObj", 2, seed=0), make_vec("GoToLocal", 3, seed=1)]

    mixed, apart = MixedVectorEnv(parts()), parts()
    observations, _ = mixed.reset()
    assert observations == tuple(text for env in apart for text in env.reset()[0])
    assert mixed.action_words == apart[0].action_words
    rng = np.random.default_rng(0)
    told = 0
    for _ in range(150):
        actions = rng.integers(3, size=5)
        got = mixed.step(actions)
        want = [apart[0].step(actions[:2]), apart[1].step(actions[2:])]
        assert got[0] == want[0][0] + want[1][0]
        for field in (1, 2, 3):
            assert got[field].tolist() == [*want[0][field], *want[1][field]]
        for part, lanes in ((0, slice(0, 2)), (1, slice(2, 5))):
            for key in ("is_success", "_is_success"):
                if key in want[part][4]:
                    told += 1
                    assert got[4][key][lanes].tolist() == want[part][4][key].tolist()
    assert told


def test_masked_resets_reach_only_marked_lanes():
    mixed = MixedVectorEnv([make_vec(name, 2, seed=0, autoreset_mode="Disabled") for name in ("GoToObj", "GoToLocal")])
    before, _ = mixed.reset()
    after, _ = mixed.reset(options={"reset_mask": np.array([False, True, False, False])})
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True, True]


class Masked(gym.Env):
    """Allows one of its three actions, and observes which."""

    observation_space = gym.spaces.Discrete(3)
    action_space = gym.spaces.Discrete(3)

    def __init__(self, first):
        self.allowed = first

    def action_masks(self):
        return np.arange(3) == self.allowed

    def reset(self, *, seed=None, options=None):
        return self.allowed, {}

    def step(self, action):
        self.allowed = (self.allowed + 1) % 3
        return self.allowed, 0.0, False, False, {}


def test_numbers_and_masks_of_the_parts_stand_side_by_side():
    mixed = MixedVectorEnv(
        [SyncVectorEnv([lambda first=first: Masked(first) for first in part]) for part in ((0, 1), (2,))]
    )
    masks = ActionMasks(mixed, 3)
    observations, infos = mixed.reset()
    masks.begin(infos)
    for _ in range(4):
        assert isinstance(observations, np.ndarray)
        assert masks.current is not None
        assert masks.current.argmax(1).tolist() == observations.tolist()
        assert (masks.current.sum(1) == 1).all()
        observations, *_, infos = mixed.step(observations)
        masks.step(infos)
    assert observations.tolist() == [1, 2, 0]


def test_parts_must_fit_together(recall_env):
    with pytest.raises(ValueError, match="envs"):
        MixedVectorEnv([])
    with pytest.raises(ValueError, match="action space"):
        MixedVectorEnv([make_vec("GoToObj", 1), recall_env(1)])
    with pytest.raises(ValueError, match="observation space"):
        MixedVectorEnv([SyncVectorEnv([lambda: Masked(0)]), gym.make_vec("MountainCar-v0", 1)])
    with pytest.raises(ValueError, match="autoreset"):
        MixedVectorEnv([make_vec("GoToObj", 1), make_vec("GoToObj", 1, autoreset_mode="SameStep")])
    assert isinstance(recall_env(1), SyncVectorEnv)
