"""Logs of BabyAI's go-to levels as players of little skill leave them: what an offline learner learns from."""

from __future__ import annotations

import numpy as np
from minigrid.utils.baby_ai_bot import BabyAIBot, GoNextToSubgoal

from pyagent.envs import ACTION_WORDS, make, training_seeds


class RandomPlayer:
    """Any action, each as often."""

    def __init__(self, level, rng):
        self.rng = rng

    def act(self):
        return int(self.rng.integers(len(ACTION_WORDS)))


class HeedlessPlayer:
    """Half-good: walks well, but to any object of the room, and once it is there it plays at random."""

    def __init__(self, level, rng):
        self.there = False
        self.by_chance = RandomPlayer(level, rng)
        self.bot = BabyAIBot(level)
        cells = [(x, y) for x in range(level.grid.width) for y in range(level.grid.height)]
        objects = [cell for cell in cells if (found := level.grid.get(*cell)) is not None and found.type != "wall"]
        self.bot.stack = [GoNextToSubgoal(self.bot, objects[rng.integers(len(objects))])]

    def act(self):
        if not self.there:
            try:
                action = int(self.bot.replan())
            except Exception:  # the bot gives up with whatever its code happens to run into
                action = ACTION_WORDS.index("done")
            self.there = ACTION_WORDS[action] == "done"
        return self.by_chance.act() if self.there else action


PLAYERS = (RandomPlayer, HeedlessPlayer)


def logged_games(task, episodes, seed):
    """Games of the two players in turn as episodes of (observation, action word, reward), and bool [episodes]: which
    were successes."""
    env = make(task, training_seeds(seed))
    rng = np.random.default_rng(seed)
    played = [_play(env, PLAYERS[number % 2], rng) for number in range(episodes)]
    return [episode for episode, _ in played], np.array([success for _, success in played])


def _play(env, player, rng):
    """One game; where it ran out of time, its last observation follows unanswered."""
    observation, _ = env.reset()
    player = player(env.level, rng)
    episode = []
    while True:
        action = player.act()
        following, reward, terminated, truncated, info = env.step(action)
        episode.append((observation, ACTION_WORDS[action], reward))
        observation = following
        if truncated:
            episode.append((observation, None, 0.0))
        if terminated or truncated:
            return episode, info["is_success"]
