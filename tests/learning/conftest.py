"""A text environment that needs memory, and small agents for it."""

import gymnasium as gym
import pytest
from gymnasium.vector import SyncVectorEnv

from pyagent.text import Tokenizer


class Recall(gym.Env):
    """Is told a word, then asked for it; pays 1 for the right answer."""

    action_words = ("left", "right")
    action_space = gym.spaces.Discrete(2)
    observation_space = gym.spaces.Text(64, charset="abcdefghijklmnopqrstuvwxyz .")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.word, self.asked = int(self.np_random.integers(2)), False
        return f"remember the word . it is {self.action_words[self.word]} .", {}

    def step(self, action):
        right = self.asked and action == self.word
        over, self.asked = self.asked, True
        info = {"is_success": right} if over else {}
        return "which word was it .", float(right), over, False, info


@pytest.fixture
def recall_env():
    def make(lanes=8):
        env = SyncVectorEnv([Recall] * lanes)
        env.action_words = Recall.action_words
        return env

    return make


@pytest.fixture
def recall_episodes():
    def make(count):
        words = [Recall.action_words[number % 2] for number in range(count)]
        return [[(f"remember the word . it is {w} .", "left"), ("which word was it .", w)] for w in words]

    return make


WORDS = "a b c d e f"


@pytest.fixture
def words_tokenizer():
    """Knows the words a to f."""
    return Tokenizer.train([WORDS])


@pytest.fixture
def logged_episodes():
    """(rng, count) → that many logged episodes of random words a to f, prompts and responses of 0…4 words; one in
    three is cut short."""

    def make(rng, count):
        def text():
            return " ".join(rng.choice(WORDS.split(), rng.integers(5)))

        episodes = []
        for number in range(count):
            episode = [(text(), text(), float(rng.normal())) for _ in range(rng.integers(1, 4))]
            episodes.append(episode + [(text(), None, 0.0)] * (number % 3 == 2))
        return episodes

    return make
