"""Supervised fine-tuning of a language agent on prompts and responses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyagent.agents import LanguageAgent
from pyagent.learning.episode_packing import pack_episodes, shuffled_batches
from pyagent.learning.learner import Learner
from pyagent.learning.logger import Logger
from pyagent.learning.seeding import derived_seed
from pyagent.learning.vector_env import new_language_agent, vector_env

Episode = Sequence[tuple[str, str]]
"""(prompt, response) of every turn"""
LANES = 32


class Supervised(Learner[LanguageAgent]):
    """Learns to respond as demonstrated: cross-entropy on the response alone (its words and ``<eos>``), given the turns
    of the episode so far.

    With early stopping it ends when the loss on held-out episodes has not fallen for `patience` epochs, and goes back
    to the weights of its lowest.

    Args:
        env: the environment that the demonstrations are of: an id, an environment or a vector environment.
        demonstrations: episodes of (prompt, response), or how many to collect from the level's bot.
        agent: what learns; a new one where none is given, of `cell`, `hidden_size` and `num_layers`.
        held_out: share of the episodes that are not learned from, those at the end.
        learning_rate, weight_decay: of AdamW.
        dropout: share of what is read of a turn that the core does not see, drawn anew in every batch.
        batch_size: turns a batch, about: episodes stay whole.
        max_grad_norm: longest gradient.
        patience: epochs without a fall of the held-out loss before it stops.
        early_stopping: False goes on until `learn` has had its timesteps, and keeps the last weights.
        seed: of everything.
        precision: ``"float32"``, or ``"bfloat16"`` for products in bfloat16.
        verbose, tensorboard_log, device: as in Stable-Baselines3.
        logger: takes the figures instead of `tensorboard_log`.

    Raises:
        ValueError: fewer than two episodes, an empty episode, or a number out of range.
    """

    def __init__(
        self,
        env: Any,
        *,
        demonstrations: int | Sequence[Episode] = 1000,
        agent: LanguageAgent | None = None,
        held_out: float = 0.1,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.01,
        dropout: float = 0.0,
        batch_size: int = 256,
        max_grad_norm: float = 1.0,
        patience: int = 4,
        early_stopping: bool = True,
        cell: str = "gru",
        hidden_size: int = 128,
        num_layers: int = 1,
        seed: int = 0,
        precision: str = "float32",
        verbose: int = 0,
        tensorboard_log: str | Path | None = None,
        device: str = "cpu",
        logger: Logger | None = None,
    ) -> None:
        if not 0 < held_out < 1:
            raise ValueError(f"held_out: want a share between 0 and 1, got {held_out}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: want a share in [0, 1), got {dropout}")
        if batch_size < 1 or patience < 1:
            raise ValueError(f"batch_size and patience: want 1 or more, got {batch_size} and {patience}")
        settings = {
            "held_out": held_out,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "dropout": dropout,
            "batch_size": batch_size,
            "max_grad_norm": max_grad_norm,
            "patience": patience,
            "early_stopping": early_stopping,
            "seed": seed,
            "device": device,
        }
        episodes = _episodes(env, demonstrations, seed)
        settings["demonstrations"] = demonstrations if isinstance(demonstrations, int) else _as_lists(episodes)
        if agent is None:
            sizes = {"cell": cell, "hidden_size": hidden_size, "num_layers": num_layers}
            texts = [text for episode in episodes for turn in episode for text in turn]
            agent = new_language_agent(vector_env(env, 1, seed), seed, texts, **sizes)
        super().__init__(
            env, agent, settings, precision=precision, logger=logger, tensorboard_log=tensorboard_log, verbose=verbose
        )
        self.agent.to(device)
        self.batch_size, self.max_grad_norm, self.patience, self.seed = batch_size, max_grad_norm, patience, seed
        self.early_stopping, self.dropout = early_stopping, dropout
        parameters = self.agent.parameters()
        self.optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)
        cut = min(max(round(len(episodes) * (1 - held_out)), 1), len(episodes) - 1)
        self.training, self.held_out = _Turns(self.agent, episodes[:cut]), _Turns(self.agent, episodes[cut:])
        self.epoch = 0
        self.best_loss, self.best_epoch = float("inf"), -1
        self.best_accuracy = 0.0
        self._best_weights: dict[str, Tensor] = {}
        self._next = 0
        self._batches = self._epoch_batches()
        self._chosen: list[int] = []
        self._losses: list[float] = []

    def begin(self, total_timesteps: int) -> None:
        self.agent.train()

    def end(self) -> None:
        self.agent.eval()
        if self.finished:
            self.agent.load_state_dict(self._best_weights)

    def act(self) -> list[int]:
        """The next episodes to learn from."""
        return self._batches[self._next]

    def observe(self, choice: list[int]) -> int:
        """Takes them; returns their turns."""
        self._chosen = choice
        return sum(self.training.lengths[episode] for episode in choice)

    def ready(self) -> bool:
        return bool(self._chosen)

    def update(self) -> dict[str, float]:
        """One step of the optimiser; at an epoch's end the held-out loss and accuracy as well."""
        loss, _ = self.training.loss(self.agent, self._chosen, self._dropout())
        self._chosen = []
        self.descend(loss)
        self._losses.append(float(loss.detach()))
        self._next += 1
        return self._end_epoch() if self._next == len(self._batches) else {}

    @torch.no_grad()
    def evaluate(self) -> tuple[float, float]:
        """Held-out loss a response, and the share of responses that are right in every word."""
        self.agent.eval()
        loss, right = self.held_out.loss(self.agent, list(range(len(self.held_out.lengths))))
        self.agent.train()
        return float(loss), float(right)

    def _dropout(self) -> Dropout | None:
        if self.dropout == 0:
            return None
        seed = derived_seed(self.seed, 4, self.epoch, self._next)  # the same wherever learning was interrupted
        return Dropout(self.dropout, torch.Generator().manual_seed(seed))

    def _end_epoch(self) -> dict[str, float]:
        loss, accuracy = self.evaluate()
        if loss < self.best_loss:
            self.best_loss, self.best_accuracy, self.best_epoch = loss, accuracy, self.epoch
            self._best_weights = {name: weight.clone() for name, weight in self.agent.state_dict().items()}
        self.finished = self.early_stopping and self.epoch - self.best_epoch >= self.patience
        figures = {"train/loss": float(np.mean(self._losses)), "eval/loss": loss, "eval/accuracy": accuracy}
        figures["train/epoch"] = self.epoch
        self.epoch += 1
        self._next, self._losses = 0, []
        self._batches = self._epoch_batches()
        return figures

    def _epoch_batches(self) -> list[list[int]]:
        return shuffled_batches(self.training.lengths, self.batch_size, derived_seed(self.seed, 2, self.epoch))

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {
            "epoch": self.epoch,
            "next": self._next,
            "losses": self._losses,
            "finished": self.finished,
            "best": [self.best_loss, self.best_accuracy, self.best_epoch],
            "best_weights": self._best_weights,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.epoch, self._next = state["epoch"], state["next"]
        self.finished = self.early_stopping and state["finished"]
        self.best_loss, self.best_accuracy, self.best_epoch = state["best"]
        self._losses = list(state["losses"])
        self._best_weights = dict(state["best_weights"])
        self._batches = self._epoch_batches()


class Dropout(NamedTuple):
    """Zeros a share of numbers, drawn by a CPU generator, and scales the others so that the mean stays."""

    share: float
    generator: torch.Generator

    def __call__(self, numbers: Tensor) -> Tensor:
        kept = torch.rand(numbers.shape, generator=self.generator) >= self.share
        return numbers * (kept / (1 - self.share)).to(numbers)


class _Turns:
    """Episodes as tensors: all prompts and responses prepared once."""

    def __init__(self, agent: LanguageAgent, episodes: Sequence[Episode]) -> None:
        turns = [turn for episode in episodes for turn in episode]
        self.lengths = [len(episode) for episode in episodes]
        self.first = np.concatenate(([0], np.cumsum(self.lengths)))
        prompts, responses = [prompt for prompt, _ in turns], [response for _, response in turns]
        self.prompts = agent.understanding.prepare(prompts)
        self.responses = agent.prepare_responses(prompts, responses)

    def loss(self, agent: LanguageAgent, chosen: list[int], dropout: Dropout | None = None) -> tuple[Tensor, Tensor]:
        """Loss and accuracy of the responses of some episodes."""
        row, reset = (x.to(agent.device) for x in pack_episodes([self.lengths[i] for i in chosen], LANES))
        there = row >= 0
        numbers = np.concatenate([np.arange(self.first[i], self.first[i + 1]) for i in chosen])
        rows = torch.from_numpy(numbers).to(agent.device)[row[there]]
        read = agent.understanding(self.prompts.select(rows))
        if dropout is not None:
            read = dropout(read)
        turns = read.new_zeros(*row.shape, read.shape[1]).masked_scatter(there[..., None], read)
        return agent.response_loss(turns, reset, there, self.responses.select(rows))


def _episodes(env: Any, demonstrations: int | Sequence[Episode], seed: int) -> list[Episode]:
    if isinstance(demonstrations, int):
        if not isinstance(env, str):
            raise ValueError("demonstrations: give the episodes themselves where env is not a task's id")
        from pyagent.envs import demonstrations as collect

        demonstrations = collect(env, demonstrations, seed)
    if len(demonstrations) < 2 or any(not episode for episode in demonstrations):
        raise ValueError("demonstrations: want at least two episodes, and at least one turn in each")
    return list(demonstrations)


def _as_lists(episodes: Sequence[Episode]) -> list[list[list[str]]]:
    return [[list(turn) for turn in episode] for episode in episodes]
