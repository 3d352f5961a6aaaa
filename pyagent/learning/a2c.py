"""Recurrent advantage actor-critic."""

from __future__ import annotations

from typing import Any

import torch
from typing_extensions import Unpack

from pyagent.agents import Rollout
from pyagent.learning.on_policy import OnPolicy, OnPolicyKeywords, explained_variance


class A2C(OnPolicy):
    """Takes one step up the policy gradient from each short rollout of all lanes:

        loss = −mean A·log π(a) + vf_coef·mean (v − target)² − ent_coef·mean entropy

    Args:
        env: see `OnPolicy`, which also explains all other keywords. Defaults that differ there are those of
            Stable-Baselines3: `n_steps` 8, `learning_rate` 7e-4, `gae_lambda` 1, advantages as they are.

    Mnih et al. 2016, "Asynchronous methods for deep reinforcement learning", https://arxiv.org/abs/1602.01783
    """

    def __init__(self, env: Any, **keywords: Unpack[OnPolicyKeywords]) -> None:
        defaults: OnPolicyKeywords = {
            "n_steps": 8,
            "learning_rate": 7e-4,
            "gae_lambda": 1.0,
            "normalize_advantage": False,
        }
        super().__init__(env, {}, **(defaults | keywords))
        self.optimizer = torch.optim.RMSprop(self.agent.parameters(), lr=self.rate(1.0), alpha=0.99, eps=1e-5)

    def _learn_from(self, rollout: Rollout) -> dict[str, float]:
        advantage, target = self.advantages(rollout)
        return self.actor_critic_step(rollout, advantage, target)

    def actor_critic_step(self, rollout: Rollout, advantage: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
        """One step down the loss of the whole rollout; returns figures."""
        valid, choices = rollout.valid, self.agent.choices
        scores, value = self.replay(rollout)
        likely = choices.log_probabilities(scores, rollout.mask)[valid]
        log_prob = choices.log_prob(likely, rollout.action[valid])
        policy = -(log_prob * advantage[valid]).mean()
        value = (value[valid] - target[valid]).square().mean()
        entropy = choices.entropy(likely).mean()
        loss = self.vf_coef * value
        if self.num_updates >= self.value_warmup:
            loss = loss + policy - self.ent_coef * entropy
        self.descend(loss)
        return {
            "train/loss": float(loss.detach()),
            "train/policy_loss": float(policy.detach()),
            "train/value_loss": float(value.detach()),
            "train/entropy_loss": -float(entropy.detach()),
            "train/explained_variance": explained_variance(rollout, target),
        }
