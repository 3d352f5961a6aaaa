"""What learners share that play: schedules, frozen weights while acting, the episodes that were finished."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from pyagent.agents import Agent, EpisodeEnd
from pyagent.learning.episodes import EPISODES_SHOWN
from pyagent.learning.learner import Learner
from pyagent.learning.logger import Logger
from pyagent.learning.seeding import derived_seed
from pyagent.learning.vector_env import vector_env

Schedule = float | Callable[[float], float]


class PlayingLearner(Learner[Agent]):
    """A learner that plays `env` with its agent.

    Args:
        env, agent, settings, precision, logger, tensorboard_log, verbose: as in `Learner`.
        learning_rate, learning_rate_end, schedule_timesteps, num_envs, seed, device: as in `OnPolicy`; all of them are
            added to the settings.

    Raises:
        ValueError: `num_envs` below 1, `learning_rate_end` outside [0, 1], or a learning rate that is missing because
            it was a function when the learner was saved.
    """

    def __init__(
        self,
        env: Any,
        agent: Agent,
        settings: dict[str, Any],
        *,
        learning_rate: Schedule | None,
        learning_rate_end: float,
        schedule_timesteps: int | None,
        num_envs: int,
        seed: int,
        device: str,
        precision: str,
        verbose: int,
        tensorboard_log: str | Path | None,
        logger: Logger | None,
    ) -> None:
        if learning_rate is None:
            raise ValueError("learning_rate: it was a function when this learner was saved, so give it again")
        if not 0 <= learning_rate_end <= 1:
            raise ValueError(f"learning_rate_end: want a number in [0, 1], got {learning_rate_end}")
        if num_envs < 1:
            raise ValueError(f"num_envs: want 1 or more, got {num_envs}")
        settings = settings | {
            "learning_rate": None if callable(learning_rate) else learning_rate,
            "learning_rate_end": learning_rate_end,
            "schedule_timesteps": schedule_timesteps,
            "num_envs": num_envs,
            "seed": seed,
            "device": device,
        }
        super().__init__(
            env, agent, settings, precision=precision, logger=logger, tensorboard_log=tensorboard_log, verbose=verbose
        )
        self.agent.to(device)
        self.learning_rate: Schedule = learning_rate
        self.learning_rate_end, self.schedule_timesteps = learning_rate_end, schedule_timesteps
        self.num_envs, self.seed = num_envs, seed
        self.num_updates = 0
        self.recent: deque[tuple[float, int, float | None]] = deque(maxlen=EPISODES_SHOWN)
        """(reward, length, success) of the last finished episodes"""
        self.generator = torch.Generator()
        self._schedule = (0, 1)
        self._frozen = ExitStack()
        self._is_frozen = False

    def start(self, total_timesteps: int) -> tuple[Any, int]:
        """Begins the schedules of a `learn`, and its random numbers, which follow from the seed and from where the run
        stands; returns the vector environment to play and the seed of this place."""
        place = derived_seed(self.seed, 1, self.num_timesteps)
        self.generator.manual_seed(place)
        first = 0 if self.schedule_timesteps else self.num_timesteps
        self._schedule = (first, max(self.schedule_timesteps or total_timesteps, 1))
        return vector_env(self.env, self.num_envs, place), place

    def end(self) -> None:
        self.thaw()

    @property
    def remaining(self) -> float:
        """What remains of the schedule, 1 … 0."""
        first, length = self._schedule
        return min(max(1 - (self.num_timesteps - first) / length, 0.0), 1.0)

    def rate(self, remaining: float) -> float:
        """The learning rate where so much remains."""
        if callable(self.learning_rate):
            return self.learning_rate(remaining)
        return self.learning_rate * (self.learning_rate_end + (1 - self.learning_rate_end) * remaining)

    def schedule_rate(self) -> float:
        """Sets the optimiser's learning rate of now and returns it."""
        rate = self.rate(self.remaining)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def freeze(self) -> None:
        """Before acting: the agent keeps what it derives from its weights until `thaw`."""
        if not self._is_frozen:
            self._frozen.enter_context(self.agent.frozen())
            self._is_frozen = True

    def thaw(self) -> None:
        """Before the weights change."""
        self._frozen.close()
        self._is_frozen = False

    def note(self, episodes: list[EpisodeEnd]) -> None:
        """Takes finished episodes into `recent`, out of the list."""
        self.recent.extend((end.reward, end.length, end.success) for end in episodes)
        episodes.clear()

    def state_dict(self) -> dict[str, Any]:
        own = {"num_updates": self.num_updates, "recent": list(self.recent), "schedule": list(self._schedule)}
        return super().state_dict() | own

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.num_updates, self._schedule = state["num_updates"], tuple(state["schedule"])
        self.recent = deque((tuple(episode) for episode in state["recent"]), maxlen=EPISODES_SHOWN)
