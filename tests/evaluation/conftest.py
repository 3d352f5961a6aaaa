"""An environment that rewards memory (a step pays 1 if the action is the step's number) and a model that has it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest


class CountingEnv(gym.Env[np.ndarray, int]):
    """Episodes of drawn length. Right counting needs a memory that starts anew exactly at an episode's start."""

    observation_space = gym.spaces.Box(0, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(100)

    def __init__(self, shortest: int = 1, longest: int = 9, truncates: bool = False) -> None:
        self.shortest, self.longest, self.truncates = shortest, longest, truncates
        self.running = False
        self.steps_taken = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.length = int(self.np_random.integers(self.shortest, self.longest + 1))
        self.step_number, self.mistakes, self.running = 0, 0, True
        return np.zeros(2, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if not self.running:
            raise RuntimeError("step after the end of an episode")
        right = action == self.step_number
        self.mistakes += not right
        self.step_number += 1
        self.steps_taken += 1
        self.running = self.step_number < self.length
        over = not self.running
        info = {"is_success": self.mistakes == 0} if over else {}
        return np.ones(2, np.float32), float(right), over and not self.truncates, over and self.truncates, info


class Counter:
    """Answers with the number of the step since the episode's start, kept in its state alone."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        self.batches.append(np.shape(observation))
        count = np.zeros(len(observation), dtype=np.int64) if state is None else np.where(episode_start, 0, state)
        return count, count + 1


@pytest.fixture
def counting_env() -> type[CountingEnv]:
    return CountingEnv


@pytest.fixture
def counter() -> type[Counter]:
    return Counter
