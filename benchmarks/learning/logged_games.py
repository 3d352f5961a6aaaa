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
    """Half-good: walks to one object of the room after another, whichever they are, until it happens upon the one that
    the mission speaks of; one action in four is any."""

    def __init__(self, level, rng):
        self.level, self.rng = level, rng
        self.bot = BabyAIBot(level)
        self.bot.stack = []
        self.taken = None

    def act(self):
        try:
            action = int(self.bot.replan(self.taken))
            while ACTION_WORDS[action] == "done":
                self.bot.stack = [GoNextToSubgoal(self.bot, self._some_object())]
                action = int(self.bot.replan())
        except Exception:  # the bot gives up with whatever its code happens to run into
            self.bot.stack, action = [], ACTION_WORDS.index("left")
        if self.rng.random() < 0.25:
            action = int(self.rng.integers(len(ACTION_WORDS)))
        self.taken = action
        return action

    def _some_object(self):
        grid = self.level.grid
        cells = [(x, y) for x in range(grid.width) for y in range(grid.height)]
        objects = [cell for cell in cells if (there := grid.get(*cell)) is not None and there.type != "wall"]
        away = [cell for cell in objects if cell != tuple(self.level.front_pos)]
        return (away or objects)[self.rng.integers(len(away or objects))]


PLAYERS = (RandomPlayer, HeedlessPlayer, HeedlessPlayer, HeedlessPlayer)


def logged_games(task, episodes, seed):
    """Games, one in four of the random player, as episodes of (observation, action word, reward), and bool [episodes]:
    which were successes."""
    env = make(task, training_seeds(seed))
    rng = np.random.default_rng(seed)
    played = [_play(env, PLAYERS[number % len(PLAYERS)], rng) for number in range(episodes)]
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
