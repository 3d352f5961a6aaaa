"""Callbacks for `learn`: evaluation, the best weights, early stopping, checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from pyagent.evaluation import evaluate_policy
from pyagent.learning.learner import Learner


class EvalCallback:
    """Evaluates every `eval_freq` timesteps, logs ``eval/mean_reward`` and ``eval/std_reward``, and stops when told.

    Args:
        eval_env: a plain or a vector environment of its own.
        eval_freq: timesteps between evaluations, made after the update that passes them.
        n_eval_episodes, deterministic: as in `pyagent.evaluate_policy`.
        best_path: folder in which the learner is saved whenever it is better than ever before.
        stop_at: ends learning at this mean reward.
        patience: ends learning after so many evaluations in a row without a better one.

    Raises:
        ValueError: `eval_freq` or `patience` below 1.
    """

    def __init__(
        self,
        eval_env: Any,
        *,
        eval_freq: int = 10_000,
        n_eval_episodes: int = 10,
        deterministic: bool = True,
        best_path: str | Path | None = None,
        stop_at: float | None = None,
        patience: int | None = None,
    ) -> None:
        for name, number in (("eval_freq", eval_freq), ("patience", patience)):
            if number is not None and number < 1:
                raise ValueError(f"{name}: want 1 or more, got {number}")
        self.eval_env, self.eval_freq = eval_env, eval_freq
        self.n_eval_episodes, self.deterministic = n_eval_episodes, deterministic
        self.best_path, self.stop_at, self.patience = best_path, stop_at, patience
        self.best_mean_reward = -float("inf")
        self.evaluations: list[tuple[int, float, float]] = []
        """(timesteps, mean reward, standard deviation) of each"""
        self._since_best = 0

    def __call__(self, learner: Learner[Any]) -> bool:
        """False ends learning."""
        last = self.evaluations[-1][0] if self.evaluations else 0
        if learner.num_timesteps // self.eval_freq == last // self.eval_freq:
            return True
        rewards, _ = evaluate_policy(
            learner, self.eval_env, self.n_eval_episodes, self.deterministic, return_episode_rewards=True
        )
        mean, deviation = float(np.mean(rewards)), float(np.std(rewards))
        self.evaluations.append((learner.num_timesteps, mean, deviation))
        learner.log({"eval/mean_reward": mean, "eval/std_reward": deviation})
        self._since_best += 1
        if mean > self.best_mean_reward:
            self.best_mean_reward, self._since_best = mean, 0
            if self.best_path is not None:
                learner.save(self.best_path)
        if self.stop_at is not None and mean >= self.stop_at:
            return False
        return self.patience is None or self._since_best < self.patience


class CheckpointCallback:
    """Saves the learner every `save_freq` timesteps into `path`/<timesteps>; a run that fails leaves them.

    Args:
        path: the folder.
        save_freq: timesteps between checkpoints, made after the update that passes them.
        keep: how many of the last are kept.

    Raises:
        ValueError: `save_freq` or `keep` below 1.
    """

    def __init__(self, path: str | Path, *, save_freq: int = 50_000, keep: int = 3) -> None:
        for name, number in (("save_freq", save_freq), ("keep", keep)):
            if number < 1:
                raise ValueError(f"{name}: want 1 or more, got {number}")
        self.path, self.save_freq, self.keep = Path(path), save_freq, keep
        self.saved: list[Path] = []
        self._last = 0

    def __call__(self, learner: Learner[Any]) -> bool:
        if learner.num_timesteps // self.save_freq != self._last // self.save_freq:
            self._last = learner.num_timesteps
            folder = self.path / str(learner.num_timesteps)
            learner.save(folder)
            self.saved.append(folder)
            while len(self.saved) > self.keep:
                shutil.rmtree(self.saved.pop(0))
        return True
