"""What learners share that learn from what they have just played, and then forget it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import TypedDict

from pyagent.agents import Agent, Interaction, Rollout, SpaceReader
from pyagent.agents.heads import NET_ARCH
from pyagent.learning.episodes import episode_figures
from pyagent.learning.logger import Logger
from pyagent.learning.playing import PlayingLearner, Schedule
from pyagent.learning.reward_scale import RewardScale
from pyagent.learning.vector_env import new_agent, reset_seed, vector_env
from pyagent.ops import gae


class OnPolicyKeywords(TypedDict, total=False):
    """Keywords of every on-policy learner; `OnPolicy` says what they mean."""

    agent: Agent | None
    num_envs: int
    learning_rate: Schedule | None
    learning_rate_end: float
    n_steps: int
    gamma: float
    gae_lambda: float
    ent_coef: float
    vf_coef: float
    max_grad_norm: float
    normalize_advantage: bool
    normalize_observations: bool
    normalize_rewards: bool
    value_warmup: int
    schedule_timesteps: int | None
    cell: str
    hidden_size: int
    num_layers: int
    net_arch: Mapping[str, Sequence[int]]
    seed: int
    precision: str
    verbose: int
    tensorboard_log: str | Path | None
    device: str
    logger: Logger | None


class OnPolicy(PlayingLearner):
    """Plays many environments, then learns from whole lanes of turns with the core's state carried through them.

    Every `learn` starts new episodes whose levels and choices follow from `seed` and `num_timesteps`; so saving,
    loading and learning equals learning straight on, call for call.

    Args:
        env: an environment's id, several of them (lanes in equal parts), an environment or a vector environment.
            Observations are Text, or Discrete, MultiDiscrete, Box or Dict or Tuple of these; actions are Discrete or
            MultiDiscrete, and may be masked (`pyagent.agents.action_masks`).
        agent: what learns; a new one where none is given, of `cell`, `hidden_size`, `num_layers` and `net_arch`.
        num_envs: lanes made of an id.
        learning_rate: a number, or a function of what remains of the schedule (1 … 0).
        learning_rate_end: share of it that is left at the schedule's end, reached in a straight line; a function says
            all itself.
        n_steps: turns of each lane between updates.
        gamma, gae_lambda, ent_coef, vf_coef, max_grad_norm: as in Stable-Baselines3.
        normalize_advantage: shift and scale a rollout's advantages to mean 0 and deviation 1.
        normalize_observations: shift and scale the numbers of observations by those seen so far.
        normalize_rewards: divide rewards by the spread of the returns seen so far.
        value_warmup: first updates in which only the value head learns: that of an agent fresh from supervised
            learning knows nothing, and would lead the policy astray.
        schedule_timesteps: timesteps over which a schedule runs down; None: those of each `learn`.
        cell: the core, ``"lstm"``, ``"gru"``, ``"rnn"`` or ``"none"``; `hidden_size` and `num_layers` are its size.
        net_arch: widths of the policy's (``pi``) and the value's (``vf``) layers above the core; not for text.
        seed: of everything.
        precision: ``"float32"``, or ``"bfloat16"`` for products in bfloat16.
        verbose, tensorboard_log, device: as in Stable-Baselines3.
        logger: takes the figures instead of `tensorboard_log`.

    Raises:
        ValueError: a number is out of range.
        TypeError: spaces of another kind.
    """

    optimizer: torch.optim.Optimizer

    def __init__(
        self,
        env: Any,
        own_settings: dict[str, Any],
        *,
        agent: Agent | None = None,
        num_envs: int = 64,
        learning_rate: Schedule | None = 1e-3,
        learning_rate_end: float = 0.1,
        n_steps: int = 64,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        ent_coef: float = 0.01,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        normalize_advantage: bool = True,
        normalize_observations: bool = False,
        normalize_rewards: bool = True,
        value_warmup: int = 0,
        schedule_timesteps: int | None = None,
        cell: str = "lstm",
        hidden_size: int = 128,
        num_layers: int = 1,
        net_arch: Mapping[str, Sequence[int]] = NET_ARCH,
        seed: int = 0,
        precision: str = "float32",
        verbose: int = 0,
        tensorboard_log: str | Path | None = None,
        device: str = "cpu",
        logger: Logger | None = None,
    ) -> None:
        if n_steps < 1:
            raise ValueError(f"n_steps: want 1 or more, got {n_steps}")
        for name, number in (("gamma", gamma), ("gae_lambda", gae_lambda)):
            if not 0 <= number <= 1:
                raise ValueError(f"{name}: want a number in [0, 1], got {number}")
        settings = own_settings | {
            "n_steps": n_steps,
            "gamma": gamma,
            "gae_lambda": gae_lambda,
            "ent_coef": ent_coef,
            "vf_coef": vf_coef,
            "max_grad_norm": max_grad_norm,
            "normalize_advantage": normalize_advantage,
            "normalize_observations": normalize_observations,
            "normalize_rewards": normalize_rewards,
            "value_warmup": value_warmup,
            "cell": cell,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "net_arch": {name: list(sizes) for name, sizes in net_arch.items()},
        }
        if agent is None:
            sizes = {"cell": cell, "hidden_size": hidden_size, "num_layers": num_layers, "net_arch": net_arch}
            agent = new_agent(vector_env(env, num_envs, seed), seed, normalize=normalize_observations, **sizes)
        super().__init__(
            env,
            agent,
            settings,
            learning_rate=learning_rate,
            learning_rate_end=learning_rate_end,
            schedule_timesteps=schedule_timesteps,
            num_envs=num_envs,
            seed=seed,
            device=device,
            precision=precision,
            verbose=verbose,
            tensorboard_log=tensorboard_log,
            logger=logger,
        )
        self.n_steps, self.gamma, self.gae_lambda = n_steps, gamma, gae_lambda
        self.ent_coef, self.vf_coef, self.max_grad_norm = ent_coef, vf_coef, max_grad_norm
        self.normalize_advantage = normalize_advantage
        self.value_warmup = value_warmup
        self.reward_scale = RewardScale(gamma) if normalize_rewards else None
        self._taken = 0

    def begin(self, total_timesteps: int) -> None:
        env, place = self.start(total_timesteps)
        self.interaction: Interaction = self.agent.interaction(self.agent, env, self.gamma, self.generator)
        self.interaction.restart(reset_seed(self.env, place))
        if self.reward_scale is not None:
            self.reward_scale.restart()
        self._taken = 0

    def act(self) -> np.ndarray:
        self.freeze()
        return self.interaction.act()

    def observe(self, choice: np.ndarray) -> int:
        self.outcome = self.interaction.observe(choice)
        self._taken += 1
        return len(choice)

    def ready(self) -> bool:
        return self._taken >= self.n_steps

    def update(self) -> dict[str, float]:
        """Learns from the turns since the last update and returns figures under Stable-Baselines3's keys."""
        rollout = self.interaction.rollout()
        self._taken = 0
        self.thaw()
        rate = self.schedule_rate()
        figures = self._learn_from(rollout)
        self.num_updates += 1
        if isinstance(self.agent.understanding, SpaceReader):
            # After the update: the policy that chose these turns saw them by the old scale.
            self.agent.understanding.learn_scale(rollout.turns)
        self.note(self.interaction.play.episodes)
        return (
            figures | {"train/learning_rate": rate, "train/n_updates": self.num_updates} | episode_figures(self.recent)
        )

    def state_dict(self) -> dict[str, Any]:
        scale = {} if self.reward_scale is None else {"reward_scale": self.reward_scale.state_dict()}
        return super().state_dict() | scale

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if self.reward_scale is not None:
            self.reward_scale.load_state_dict(state["reward_scale"])

    def advantages(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Advantages, and what the values should have been, both [T, B]."""
        reward = rollout.reward
        if self.reward_scale is not None:
            # What stands at a turn that was ignored is the value of it, not a reward.
            scaled = self.reward_scale(reward, rollout.reset, rollout.valid)
            reward = torch.where(rollout.valid, scaled, reward)
        advantage = gae(reward, rollout.discount, rollout.value, self.gae_lambda)
        target = advantage + rollout.value[:-1]
        if self.normalize_advantage:
            chosen = advantage[rollout.valid]
            advantage = (advantage - chosen.mean()) / (chosen.std(correction=0) + 1e-8)
        return advantage, target

    def read_once(self, rollout: Rollout) -> Rollout:
        """The rollout with its turns read, where reading has no weights that change from one replay to the next."""
        reader = self.agent.understanding
        if next(reader.parameters(), None) is not None:
            return rollout
        return replace(rollout, turns=reader(rollout.turns))

    def replay(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Scores [T, B, A] and values [T, B] that the agent gives now to a rollout's turns; what it says of turns that
        are not valid means nothing."""
        if isinstance(rollout.turns, Tensor):
            turns = rollout.turns[rollout.row]
        else:
            valid = rollout.valid
            read = self.agent.understanding(rollout.turns.select(rollout.row[valid]))
            turns = read.new_zeros(*valid.shape, *read.shape[1:]).index_put((valid,), read)
        scores, value, _ = self.agent(turns, rollout.state, rollout.reset)
        return scores, value

    @abstractmethod
    def _learn_from(self, rollout: Rollout) -> dict[str, float]:
        """Updates the agent; returns figures."""


def explained_variance(rollout: Rollout, target: Tensor) -> float:
    """1 − Var[target − value] / Var[target] over the valid turns."""
    unexplained = (target - rollout.value[:-1])[rollout.valid].var(correction=0)
    return 1 - float(unexplained / target[rollout.valid].var(correction=0).clamp(min=1e-12))
