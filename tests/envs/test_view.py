"""The text of a turn against the one told cell by cell from minigrid's own observation."""

import gymnasium
import numpy as np
import pytest
from minigrid.minigrid_env import MiniGridEnv

import pyagent.envs as envs
from pyagent.envs.view import observation_text_reference

LEVELS = [
    "GoToLocal",
    "PickupLoc",
    "PutNextLocal",
    "OpenDoor",
    "UnlockLocal",
    "GoTo",
    "BossLevel",
    "PutNextS5N2Carrying",
]


def reference(env):
    return observation_text_reference(MiniGridEnv.gen_obs(env.level))


@pytest.mark.parametrize("level", LEVELS)
def test_text_is_that_of_minigrids_image(level):
    env = envs.make(level)
    generator = np.random.default_rng(0)
    for seed in range(12):
        text, _ = env.reset(seed=seed)
        assert text == reference(env)
        for _ in range(40):
            text, _, terminated, truncated, _ = env.step(
                int(generator.choice(7, p=[0.15, 0.15, 0.4, 0.1, 0.1, 0.1, 0]))
            )
            assert text == reference(env)
            if terminated or truncated:
                break


@pytest.mark.parametrize("level", LEVELS)
def test_same_seed_and_actions_lead_to_the_same_episode_as_in_minigrid(level):
    env = envs.make(level)
    original = gymnasium.make(f"BabyAI-{level}-v0", disable_env_checker=True).unwrapped
    generator = np.random.default_rng(1)
    for seed in range(12):
        text, _ = env.reset(seed=seed)
        original.reset(seed=seed)
        # PutNextCarrying hands the object over after it made its first observation, so that one is made again.
        assert text == observation_text_reference(original.gen_obs())
        assert env.max_steps == original.max_steps
        for _ in range(60):
            action = int(generator.choice(7, p=[0.15, 0.15, 0.4, 0.1, 0.1, 0.1, 0]))
            text, reward, terminated, truncated, _ = env.step(action)
            seen, *outcome, _ = original.step(action)
            assert text == observation_text_reference(seen)
            assert [reward, terminated, truncated] == [outcome[0], outcome[1], outcome[2] and not outcome[1]]
            if terminated or truncated:
                break
