"""Recurrent REINFORCE."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from typing_extensions import Unpack

from pyagent.agents import Rollout
from pyagent.learning.a2c import A2C
from pyagent.learning.on_policy import OnPolicyKeywords


class Reinforce(A2C):
    """Plays one whole episode in every lane, then takes one step up the policy gradient with the rewards that
    really followed:

        loss = −mean (G − v)·log π(a) + vf_coef·mean (v − G)² − ent_coef·mean entropy

    with G_t = r_t + γ·G_{t+1} to the episode's end and the value v as baseline; `vf_coef` 0 leaves v where it was. An
    episode that was cut short (truncated) goes on with the value of its last observation.

    Args:
        env: see `OnPolicy`, which also explains all other keywords; `n_steps` and `gae_lambda` are not for it. Defaults
            that differ: `learning_rate` 3e-3, `num_envs` 16, which is the number of episodes an update.
        most_steps: an update is made after so many steps of every lane even where episodes still go on; only whole
            episodes are learned from.

    Raises:
        ValueError: `n_steps` or `gae_lambda` was given.

    Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement learning"
    """

    def __init__(self, env: Any, *, most_steps: int = 1000, **keywords: Unpack[OnPolicyKeywords]) -> None:
        for name in ("n_steps", "gae_lambda"):
            if name in keywords:
                raise ValueError(f"{name}: REINFORCE learns from whole episodes as they were; it has no {name}")
        if most_steps < 1:
            raise ValueError(f"most_steps: want 1 or more, got {most_steps}")
        defaults: OnPolicyKeywords = {"learning_rate": 3e-3, "num_envs": 16, "normalize_advantage": True}
        super().__init__(env, **(defaults | keywords))
        self.most_steps = most_steps
        self.settings = {k: v for k, v in self.settings.items() if k not in ("n_steps", "gae_lambda")}
        self.settings["most_steps"] = most_steps

    def begin(self, total_timesteps: int) -> None:
        super().begin(total_timesteps)
        self._lengths = np.zeros(self.interaction.play.num_lanes, dtype=np.int64)

    def observe(self, choice: np.ndarray) -> int:
        taken = super().observe(choice)
        first_end = self.outcome.ended & (self._lengths == 0)
        self._lengths[first_end] = self._taken
        return taken

    def ready(self) -> bool:
        return self._taken > 0 and (bool(self._lengths.all()) or self._taken >= self.most_steps)

    def update(self) -> dict[str, float]:
        figures = super().update()
        self._lengths[:] = 0
        self.interaction.restart()
        return figures

    def _learn_from(self, rollout: Rollout) -> dict[str, float]:
        steps = torch.arange(len(rollout.valid), device=rollout.valid.device)[:, None]
        in_episode = steps < torch.from_numpy(self._lengths).to(steps.device)
        if not in_episode.any():
            return {}
        return super()._learn_from(replace(rollout, valid=in_episode))
