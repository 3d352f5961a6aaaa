"""The loss of proximal policy optimisation where an action is several choices at once."""

from __future__ import annotations

import torch
from torch import Tensor

from pyagent.ops import PPOLoss


def ppo_loss_of_choices(
    log_prob: Tensor,
    entropy: Tensor,
    value: Tensor,
    old_log_prob: Tensor,
    advantage: Tensor,
    target: Tensor,
    *,
    clip_range: float,
    ent_coef: float,
    vf_coef: float,
) -> PPOLoss:
    """`pyagent.ops.ppo_loss` from the choices' log-probabilities and entropies, each summed over an action's choices.

    Args:
        log_prob: [N], of the action taken, now.
        entropy: [N], of the policy, now.
        value: [N], now.
        old_log_prob: [N], of the action when it was taken.
        advantage: [N], normalised by the caller if wanted.
        target: [N], what the value should have been.
    """
    log_ratio = log_prob - old_log_prob
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    policy = -torch.minimum(ratio * advantage, clipped * advantage).mean()
    value_loss = (value - target).square().mean()
    entropy = entropy.mean()
    with torch.no_grad():
        approx_kl = (ratio - 1 - log_ratio).mean()
        clip_fraction = (ratio != clipped).float().mean()
    loss = policy + vf_coef * value_loss - ent_coef * entropy
    return PPOLoss(loss, policy, value_loss, entropy, approx_kl, clip_fraction)
