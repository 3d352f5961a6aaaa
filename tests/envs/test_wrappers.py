"""Wrappers of environments of texts."""

import gymnasium as gym
import numpy as np

from pyagent.envs.wrappers import MarkTriedChoices, RenameUnknownWords
from pyagent.text.choices import with_choices
from pyagent.text.unknown_words import UnknownWords


class Rooms(gym.Env):
    """Two rooms, a door between them, and a vase in the first."""

    action_space = gym.spaces.Discrete(2)
    observation_space = gym.spaces.Text(100, charset="abcdefghijklmnopqrstuvwxyz0123456789 .\n")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.room = 0
        return self.text(), {}

    def step(self, action):
        self.room ^= int(action)
        return self.text(), 0.0, False, False, {}

    def text(self):
        return with_choices(f"you are in the {('hall', 'den')[self.room]} .", ["take vase", "move on"])


def choices(text):
    return text.split("\n")[1:]


def test_tried_choices_are_marked_room_by_room():
    env = MarkTriedChoices(Rooms())
    assert choices(env.reset()[0]) == ["take vase", "move on"]
    assert choices(env.step(np.int64(1))[0]) == ["take vase", "move on"]
    assert choices(env.step(1)[0]) == ["take vase", "move on again"]
    assert choices(env.step(0)[0]) == ["take vase again", "move on again"]
    assert choices(env.reset()[0]) == ["take vase", "move on"]


def test_marks_and_names_of_unknown_words_go_together():
    known = dict.fromkeys(("you", "are", "in", "the", "hall", "take", "move", "on", "again"), 1)
    env = RenameUnknownWords(MarkTriedChoices(Rooms()), UnknownWords(known))
    env.reset()
    assert env.step(0)[0] == "you are in the hall .\ntake unknown0 again\nmove on"
