"""Logs of BabyAI's go-to levels as players of little skill leave them: what an offline learner learns from."""

from __future__ import annotations

import numpy as np
from minigrid.utils.baby_ai_bot import GoNextToSubgoal

from pyagent.envs import ACTION_WORDS, make, training_seeds
from pyagent.envs.demonstrations import _Bot


class Wanderer:
    """Walks well, but pays the mission no heed: it goes to one object of the room, then to another, and so on, and now
    and then does something at random."""

    def __init__(self, level, rng, slips=0.2):
        self.level, self.rng, self.slips = level, rng, slips
        self.bot = _Bot(level)
        self.bot.stack = []
        self.taken = None

    def act(self):
        action = int(self.bot.replan(self.taken))
        if ACTION_WORDS[action] == "done":
            self.bot.stack = [GoNextToSubgoal(self.bot, self._some_object())]
            action = int(self.bot.replan(None))
        if self.rng.random() < self.slips:
            action = int(self.rng.integers(len(ACTION_WORDS)))
        self.taken = action
        return action

    def _some_object(self):
        grid = self.level.grid
        cells = [(x, y) for x in range(grid.width) for y in range(grid.height)]
        objects = [cell for cell in cells if (found := grid.get(*cell)) is not None and found.type != "wall"]
        return objects[self.rng.integers(len(objects))]


class RandomPlayer:
    """Any action, each as often."""

    def __init__(self, level, rng):
        self.rng = rng

    def act(self):
        return int(self.rng.integers(len(ACTION_WORDS)))


def logged_games(task, episodes, seed):
    """Episodes of (observation, action word, reward), by the two players in turn; and how many were successes."""
    env = make(task, training_seeds(seed))
    rng = np.random.default_rng(seed)
    log, successes = [], []
    for number in range(episodes):
        episode, success = play(env, (RandomPlayer, Wanderer)[number % 2], rng)
        log.append(episode)
        successes.append(success)
    return log, np.array(successes)


def play(env, player, rng):
    """One episode; where it ran out of time, its last observation follows with no answer."""
    observation, _ = env.reset()
    player = player(env.level, rng)
    episode = []
    while True:
        try:
            action = player.act()
        except Exception:  # the bot gives up with whatever its code runs into: an empty hand is worth a random move
            action = int(rng.integers(len(ACTION_WORDS)))
            player = RandomPlayer(env.level, rng)
        following, reward, terminated, truncated, info = env.step(action)
        episode.append((observation, ACTION_WORDS[action], reward))
        observation = following
        if truncated:
            episode.append((observation, None, 0.0))
        if terminated or truncated:
            return episode, info["is_success"]
