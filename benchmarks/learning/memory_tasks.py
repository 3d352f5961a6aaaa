"""The tasks of the control and memory runs, by name: CartPole, and POPGym's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium.vector import SyncVectorEnv

LANES = 32
POPGYM = {
    "RepeatFirstEasy": "repeat_first",
    "RepeatPreviousEasy": "repeat_previous",
    "CountRecallEasy": "count_recall",
    "AutoencodeEasy": "autoencode",
    "PositionOnlyCartPoleEasy": "position_only_cartpole",
}
TASKS = ("CartPole-v1", *POPGYM)


def maker(task: str) -> Callable[[], gym.Env[Any, Any]]:
    """What makes one environment of a task."""
    if task not in POPGYM:
        return partial(gym.make, task)
    import importlib

    return getattr(importlib.import_module(f"popgym.envs.{POPGYM[task]}"), task)


def lanes(task: str, count: int = LANES) -> SyncVectorEnv:
    """A plain vector environment of a task."""
    return SyncVectorEnv([maker(task)] * count)
