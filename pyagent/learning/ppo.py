"""Recurrent proximal policy optimisation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from pyagent.agents import Rollout
from pyagent.agents.interaction import split_lanes
from pyagent.learning.choices_loss import ppo_loss_of_choices
from pyagent.learning.on_policy import OnPolicy, OnPolicyKeywords, explained_variance
from pyagent.ops import PPOLoss, ppo_loss


class PPO(OnPolicy):
    """Learns from each rollout several times, in minibatches of whole lanes, within a clipped distance.

    Args:
        env: see `OnPolicy`, which also explains all other keywords.
        batch_size: turns a minibatch; a multiple of `n_steps`, as lanes are learned from whole.
        n_epochs: passes over a rollout.
        clip_range: as in Stable-Baselines3.
        target_kl: ends the epochs over a rollout, as in Stable-Baselines3, after a minibatch on which the policy is
            further than 1.5 times this from the one that played; None never does.

    Raises:
        ValueError: `batch_size` is not a multiple of `n_steps`, or a number is out of range.
        TypeError: spaces of another kind.

    Schulman et al. 2017, "Proximal policy optimization algorithms", https://arxiv.org/abs/1707.06347
    """

    def __init__(
        self,
        env: Any,
        *,
        batch_size: int = 1024,
        n_epochs: int = 8,
        clip_range: float = 0.2,
        target_kl: float | None = 0.03,
        **keywords: Unpack[OnPolicyKeywords],
    ) -> None:
        if n_epochs < 1:
            raise ValueError(f"n_epochs: want 1 or more, got {n_epochs}")
        if target_kl is not None and not target_kl > 0:
            raise ValueError(f"target_kl: want more than 0, got {target_kl}")
        own = {"batch_size": batch_size, "n_epochs": n_epochs, "clip_range": clip_range, "target_kl": target_kl}
        super().__init__(env, own, **keywords)
        if batch_size < 1 or batch_size % self.n_steps:
            raise ValueError(f"batch_size: want a multiple of n_steps={self.n_steps}, got {batch_size}")
        self.batch_size, self.n_epochs, self.clip_range, self.target_kl = batch_size, n_epochs, clip_range, target_kl
        self.optimizer = torch.optim.Adam(self.agent.parameters(), lr=self.rate(1.0), eps=1e-5, fused=True)

    def loss(self, rollout: Rollout, advantage: Tensor, target: Tensor) -> PPOLoss:
        """The loss over a rollout, or some lanes of it; turns whose action was ignored have no part in it."""
        scores, value = self.replay(rollout)
        choices, mask, valid = self.agent.choices, rollout.mask, rollout.valid
        coefficients = {"clip_range": self.clip_range, "ent_coef": self.ent_coef, "vf_coef": self.vf_coef}
        action, old = rollout.action, rollout.log_prob
        if choices.is_single:
            return ppo_loss(scores, value, action, old, advantage, target, mask=mask, valid=valid, **coefficients)
        likely = choices.log_probabilities(scores, mask)
        rows = (choices.log_prob(likely, action), choices.entropy(likely), value, old, advantage, target)
        return ppo_loss_of_choices(*(row[valid] for row in rows), **coefficients)

    def _learn_from(self, rollout: Rollout) -> dict[str, float]:
        advantage, target = self.advantages(rollout)
        losses: list[PPOLoss] = []
        for minibatch in self._minibatches(self.read_once(rollout), advantage, target):
            losses.append(self._step_on(*minibatch))
            if self.target_kl is not None and float(losses[-1].approx_kl) > 1.5 * self.target_kl:
                break
        mean = PPOLoss(*(torch.stack(parts).mean() for parts in zip(*losses, strict=True)))
        return {
            "train/loss": float(mean.loss),
            "train/policy_gradient_loss": float(mean.policy),
            "train/value_loss": float(mean.value),
            "train/entropy_loss": -float(mean.entropy),
            "train/approx_kl": float(mean.approx_kl),
            "train/clip_fraction": float(mean.clip_fraction),
            "train/explained_variance": explained_variance(rollout, target),
        }

    def _minibatches(self, rollout: Rollout, *per_turn: Tensor) -> Iterator[tuple[Any, ...]]:
        """Parts of the rollout with those of what there is [T, B] besides, in another order every epoch."""
        lanes = max(self.batch_size // self.n_steps, 1)
        for _ in range(self.n_epochs):
            order = torch.randperm(rollout.valid.shape[1], generator=self.generator).to(self.agent.device)
            yield from zip(rollout.split(order, lanes), *(split_lanes(x, order, lanes) for x in per_turn), strict=True)

    def _step_on(self, rollout: Rollout, advantage: Tensor, target: Tensor) -> PPOLoss:
        losses = self.loss(rollout, advantage, target)
        self.descend(self.vf_coef * losses.value if self.num_updates < self.value_warmup else losses.loss)
        return PPOLoss(*(part.detach() for part in losses))
