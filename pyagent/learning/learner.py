"""What all learners share: the loop around them, prediction, logs, saving and loading."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from typing_extensions import Self

from pyagent.agents import Agent, load_language_agent
from pyagent.learning.checkpoint import load_checkpoint, save_checkpoint
from pyagent.learning.logger import Logger
from pyagent.learning.loop import Callback, run_loop
from pyagent.learning.progress import ProgressBar
from pyagent.learning.vector_env import is_id
from pyagent.ops import clip_grad_norm

AgentType = TypeVar("AgentType", bound=Agent)


class Learner(ABC, Generic[AgentType]):
    """A learner of an agent, in the manner of Stable-Baselines3.

    Args:
        env: an environment's id, an environment or a vector environment.
        agent: what learns.
        settings: the keywords that `load` gives back to the constructor.
        precision: ``"float32"``, or ``"bfloat16"`` for products in bfloat16 where torch's autocast has them.
        logger: where figures go; None makes one that writes TensorBoard events to `tensorboard_log`, if that is given.
        verbose: 1 shows a progress bar even where `learn` is not asked for one.

    Raises:
        ValueError: another precision.
    """

    agent: AgentType
    optimizer: torch.optim.Optimizer
    max_grad_norm: float
    finished = False
    """whether there is nothing more to learn, however many timesteps are left"""

    def __init__(
        self,
        env: Any,
        agent: AgentType,
        settings: dict[str, Any],
        *,
        precision: str = "float32",
        logger: Logger | None,
        tensorboard_log: str | Path | None,
        verbose: int,
    ) -> None:
        if precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision: want 'float32' or 'bfloat16', got {precision!r}")
        self.env, self.agent, self.settings = env, agent, settings | {"precision": precision}
        self.precision = precision
        self.num_timesteps = 0
        self.first_step = 0
        self.verbose = verbose
        self.logger = logger or (None if tensorboard_log is None else Logger(None, tensorboard_log))

    def learn(
        self,
        total_timesteps: int,
        callback: Callback | Sequence[Callback] | None = None,
        progress_bar: bool = False,
    ) -> Self:
        """Learns for `total_timesteps` more (the last update is finished); a second call goes on.

        Args:
            total_timesteps: how many, ≥ 0.
            callback: called with the learner after every update, or several of them (`pyagent.learning.callbacks`);
                returning False ends learning.
            progress_bar: shows one, with steps a second and success so far.

        Raises:
            ValueError: `total_timesteps` is negative.
        """
        if total_timesteps < 0:
            raise ValueError(f"total_timesteps: want 0 or more, got {total_timesteps}")
        shown = progress_bar or self.verbose > 0
        with ProgressBar(total_timesteps, type(self).__name__) if shown else nullcontext() as progress:
            try:
                with self._autocast():
                    self.begin(total_timesteps)
                    run_loop(self, total_timesteps, _as_one(callback), progress)
            finally:
                self.end()
        return self

    def _autocast(self) -> AbstractContextManager[Any]:
        # Without its cache: that would go on with the weights of before the optimiser's step.
        return torch.autocast(
            self.agent.device.type, torch.bfloat16, enabled=self.precision == "bfloat16", cache_enabled=False
        )

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        action_masks: Any = None,
    ) -> tuple[Any, Any]:
        """Actions for observations and the state to hand back; see `Agent.predict`."""
        masks = {} if action_masks is None else {"action_masks": action_masks}
        return self.agent.predict(observation, state, episode_start, deterministic, **masks)

    def descend(self, loss: Tensor) -> None:
        """One step of the optimiser down the loss's gradient, of norm at most `max_grad_norm`.

        Raises:
            ValueError: the loss or its gradient is no finite number. The weights are those of before, and so is what a
                checkpoint keeps.
        """
        # Those of the optimiser: to find an agent's by their names takes as long as many a product.
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        for weight in weights:
            weight.grad = None
        loss.backward()
        norm = clip_grad_norm([weight.grad for weight in weights if weight.grad is not None], self.max_grad_norm)
        for name, number in (("loss", float(loss.detach())), ("gradient's norm", float(norm))):
            if not math.isfinite(number):
                raise ValueError(
                    f"{name}: got {number} after {self.num_timesteps} timesteps, want a finite number; go on from the "
                    "last checkpoint with a smaller learning_rate or max_grad_norm"
                )
        self.optimizer.step()

    def frozen(self) -> AbstractContextManager[Agent]:
        """For acting many steps; see `Agent.frozen`."""
        return self.agent.frozen()

    def log(self, figures: dict[str, float]) -> None:
        """Writes figures at the current timestep (counted from `first_step`)."""
        if self.logger is not None:
            self.logger.record("time/total_timesteps", self.num_timesteps)
            for key, value in figures.items():
                self.logger.record(key, value)
            self.logger.dump(self.first_step + self.num_timesteps)

    def save(self, path: str | Path) -> None:
        """Writes the agent and all that learning needs to go on into the folder `path`, made if it is not there."""
        Path(path).mkdir(parents=True, exist_ok=True)
        save = getattr(self.agent, "save", None)
        if callable(save):  # other agents follow from the environment and the settings
            save(path)
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
        learner = cls(env, **{**cls._saved_parts(Path(path)), **tree["settings"], **keywords})
        learner.load_state_dict(tree["state"])
        return learner

    @classmethod
    def _saved_parts(cls, folder: Path) -> dict[str, Any]:
        """Keywords for the constructor that stand in files of their own."""
        return {"agent": load_language_agent(folder)} if (folder / "tokenizer.json").is_file() else {}

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


def _as_one(callback: Callback | Sequence[Callback] | None) -> Callback | None:
    """All are called, even where one has ended learning."""
    if callback is None or callable(callback):
        return callback
    return lambda learner: all([each(learner) is not False for each in callback])
