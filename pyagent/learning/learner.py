"""What all learners of a language agent share: the loop around them, prediction, logs, saving and loading."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from typing_extensions import Self

from pyagent.agents import LanguageAgent, load_agent
from pyagent.learning.checkpoint import load_checkpoint, save_checkpoint
from pyagent.learning.logger import Logger
from pyagent.learning.loop import Callback, run_loop
from pyagent.learning.progress import ProgressBar
from pyagent.learning.vector_env import is_id


class Learner(ABC):
    """A learner of a `LanguageAgent`, in the manner of Stable-Baselines3.

    Args:
        env: an environment's id, an environment or a vector environment, with text observations.
        agent: what learns.
        settings: the keywords that `load` gives back to the constructor.
        logger: where figures go; None makes one that writes TensorBoard events to `tensorboard_log`, if that is given.
        verbose: 1 shows a progress bar even where `learn` is not asked for one.
    """

    agent: LanguageAgent
    optimizer: torch.optim.Optimizer
    finished = False
    """whether there is nothing more to learn, however many timesteps are left"""

    def __init__(
        self,
        env: Any,
        agent: LanguageAgent,
        settings: dict[str, Any],
        *,
        logger: Logger | None,
        tensorboard_log: str | Path | None,
        verbose: int,
    ) -> None:
        self.env, self.agent, self.settings = env, agent, settings
        self.num_timesteps = 0
        self.first_step = 0
        self.verbose = verbose
        self.logger = logger or (None if tensorboard_log is None else Logger(None, tensorboard_log))

    def learn(self, total_timesteps: int, callback: Callback | None = None, progress_bar: bool = False) -> Self:
        """Learns for `total_timesteps` more (the last update is finished); a second call goes on.

        Args:
            total_timesteps: how many, ≥ 0.
            callback: called with the learner after every update; returning False ends learning.
            progress_bar: shows one, with steps a second and success so far.

        Raises:
            ValueError: `total_timesteps` is negative.
        """
        if total_timesteps < 0:
            raise ValueError(f"total_timesteps: want 0 or more, got {total_timesteps}")
        shown = progress_bar or self.verbose > 0
        with ProgressBar(total_timesteps, type(self).__name__) if shown else nullcontext() as progress:
            try:
                self.begin(total_timesteps)
                run_loop(self, total_timesteps, callback, progress)
            finally:
                self.end()
        return self

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Actions for texts and the state to hand back; see `LanguageAgent.predict`."""
        return self.agent.predict(observation, state, episode_start, deterministic)

    def frozen(self) -> AbstractContextManager[LanguageAgent]:
        """For acting many steps; see `LanguageAgent.frozen`."""
        return self.agent.frozen()

    def log(self, figures: dict[str, float]) -> None:
        """Writes figures at the current timestep (counted from `first_step`)."""
        if self.logger is not None:
            self.logger.record("time/total_timesteps", self.num_timesteps)
            for key, value in figures.items():
                self.logger.record(key, value)
            self.logger.dump(self.first_step + self.num_timesteps)

    def save(self, path: str | Path) -> None:
        """Writes the agent and all that learning needs to go on into the folder `path`."""
        self.agent.save(path)
        tree = {"learner": type(self).__name__, "settings": self.settings, "state": self.state_dict()}
        tree["env"] = self.env if is_id(self.env) else None
        save_checkpoint(Path(path) / "checkpoint.safetensors", tree)

    @classmethod
    def load(cls, path: str | Path, env: Any = None, **keywords: Any) -> Self:
        """The learner that `save` wrote; `learn` goes on as if it had never stopped.

        Args:
            path: the folder.
            env: needed where the learner was not made with an environment's id.
            keywords: settings to change.

        Raises:
            FileNotFoundError: no learner is there.
            ValueError: another kind of learner is there, or no environment is known.
        """
        tree = load_checkpoint(Path(path) / "checkpoint.safetensors")
        if tree.get("learner") != cls.__name__:
            raise ValueError(f"path: {path} holds a {tree.get('learner')}, not a {cls.__name__}")
        env = tree["env"] if env is None else env
        if env is None:
            raise ValueError("env: the learner was not made with an environment's id, so give its environment")
        learner = cls(env, **{"agent": load_agent(path), **tree["settings"], **keywords})
        learner.load_state_dict(tree["state"])
        return learner

    def state_dict(self) -> dict[str, Any]:
        """All that learning needs to go on, the agent's weights included."""
        return {
            "agent": self.agent.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "num_timesteps": self.num_timesteps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to what `state_dict` returned."""
        self.agent.load_state_dict(state["agent"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.num_timesteps = state["num_timesteps"]

    @abstractmethod
    def begin(self, total_timesteps: int) -> None:
        """Before the loop."""

    @abstractmethod
    def end(self) -> None:
        """After the loop, however it ended."""

    @abstractmethod
    def act(self) -> Any: ...

    @abstractmethod
    def observe(self, choice: Any) -> int: ...

    @abstractmethod
    def ready(self) -> bool: ...

    @abstractmethod
    def update(self) -> dict[str, float]: ...
