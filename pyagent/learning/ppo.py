"""Recurrent proximal policy optimisation of a language agent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyagent.agents import Interaction, LanguageAgent, Rollout, select_lanes
from pyagent.learning.learner import Learner
from pyagent.learning.logger import Logger
from pyagent.learning.ppo_loss import PPOLoss, ppo_loss
from pyagent.learning.seeding import derived_seed
from pyagent.learning.vector_env import is_id, new_agent, vector_env
from pyagent.ops import gae

EPISODES_SHOWN = 100


class PPO(Learner):
    """Plays many environments, then learns from whole lanes of turns with the core's state carried through them.

    Every `learn` starts new episodes whose levels and choices follow from `seed` and `num_timesteps`; so saving,
    loading and learning equals learning straight on, call for call.

    Args:
        env: an environment's id, several of them (lanes in equal parts), an environment or a vector environment, with
            text observations.
        agent: what learns; a new one where none is given, of `cell`, `hidden_size` and `num_layers`.
        num_envs: lanes made of an id.
        learning_rate: of Adam; a number, or a function of what remains of the schedule (1 … 0).
        n_steps: turns of each lane between updates.
        batch_size: turns a minibatch; a multiple of `n_steps`, as lanes are learned from whole.
        n_epochs: passes over a rollout.
        gamma, gae_lambda, clip_range, ent_coef, vf_coef, max_grad_norm: as in Stable-Baselines3.
        value_warmup: first updates in which only the value head learns: that of an agent fresh from supervised
            learning knows nothing, and would lead the policy astray.
        schedule_timesteps: timesteps over which a schedule runs down; None: those of each `learn`.
        seed: of everything.
        verbose, tensorboard_log, device: as in Stable-Baselines3.
        logger: takes the figures instead of `tensorboard_log`.

    Raises:
        ValueError: `batch_size` is not a multiple of `n_steps`, or a number is out of range.
        TypeError: the environment has no text observations or no discrete actions.
    """

    def __init__(
        self,
        env: Any,
        *,
        agent: LanguageAgent | None = None,
        num_envs: int = 64,
        learning_rate: float | Callable[[float], float] | None = 3e-4,
        n_steps: int = 64,
        batch_size: int = 1024,
        n_epochs: int = 4,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        clip_range: float = 0.2,
        ent_coef: float = 0.01,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        value_warmup: int = 0,
        schedule_timesteps: int | None = None,
        cell: str = "gru",
        hidden_size: int = 128,
        num_layers: int = 1,
        seed: int = 0,
        verbose: int = 0,
        tensorboard_log: str | Path | None = None,
        device: str = "cpu",
        logger: Logger | None = None,
    ) -> None:
        if learning_rate is None:
            raise ValueError("learning_rate: it was a function when this learner was saved, so give it again")
        for name, number in (("n_steps", n_steps), ("n_epochs", n_epochs), ("num_envs", num_envs)):
            if number < 1:
                raise ValueError(f"{name}: want 1 or more, got {number}")
        if batch_size < 1 or batch_size % n_steps:
            raise ValueError(f"batch_size: want a multiple of n_steps={n_steps}, got {batch_size}")
        for name, number in (("gamma", gamma), ("gae_lambda", gae_lambda)):
            if not 0 <= number <= 1:
                raise ValueError(f"{name}: want a number in [0, 1], got {number}")
        settings = {
            "learning_rate": None if callable(learning_rate) else learning_rate,
            "num_envs": num_envs,
            "n_steps": n_steps,
            "batch_size": batch_size,
            "n_epochs": n_epochs,
            "gamma": gamma,
            "gae_lambda": gae_lambda,
            "clip_range": clip_range,
            "ent_coef": ent_coef,
            "vf_coef": vf_coef,
            "max_grad_norm": max_grad_norm,
            "value_warmup": value_warmup,
            "schedule_timesteps": schedule_timesteps,
            "seed": seed,
            "device": device,
        }
        vec = vector_env(env, num_envs, seed)
        if agent is None:
            agent = new_agent(vec, seed, cell=cell, hidden_size=hidden_size, num_layers=num_layers)
        super().__init__(env, agent, settings, logger=logger, tensorboard_log=tensorboard_log, verbose=verbose)
        self.agent.to(device)
        self.learning_rate: float | Callable[[float], float] = learning_rate
        self.n_steps, self.batch_size, self.n_epochs = n_steps, batch_size, n_epochs
        self.gamma, self.gae_lambda, self.clip_range = gamma, gae_lambda, clip_range
        self.ent_coef, self.vf_coef, self.max_grad_norm = ent_coef, vf_coef, max_grad_norm
        self.value_warmup, self.schedule_timesteps, self.seed, self.num_envs = (
            value_warmup,
            schedule_timesteps,
            seed,
            num_envs,
        )
        self.optimizer = torch.optim.Adam(self.agent.parameters(), lr=self._rate(1.0), eps=1e-5)
        self.num_updates = 0
        self.recent: deque[tuple[float, int, float | None]] = deque(maxlen=EPISODES_SHOWN)
        self.generator = torch.Generator()
        self._frozen = ExitStack()
        self._is_frozen = False
        self._taken = 0
        self._schedule = (0, 1)

    def begin(self, total_timesteps: int) -> None:
        place = derived_seed(self.seed, 1, self.num_timesteps)
        env = vector_env(self.env, self.num_envs, place)
        self.generator.manual_seed(place)
        self.interaction: Interaction = self.agent.interaction(self.agent, env, self.gamma, self.generator)
        # Below 2^29: a text environment takes the seed as a level's, and those of evaluation start at 2^30.
        self.interaction.restart(None if is_id(self.env) else place % 2**29)
        first = 0 if self.schedule_timesteps else self.num_timesteps
        self._schedule = (first, max(self.schedule_timesteps or total_timesteps, 1))

    def end(self) -> None:
        self._thaw()

    def act(self) -> np.ndarray:
        if not self._is_frozen:
            self._frozen.enter_context(self.agent.frozen())
            self._is_frozen = True
        return self.interaction.act()

    def observe(self, choice: np.ndarray) -> int:
        self.interaction.observe(choice)
        self._taken += 1
        return len(choice)

    def ready(self) -> bool:
        return self._taken >= self.n_steps

    def update(self) -> dict[str, float]:
        """Learns from the turns since the last update and returns figures under Stable-Baselines3's keys."""
        rollout = self.interaction.rollout()
        self._taken = 0
        self._thaw()
        first, length = self._schedule
        rate = self._rate(max(1 - (self.num_timesteps - first) / length, 0.0))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        figures = self._learn_from(rollout)
        self.num_updates += 1
        self.recent.extend((end.reward, end.length, end.success) for end in self.interaction.episodes)
        self.interaction.episodes.clear()
        return figures | {"train/learning_rate": rate, "train/n_updates": self.num_updates} | self._episode_figures()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"num_updates": self.num_updates, "recent": list(self.recent)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.num_updates = state["num_updates"]
        self.recent = deque((tuple(episode) for episode in state["recent"]), maxlen=EPISODES_SHOWN)

    def _rate(self, remaining: float) -> float:
        return self.learning_rate(remaining) if callable(self.learning_rate) else self.learning_rate

    def _thaw(self) -> None:
        self._frozen.close()
        self._is_frozen = False

    def _learn_from(self, rollout: Rollout) -> dict[str, float]:
        advantage = gae(rollout.reward, rollout.discount, rollout.value, self.gae_lambda)
        target = advantage + rollout.value[:-1]
        chosen = advantage[rollout.valid]
        advantage = (advantage - chosen.mean()) / (chosen.std(correction=0) + 1e-8)
        losses = [
            self._step_on(rollout, advantage, target, lanes)
            for _ in range(self.n_epochs)
            for lanes in self._minibatches(rollout.action.shape[1])
        ]
        mean = PPOLoss(*(torch.stack(parts).mean() for parts in zip(*losses, strict=True)))
        unexplained = (target - rollout.value[:-1])[rollout.valid].var(correction=0)
        spread = target[rollout.valid].var(correction=0)
        return {
            "train/loss": float(mean.loss),
            "train/policy_gradient_loss": float(mean.policy),
            "train/value_loss": float(mean.value),
            "train/entropy_loss": -float(mean.entropy),
            "train/approx_kl": float(mean.approx_kl),
            "train/clip_fraction": float(mean.clip_fraction),
            "train/explained_variance": 1 - float(unexplained / spread.clamp(min=1e-12)),
        }

    def _minibatches(self, lanes: int) -> Iterator[Tensor]:
        order = torch.randperm(lanes, generator=self.generator)
        yield from order.split(max(self.batch_size // self.n_steps, 1))

    def _step_on(self, rollout: Rollout, advantage: Tensor, target: Tensor, lanes: Tensor) -> PPOLoss:
        losses = self.loss(rollout, advantage, target, lanes.to(self.agent.device))
        loss = self.vf_coef * losses.value if self.num_updates < self.value_warmup else losses.loss
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.agent.parameters(), self.max_grad_norm)
        self.optimizer.step()
        return PPOLoss(*(part.detach() for part in losses))

    def loss(self, rollout: Rollout, advantage: Tensor, target: Tensor, lanes: Tensor) -> PPOLoss:
        """The loss over some lanes (int64 [M]) of a rollout; turns whose action was ignored have no part in it."""
        T, B = rollout.action.shape
        valid = rollout.valid[:, lanes]
        rows = (torch.arange(T, device=lanes.device)[:, None] * B + lanes)[valid]
        read = self.agent.understanding(rollout.turns.select(rows))
        turns = read.new_zeros(T, len(lanes), read.shape[1]).masked_scatter(valid[..., None], read)
        state = None if rollout.state is None else select_lanes(rollout.state, lanes)
        log_probabilities, value, _ = self.agent(turns, state, rollout.reset[:, lanes])
        return ppo_loss(
            log_probabilities[valid],
            value[valid],
            rollout.action[:, lanes][valid],
            rollout.log_prob[:, lanes][valid],
            advantage[:, lanes][valid],
            target[:, lanes][valid],
            clip_range=self.clip_range,
            ent_coef=self.ent_coef,
            vf_coef=self.vf_coef,
        )

    def _episode_figures(self) -> dict[str, float]:
        if not self.recent:
            return {}
        rewards, lengths, successes = zip(*self.recent, strict=True)
        figures = {"rollout/ep_rew_mean": float(np.mean(rewards)), "rollout/ep_len_mean": float(np.mean(lengths))}
        told = [success for success in successes if success is not None]
        return figures | ({"rollout/success_rate": float(np.mean(told))} if told else {})
