"""The loss of proximal policy optimisation, forward and gradient in one native pass each.

Of a row with logits z, log p = log softmax(z) over the allowed actions, and ratio ρ = exp(log p_a − old_log_prob):

    policy  = −min(ρ·advantage, clip(ρ, 1 − clip_range, 1 + clip_range)·advantage)
    value   = (v − target)²
    entropy = −Σ_j p_j log p_j
    loss    = policy + vf_coef · value − ent_coef · entropy          each the mean over the rows that count

with ∂policy/∂z_j = −[unclipped] ρ·advantage (1[j = a] − p_j) and ∂entropy/∂z_j = −p_j (log p_j + entropy). Schulman et
al. 2017, "Proximal policy optimization algorithms", https://arxiv.org/abs/1707.06347
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyagent import native
from pyagent.ops.autograd import once_differentiable
from pyagent.ops.checks import check_optional, check_range, check_tensor, first_order_only, one_device
from pyagent.ops.triton_kernels import compiled_for, register

FLOATS = (torch.float32, torch.float64)


class PPOLoss(NamedTuple):
    """The loss and what it is made of, all scalars; the first four are differentiable."""

    loss: Tensor
    policy: Tensor
    value: Tensor
    entropy: Tensor
    approx_kl: Tensor
    """mean of (ratio − 1) − log ratio (Schulman 2020)"""
    clip_fraction: Tensor


def ppo_loss(
    logits: Tensor,
    value: Tensor,
    action: Tensor,
    old_log_prob: Tensor,
    advantage: Tensor,
    target: Tensor,
    *,
    clip_range: float,
    ent_coef: float,
    vf_coef: float,
    mask: Tensor | None = None,
    valid: Tensor | None = None,
) -> PPOLoss:
    """−mean min(ratio·A, clip(ratio, 1±clip_range)·A) + vf_coef·mean (v − target)² − ent_coef·mean entropy.

    Args:
        logits: `[…, A]` now, float32 or float64, normalised or not.
        value: `[…]`, now.
        action: int64 `[…]`, taken, each in [0, A).
        old_log_prob: `[…]`, of it, when it was taken.
        advantage: `[…]`, normalised by the caller if wanted.
        target: `[…]`, what the value should have been.
        clip_range: at least 0.
        mask: bool `[…, A]`, True where an action is allowed: others have probability 0 and no gradient, whatever
            their logit. None: all are.
        valid: bool `[…]`: rows that count; the others have no part, whatever they hold. None: all do.

    Returns:
        the parts, differentiable once in logits and value. NaN where no row counts. Bitwise independent of the number
        of threads.

    Raises:
        ValueError, TypeError: a wrong shape, device or dtype, a number out of range, or a masked action taken.
        IndexError: an action outside [0, A).
        NotImplementedError: under `torch.func` transforms or forward-mode differentiation.
    """
    tensors = (logits, value, action, old_log_prob, advantage, target, mask, valid)
    _check(*tensors)
    if not clip_range >= 0:
        raise ValueError(f"clip_range: got {clip_range}, want a number of at least 0")
    rows, A = logits.shape[:-1].numel(), logits.shape[-1]
    flat = [x if x is None else x.reshape((rows, A) if x is logits or x is mask else rows) for x in tensors]
    numbers = (float(clip_range), float(ent_coef), float(vf_coef))
    if not compiled_for(logits):
        _check_action(action, mask, valid, A)
        return PPOLoss(*ppo_loss_reference(*flat, *numbers))  # type: ignore[arg-type]
    first_order_only("ppo_loss", tensors)
    try:
        if torch.is_grad_enabled() and (logits.requires_grad or value.requires_grad):
            return PPOLoss(*_Loss.apply(*flat, *numbers))
        return PPOLoss(*_forward(*flat, *numbers)[:6])
    except RuntimeError:
        _check_action(action, mask, valid, A)  # names the argument, if an action was at fault
        raise


def ppo_loss_reference(
    logits: Tensor,
    value: Tensor,
    action: Tensor,
    old_log_prob: Tensor,
    advantage: Tensor,
    target: Tensor,
    mask: Tensor | None,
    valid: Tensor | None,
    clip_range: float,
    ent_coef: float,
    vf_coef: float,
) -> tuple[Tensor, ...]:
    """`ppo_loss` of rows `[N, A]` in torch."""
    if mask is not None:
        logits = logits.where(mask, -torch.inf)
    if valid is not None:
        logits, value, action = logits[valid], value[valid], action[valid]
        old_log_prob, advantage, target = old_log_prob[valid], advantage[valid], target[valid]
    log_probabilities = logits.log_softmax(-1)
    log_ratio = log_probabilities.gather(1, action[:, None])[:, 0] - old_log_prob.detach()
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    policy = -torch.minimum(ratio * advantage.detach(), clipped * advantage.detach()).mean()
    value_loss = (value - target.detach()).square().mean()
    finite = log_probabilities.where(log_probabilities > -torch.inf, 0.0)
    entropy = -(log_probabilities.exp() * finite).sum(-1).mean()
    with torch.no_grad():
        approx_kl = (ratio - 1 - log_ratio).mean()
        clip_fraction = (ratio != clipped).to(ratio.dtype).mean()
    return policy + vf_coef * value_loss - ent_coef * entropy, policy, value_loss, entropy, approx_kl, clip_fraction


def _check(
    logits: Tensor,
    value: Tensor,
    action: Tensor,
    old_log_prob: Tensor,
    advantage: Tensor,
    target: Tensor,
    mask: Tensor | None,
    valid: Tensor | None,
) -> None:
    check_tensor("logits", logits, [*["…"] * (logits.dim() - 1 if isinstance(logits, Tensor) else 0), "A"], FLOATS)
    rows, dtype, device = list(logits.shape[:-1]), (logits.dtype,), logits.device
    check_tensor("value", value, rows, dtype, device)
    check_tensor("action", action, rows, (torch.int64,), device)
    check_tensor("old_log_prob", old_log_prob, rows, dtype, device)
    check_tensor("advantage", advantage, rows, dtype, device)
    check_tensor("target", target, rows, dtype, device)
    check_optional("mask", mask, list(logits.shape), (torch.bool,), device)
    check_optional("valid", valid, rows, (torch.bool,), device)


def _check_action(action: Tensor, mask: Tensor | None, valid: Tensor | None, A: int) -> None:
    counted = torch.ones_like(action, dtype=torch.bool) if valid is None else valid
    check_range("action", action[counted], 0, A)
    if mask is not None:
        masked = counted & ~mask.gather(-1, action.where(counted, 0).unsqueeze(-1)).squeeze(-1)
        if masked.any():
            raise ValueError(f"action: that of row {tuple(masked.nonzero()[0].tolist())} is masked")


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        results = _forward(*arguments)
        parts, saved = results[:6], results[6:]
        logits, value, action, _, _, target, _, valid, _, *ctx.coefficients = arguments
        ctx.save_for_backward(logits, value, action, target, valid, *saved)
        ctx.mark_non_differentiable(*parts[4:])
        ctx.set_materialize_grads(False)
        return parts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        grad_logits, grad_value = _backward(*grads[:4], *ctx.saved_tensors, *ctx.coefficients)
        need = ctx.needs_input_grad
        return grad_logits if need[0] else None, grad_value if need[1] else None, *(None,) * 9


if native.available:
    _forward = torch.ops.pyagent.ppo_loss_forward.default
    _backward = torch.ops.pyagent.ppo_loss_backward.default
    for _op in ("ppo_loss_forward", "ppo_loss_backward"):
        register(_op, "ppo_loss")

    @torch.library.register_fake("pyagent::ppo_loss_forward")
    def _(  # noqa: ANN202
        logits,  # noqa: ANN001
        value,  # noqa: ANN001
        action,  # noqa: ANN001
        old_log_prob,  # noqa: ANN001
        advantage,  # noqa: ANN001
        target,  # noqa: ANN001
        mask,  # noqa: ANN001
        valid,  # noqa: ANN001
        clip_range,  # noqa: ANN001
        ent_coef,  # noqa: ANN001
        vf_coef,  # noqa: ANN001
    ):
        one_device("ppo_loss_forward", (logits, value, action, old_log_prob, advantage, target, mask, valid))
        parts, rows = ([logits.new_empty(shape) for _ in range(n)] for shape, n in (((), 6), (value.shape, 4)))
        return *parts, logits.new_empty(logits.shape), *rows

    @torch.library.register_fake("pyagent::ppo_loss_backward")
    def _(  # noqa: ANN202
        grad_loss,  # noqa: ANN001
        grad_policy,  # noqa: ANN001
        grad_value_loss,  # noqa: ANN001
        grad_entropy,  # noqa: ANN001
        logits,  # noqa: ANN001
        value,  # noqa: ANN001
        *rest,  # noqa: ANN002
    ):
        one_device("ppo_loss_backward", (logits, value, *(x for x in rest if isinstance(x, Tensor))))
        return logits.new_empty(logits.shape), value.new_empty(value.shape)
