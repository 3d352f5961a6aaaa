"""The loss of proximal policy optimisation."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class PPOLoss(NamedTuple):
    """The loss and what it is made of, all scalars."""

    loss: Tensor
    policy: Tensor
    value: Tensor
    entropy: Tensor
    approx_kl: Tensor
    """mean of (ratio − 1) − log ratio (Schulman 2020)"""
    clip_fraction: Tensor


def ppo_loss(
    log_probabilities: Tensor,
    value: Tensor,
    action: Tensor,
    old_log_prob: Tensor,
    advantage: Tensor,
    target: Tensor,
    *,
    clip_range: float,
    ent_coef: float,
    vf_coef: float,
) -> PPOLoss:
    """−mean min(ratio·A, clip(ratio, 1±clip_range)·A) + vf_coef·mean (v − target)² − ent_coef·mean entropy.

    Args:
        log_probabilities: [N, A] of all actions, now; −inf for those that cannot be taken.
        value: [N], now.
        action: int64 [N], taken.
        old_log_prob: [N], of it, when it was taken.
        advantage: [N], normalised by the caller if wanted.
        target: [N], what the value should have been.

    Schulman et al. 2017, "Proximal policy optimization algorithms", https://arxiv.org/abs/1707.06347
    """
    log_ratio = log_probabilities.gather(1, action[:, None])[:, 0] - old_log_prob
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    policy = -torch.minimum(ratio * advantage, clipped * advantage).mean()
    value_loss = (value - target).square().mean()
    # An action that cannot be taken (−inf) adds nothing: p·log p → 0.
    possible = log_probabilities.masked_fill(log_probabilities == -torch.inf, 0.0)
    entropy = -(possible.exp() * possible).sum(-1).mean()
    with torch.no_grad():
        approx_kl = (ratio - 1 - log_ratio).mean()
        clip_fraction = (ratio != clipped).float().mean()
    loss = policy + vf_coef * value_loss - ent_coef * entropy
    return PPOLoss(loss, policy, value_loss, entropy, approx_kl, clip_fraction)
