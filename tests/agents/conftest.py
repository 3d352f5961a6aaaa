"""Small text environments and agents."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from pyagent.agents import LanguageAgent, Understanding
from pyagent.text import Tokenizer

WORDS = ("left", "right", "forward")
TEXTS = (
    "go to the red ball . you see a red ball 2 steps forward . you see a blue key 1 step left . you carry nothing .",
    "go to the blue key . you see a red ball 2 steps forward . you carry nothing .",
    "go to the blue key .",
    "go to the red ball . you see a wall 1 step right . you see a blue key 1 step left . you carry a red ball .",
)


class Count(gym.Env):
    """Tells how many steps were taken; pays step numbers; ends after `length` steps, by truncation or termination."""

    action_words = WORDS
    action_space = gym.spaces.Discrete(3)
    observation_space = gym.spaces.Text(64, charset="abcdefghijklmnopqrstuvwxyz0123456789 .")

    def __init__(self, length=3, truncates=True):
        self.length, self.truncates, self.steps, self.episode = length, truncates, 0, 0

    def text(self):
        return f"go to the ball . you see a ball {self.steps} steps forward . you carry nothing ."

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.episode = 0, self.episode + 1
        return self.text(), {}

    def step(self, action):
        self.steps += 1
        over = self.steps == self.length
        info = {"is_success": not self.truncates} if over else {}
        return self.text(), float(self.steps), over and not self.truncates, over and self.truncates, info


@pytest.fixture
def texts():
    return TEXTS


@pytest.fixture
def tokenizer():
    return Tokenizer.train([*TEXTS, "0 1 2 3 4 5 6"], words=WORDS)


@pytest.fixture
def agent(tokenizer):
    torch.manual_seed(0)
    understanding = Understanding(tokenizer, 12, embedding_dim=6, hidden_size=8, num_heads=2)
    return LanguageAgent(tokenizer, WORDS, hidden_size=10, understanding=understanding)


@pytest.fixture
def count_envs():
    def make(mode=AutoresetMode.NEXT_STEP, lengths=(3, 4), truncates=True):
        makers = [lambda length=length: Count(length, truncates) for length in lengths]
        return SyncVectorEnv(makers, autoreset_mode=mode)

    return make


@pytest.fixture
def rng():
    return np.random.default_rng(0)
