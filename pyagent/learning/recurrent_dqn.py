"""Deep Q-learning with memory."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from pyagent.agents import Agent, DuelingQ, Understanding
from pyagent.agents.observations import as_batch
from pyagent.learning.episodes import episode_figures
from pyagent.learning.logger import Logger
from pyagent.learning.playing import PlayingLearner, Schedule
from pyagent.learning.reward_scale import RewardScale
from pyagent.learning.seeding import torch_seed
from pyagent.learning.sequence_collector import SequenceCollector
from pyagent.learning.sequence_loss import sequence_loss, values_after_burn_in
from pyagent.learning.vector_env import new_tokenizer, reset_seed, vector_env
from pyagent.ops import epsilon_greedy
from pyagent.replay import SequenceBatch, SequenceReplay
from pyagent.text import Tokenizer


class RecurrentDQN(PlayingLearner):
    """Learns action values from replayed sequences that begin with the core's state of when they were played (R2D2).

    A sequence is `burn_in` steps that only bring the stored state up to date, then `sequence_length` steps to learn
    from, then `n_step` more to bootstrap from; `pyagent.learning.sequence_loss` has the equations. A terminated episode
    is worth nothing more, a truncated one the value of its last observation. `sequence_length` 1, `burn_in` 0 and
    `cell` ``"none"`` make the plain DQN.

    Every `learn` starts new episodes whose levels and choices follow from `seed` and `num_timesteps`; so saving,
    loading and learning equals learning straight on, call for call.

    Args:
        env: an environment's id, several of them, an environment or a vector environment, with Text, Discrete,
            MultiDiscrete, Box, or Dict or Tuple observations and Discrete actions, which may be masked.
        num_envs: lanes made of an id.
        learning_rate: of Adam; a number, or a function of what remains of the schedule (1 … 0).
        learning_rate_end: share of it that is left at the schedule's end, reached in a straight line; a function says
            all itself.
        buffer_size: steps that are kept; `learning_starts`: steps before the first update.
        batch_size: steps an update; `sequence_length` of them stand in each sequence.
        sequence_length, burn_in, n_step: see above.
        train_freq: steps of every lane between updates; `gradient_steps`: updates then.
        gamma, tau, target_update_interval (steps), exploration_fraction, exploration_initial_eps,
            exploration_final_eps, max_grad_norm: as in Stable-Baselines3.
        double: the online network chooses the action that the target network judges.
        dueling: value and advantage streams.
        prioritized: sample by priority (exponent `alpha`; `beta` corrects for it, and rises to 1 with the schedule).
        normalize_rewards: divide rewards by the spread of the returns seen so far, when they are learned from.
        rescale_epsilon: ε of the value rescaling h; None leaves out h.
        schedule_timesteps: timesteps over which schedules run down; None: those of each `learn`.
        cell: ``"lstm"``, ``"gru"``, ``"rnn"`` or ``"none"``; `hidden_size` and `num_layers` are its size.
        net_arch: widths of the layers above the core.
        tokenizer: of text observations; None makes one from random play.
        seed, precision, verbose, tensorboard_log, device, logger: as in `OnPolicy`.

    Raises:
        ValueError: a number is out of range.
        TypeError: spaces of another kind.

    Kapturowski et al. 2019, "Recurrent experience replay in distributed reinforcement learning"; van Hasselt et al.
    2016, "Deep reinforcement learning with double Q-learning", https://arxiv.org/abs/1509.06461
    """

    def __init__(
        self,
        env: Any,
        *,
        num_envs: int = 32,
        learning_rate: Schedule | None = 5e-4,
        learning_rate_end: float = 1.0,
        buffer_size: int = 100_000,
        learning_starts: int = 5_000,
        batch_size: int = 2048,
        sequence_length: int = 64,
        burn_in: int = 8,
        n_step: int = 3,
        train_freq: int = 2,
        gradient_steps: int = 1,
        gamma: float = 0.99,
        tau: float = 0.01,
        target_update_interval: int = 1,
        exploration_fraction: float = 0.3,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.02,
        max_grad_norm: float = 10.0,
        double: bool = True,
        dueling: bool = True,
        prioritized: bool = True,
        alpha: float = 0.6,
        beta: float = 0.4,
        normalize_rewards: bool = True,
        rescale_epsilon: float | None = None,
        schedule_timesteps: int | None = None,
        cell: str = "lstm",
        hidden_size: int = 128,
        num_layers: int = 1,
        net_arch: Sequence[int] = (64,),
        tokenizer: Tokenizer | None = None,
        seed: int = 0,
        precision: str = "float32",
        verbose: int = 0,
        tensorboard_log: str | Path | None = None,
        device: str = "cpu",
        logger: Logger | None = None,
    ) -> None:
        whole = {"train_freq": train_freq, "gradient_steps": gradient_steps}
        for name, number in (whole | {"target_update_interval": target_update_interval}).items():
            if number < 1:
                raise ValueError(f"{name}: want 1 or more, got {number}")
        shares = {"gamma": gamma, "tau": tau, "exploration_fraction": exploration_fraction, "beta": beta}
        shares |= {"exploration_initial_eps": exploration_initial_eps, "exploration_final_eps": exploration_final_eps}
        for name, number in shares.items():
            if not 0 <= number <= 1:
                raise ValueError(f"{name}: want a number in [0, 1], got {number}")
        if batch_size < 1 or batch_size % sequence_length:
            raise ValueError(f"batch_size: want a multiple of sequence_length={sequence_length}, got {batch_size}")
        settings = (whole | shares) | {
            "buffer_size": buffer_size,
            "learning_starts": learning_starts,
            "batch_size": batch_size,
            "sequence_length": sequence_length,
            "burn_in": burn_in,
            "n_step": n_step,
            "target_update_interval": target_update_interval,
            "max_grad_norm": max_grad_norm,
            "double": double,
            "dueling": dueling,
            "prioritized": prioritized,
            "alpha": alpha,
            "normalize_rewards": normalize_rewards,
            "rescale_epsilon": rescale_epsilon,
            "cell": cell,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "net_arch": list(net_arch),
        }
        vec = vector_env(env, num_envs, seed)
        if not isinstance(vec.single_action_space, gym.spaces.Discrete):
            raise TypeError(f"env: Q-learning wants Discrete actions, got {vec.single_action_space}")
        if isinstance(vec.single_observation_space, gym.spaces.Text):
            tokenizer = tokenizer or new_tokenizer(vec, seed)
        self.tokenizer = tokenizer
        with torch_seed(seed):
            agent = Agent(
                vec.single_observation_space,
                vec.single_action_space,
                cell=cell,
                hidden_size=hidden_size,
                num_layers=num_layers,
                understanding=None if tokenizer is None else Understanding(tokenizer),
                decision=DuelingQ(hidden_size, int(vec.single_action_space.n), net_arch, dueling),
            )
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
        self.learning_starts = learning_starts
        self.batch_size, self.sequence_length, self.burn_in, self.n_step = batch_size, sequence_length, burn_in, n_step
        self.train_freq, self.gradient_steps, self.gamma, self.tau = train_freq, gradient_steps, gamma, tau
        self.target_update_interval, self.max_grad_norm = target_update_interval, max_grad_norm
        self.exploration = (exploration_fraction, exploration_initial_eps, exploration_final_eps)
        self.double, self.beta, self.rescale_epsilon = double, beta, rescale_epsilon
        self.target = copy.deepcopy(self.agent).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.agent.parameters(), lr=self.rate(1.0), eps=1e-5, fused=True)
        replay_settings = {"burn_in": burn_in, "sequence_length": sequence_length, "n_step": n_step}
        replay_settings |= {"prioritized": prioritized, "alpha": alpha}
        self.collector = SequenceCollector(self.agent, vec, buffer_size, replay_settings)
        self.reward_scale = RewardScale(gamma) if normalize_rewards else None
        self.draws = np.random.default_rng(seed)
        self._taken = 0
        self._target_updated_at = 0

    def begin(self, total_timesteps: int) -> None:
        env, place = self.start(total_timesteps)
        self.draws = np.random.default_rng(place)
        self.collector.restart(env, reset_seed(self.env, place))
        if self.reward_scale is not None:
            self.reward_scale.restart()
        self._taken = 0

    def end(self) -> None:
        super().end()
        self.collector.stop()

    @property
    def replay(self) -> SequenceReplay:
        return self.collector.replay

    @property
    def exploration_rate(self) -> float:
        """ε of now: from the first to the last over `exploration_fraction` of the schedule."""
        fraction, initial, final = self.exploration
        share = min((1 - self.remaining) / fraction, 1.0) if fraction else 1.0
        return initial + share * (final - initial)

    def act(self) -> Tensor:
        self.freeze()
        return self.collector.act(self.exploration_rate, self.generator)

    def observe(self, choice: Tensor) -> int:
        self._taken += 1
        reset = self.collector.play.reset
        outcome = self.collector.observe(choice)
        if self.reward_scale is not None:
            self.reward_scale(*(torch.from_numpy(x)[None] for x in (outcome.reward, reset, outcome.valid)))
        return len(reset)

    def ready(self) -> bool:
        return self._taken >= self.train_freq

    def update(self) -> dict[str, float]:
        """Learns from replayed sequences; returns figures under Stable-Baselines3's keys."""
        self._taken = 0
        self.note(self.collector.episodes)
        if self.num_timesteps < self.learning_starts or self.replay.num_sequences == 0:
            return {}
        self.thaw()
        rate = self.schedule_rate()
        loss = torch.stack([self._learn_from_batch() for _ in range(self.gradient_steps)]).mean()
        self._update_target()
        figures = {"train/loss": float(loss), "train/learning_rate": rate, "train/n_updates": self.num_updates}
        return figures | {"rollout/exploration_rate": self.exploration_rate} | episode_figures(self.recent)

    def loss(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """The loss of replayed sequences, and the errors [sequence_length, n] behind it."""
        device, learned = self.agent.device, slice(self.burn_in, None)
        arrays = {name: value[learned] for name, value in batch.fields.items() if "." not in name}
        arrays |= {"valid": batch.valid[learned], "weights": batch.weights}
        fields = {name: torch.from_numpy(value).to(device) for name, value in arrays.items()}
        if self.reward_scale is not None:
            fields["reward"] = fields["reward"] / self.reward_scale.deviation
        q, q_target = self.values(batch)
        return sequence_loss(
            q,
            q_target,
            n_step=self.n_step,
            gamma=self.gamma,
            double=self.double,
            rescale_epsilon=self.rescale_epsilon,
            **fields,
        )

    def values(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Action values [sequence_length + n_step, n, A] after the burn-in, with gradient, and the target network's."""
        turns = self.collector.stored.turns(batch.fields)
        reset, *state = (torch.from_numpy(part).to(self.agent.device) for part in (batch.reset, *batch.state))
        q = values_after_burn_in(self.agent, turns, tuple(state), reset, self.burn_in)
        with torch.no_grad():
            return q, values_after_burn_in(self.target, turns, tuple(state), reset, self.burn_in)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        action_masks: Any = None,
    ) -> tuple[Any, Any]:
        """As `Agent.predict`; if not deterministic, any action with probability ε (`exploration_rate`)."""
        actions, state = self.agent.predict(observation, state, episode_start, True, action_masks)
        if deterministic:
            return actions, state
        single = as_batch(self.agent.observation_space, observation)[1]
        best = torch.from_numpy(np.atleast_1d(actions) - self.agent.choices.start)
        mask = None if action_masks is None else torch.from_numpy(np.atleast_2d(np.asarray(action_masks, np.bool_)))
        scores = torch.nn.functional.one_hot(best, self.agent.choices.num_scores).float()
        drawn = self.agent.choices.to_env(epsilon_greedy(scores, self.exploration_rate, mask=mask))
        return (drawn[0] if single else drawn), state

    def save(self, path: str | Path) -> None:
        """Writes the agent, the replay and all else that learning needs to go on into the folder `path`."""
        super().save(path)
        if self.tokenizer is not None:
            self.tokenizer.save(Path(path) / "tokenizer.json")

    @classmethod
    def _saved_parts(cls, folder: Path) -> dict[str, Any]:
        file = folder / "tokenizer.json"
        return {"tokenizer": Tokenizer.load(file)} if file.is_file() else {}

    def state_dict(self) -> dict[str, Any]:
        return (
            super().state_dict()
            | {
                "target": self.target.state_dict(),
                "replay": self.replay.state_dict(),
                "texts": self.collector.stored.texts,
                "target_updated_at": self._target_updated_at,
                "schedule": list(self._schedule),
                "recent": list(self.recent),
            }
            | ({} if self.reward_scale is None else {"reward_scale": self.reward_scale.state_dict()})
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.target.load_state_dict(state["target"])
        self.replay.load_state_dict(state["replay"])
        self.collector.stored.load_texts(state["texts"])
        self._target_updated_at = state["target_updated_at"]
        if self.reward_scale is not None:
            self.reward_scale.load_state_dict(state["reward_scale"])

    def _learn_from_batch(self) -> Tensor:
        beta = self.beta + (1 - self.beta) * (1 - self.remaining)
        batch = self.replay.sample(self.batch_size // self.sequence_length, beta, self.draws)
        loss, td_error = self.loss(batch)
        self.descend(loss)
        learned = slice(self.burn_in, self.burn_in + self.sequence_length)
        self.replay.update_priorities(batch.ids, td_error.cpu().numpy(), batch.valid[learned])
        self.num_updates += 1
        return loss.detach()

    def _update_target(self) -> None:
        if self.num_timesteps - self._target_updated_at < self.target_update_interval:
            return
        self._target_updated_at = self.num_timesteps
        with torch.no_grad():
            for old, new in zip(self.target.parameters(), self.agent.parameters(), strict=True):
                old.lerp_(new, self.tau)
