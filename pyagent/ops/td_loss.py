"""Temporal-difference errors of action values, and their losses.

With a target y the error of step t−1 is

    δ = y − q_tm1[a_tm1]                 y = h(r_t + discount_t · h⁻¹(v_t))

v_t is the value of the next state: max_a q_t[a], or q_t[argmax_a q_t_selector[a]] (double Q-learning); h is the
identity or value rescaling (`pyagent.ops.signed_hyperbolic`). Targets carry no gradient, whatever they are made of:
∂δ/∂q_tm1[a_tm1] = −1 is all there is. The loss of an error is δ²/2, or Huber's min(|δ|, κ)(|δ| − min(|δ|, κ)/2).

For n steps let r_t be the discounted sum of n rewards, discount_t the product of n discounts and q_t those of n steps
later; or, where windows end early, take `bootstrap_value` into `n_step_returns` and its result into `td_loss`.

Watkins & Dayan 1992, "Q-learning"; van Hasselt et al. 2016, "Deep reinforcement learning with double Q-learning",
https://arxiv.org/abs/1509.06461; Kapturowski et al. 2019, "Recurrent experience replay in distributed reinforcement
learning" (R2D2: double, n-step and rescaled).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyagent import native
from pyagent.ops.autograd import once_differentiable
from pyagent.ops.checks import check_optional, check_range, check_tensor, first_order_only, one_device
from pyagent.ops.triton_kernels import compiled_for, register
from pyagent.ops.value_rescaling import signed_hyperbolic, signed_parabolic

FLOATS = (torch.float32, torch.float64)


class TDLoss(NamedTuple):
    """What a temporal-difference loss returns."""

    loss: Tensor
    """scalar, differentiable in q_tm1"""
    td_error: Tensor
    """`[T, B]`, without gradient: what priorities are made of"""


def q_learning_td_error(q_tm1: Tensor, a_tm1: Tensor, r_t: Tensor, discount_t: Tensor, q_t: Tensor) -> Tensor:
    """r_t + discount_t · max_a q_t[a] − q_tm1[a_tm1], with gradient to q_tm1 only.

    Args:
        q_tm1: action values `[T, B, A]`, float32 or float64.
        a_tm1: actions taken, int64 `[T, B]`, each in [0, A).
        r_t: rewards `[T, B]`.
        discount_t: `[T, B]`, γ where the episode goes on after r_t and 0 where it terminated there.
        q_t: action values of the next state, `[T, B, A]`.

    Returns:
        `[T, B]`. NaN in an argument is NaN in its error. Bitwise independent of the number of threads.

    Raises:
        ValueError, TypeError: a wrong shape, device or dtype.
        IndexError: an action outside [0, A).
        NotImplementedError: under `torch.func` transforms or forward-mode differentiation.
    """
    return _td_error(q_tm1, a_tm1, r_t, discount_t, q_t, None)


def double_q_learning_td_error(
    q_tm1: Tensor, a_tm1: Tensor, r_t: Tensor, discount_t: Tensor, q_t: Tensor, q_t_selector: Tensor
) -> Tensor:
    """r_t + discount_t · q_t[argmax_a q_t_selector[a]] − q_tm1[a_tm1], with gradient to q_tm1 only.

    As `q_learning_td_error`, and q_t_selector `[T, B, A]`: the values that choose the action which q_t judges; of
    equal ones the first is chosen.
    """
    if q_t_selector is None:
        raise TypeError("q_t_selector: got NoneType, want a tensor")
    return _td_error(q_tm1, a_tm1, r_t, discount_t, q_t, q_t_selector)


def q_learning_loss(
    q_tm1: Tensor,
    a_tm1: Tensor,
    r_t: Tensor,
    discount_t: Tensor,
    q_t: Tensor,
    *,
    q_t_selector: Tensor | None = None,
    weights: Tensor | None = None,
    huber_delta: float | None = None,
    rescale_epsilon: float | None = None,
) -> TDLoss:
    """The mean loss of (double) Q-learning's errors; forward and gradient are one pass.

    Args:
        q_tm1, a_tm1, r_t, discount_t, q_t, q_t_selector: as in `double_q_learning_td_error`; without a selector as in
            `q_learning_td_error`.
        weights: importance weights `[B]` or `[T, B]`. A step of weight 0 is masked: whatever it holds, it has no part
            in the loss, its td_error is 0, and the mean is over the others.
        huber_delta: κ > 0 of Huber's loss; None: half the square.
        rescale_epsilon: ε ≥ 0 of value rescaling; None: none.

    Returns:
        loss: Σ weight · loss(δ) over the number of steps whose weight is not 0 (NaN if there are none).
        td_error: the δ, without gradient.

    Raises:
        ValueError, TypeError: a wrong shape, device or dtype, or a number out of range.
        IndexError: an action outside [0, A).
        NotImplementedError: under `torch.func` transforms or forward-mode differentiation.
    """
    return _loss(q_tm1, a_tm1, r_t, discount_t, q_t, q_t_selector, weights, huber_delta, rescale_epsilon)


def td_loss(
    q_tm1: Tensor,
    a_tm1: Tensor,
    target: Tensor,
    *,
    weights: Tensor | None = None,
    huber_delta: float | None = None,
    rescale_epsilon: float | None = None,
) -> TDLoss:
    """`q_learning_loss` of targets `[T, B]` made elsewhere, before rescaling: δ = h(target) − q_tm1[a_tm1]."""
    return _loss(q_tm1, a_tm1, target, None, None, None, weights, huber_delta, rescale_epsilon, target_name="target")


def bootstrap_value(q_t: Tensor, q_t_selector: Tensor | None = None, *, rescale_epsilon: float | None = None) -> Tensor:
    """h⁻¹(max_a q_t[a]), or h⁻¹(q_t[argmax_a q_t_selector[a]]): the value `[T, B]` of a state, without gradient.

    Arguments and errors are those of `q_learning_loss`.
    """
    arguments = (q_t.detach(), None if q_t_selector is None else q_t_selector.detach(), rescale_epsilon)
    _check_rescaling(rescale_epsilon)
    check_tensor("q_t", q_t, ["T", "B", "A"], FLOATS)
    check_optional("q_t_selector", q_t_selector, list(q_t.shape), (q_t.dtype,), q_t.device)
    _check_actions("q_t", q_t)
    if compiled_for(q_t):
        return torch.ops.pyagent.bootstrap_value.default(*arguments)
    return bootstrap_value_reference(*arguments)


def bootstrap_value_reference(q_t: Tensor, q_t_selector: Tensor | None, rescale_epsilon: float | None) -> Tensor:
    """`bootstrap_value` in torch."""
    if q_t_selector is None:
        value = q_t.amax(-1)
    else:
        value = q_t.gather(-1, q_t_selector.argmax(-1, keepdim=True)).squeeze(-1)
        value = value.where(~q_t_selector.isnan().any(-1), torch.nan)
    return value if rescale_epsilon is None else signed_parabolic(value, rescale_epsilon)


def td_loss_reference(
    q_tm1: Tensor,
    a_tm1: Tensor,
    r_t: Tensor,
    discount_t: Tensor | None = None,
    q_t: Tensor | None = None,
    q_t_selector: Tensor | None = None,
    weights: Tensor | None = None,
    huber_delta: float | None = None,
    rescale_epsilon: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Loss and td_error of every function here in torch, both with gradient to q_tm1."""
    with torch.no_grad():
        target = r_t
        if q_t is not None and discount_t is not None:
            target = r_t + discount_t * bootstrap_value_reference(q_t, q_t_selector, rescale_epsilon)
        if rescale_epsilon is not None:
            target = signed_hyperbolic(target, rescale_epsilon)
    td_error = target - q_tm1.gather(-1, a_tm1.unsqueeze(-1)).squeeze(-1)
    weight = torch.ones_like(target) if weights is None else weights.expand_as(target)
    td_error = td_error.where(weight != 0, 0.0)
    zero = torch.zeros_like(td_error)
    losses = td_error.square() / 2
    if huber_delta is not None:
        losses = torch.nn.functional.huber_loss(td_error, zero, reduction="none", delta=huber_delta)
    return (weight * losses).sum() / (weight != 0).sum(), td_error


def _td_error(
    q_tm1: Tensor, a_tm1: Tensor, r_t: Tensor, discount_t: Tensor, q_t: Tensor, q_t_selector: Tensor | None
) -> Tensor:
    arguments = (q_tm1, a_tm1, r_t, discount_t, q_t, q_t_selector)
    if not _compiled(q_tm1) or discount_t is None or q_t is None:
        _check(*arguments)
        check_range("a_tm1", a_tm1, 0, q_tm1.shape[-1])
        return td_loss_reference(*arguments)[1]
    first_order_only("td_error", arguments)
    try:
        _, td_error, _ = _forward(*arguments, None, None, None)
        if torch.is_grad_enabled() and q_tm1.requires_grad:
            return _TDError.apply(q_tm1, (td_error, a_tm1))
        return td_error
    except RuntimeError:
        _check(*arguments)  # names the argument, if one was at fault
        check_range("a_tm1", a_tm1, 0, q_tm1.shape[-1])
        raise


def _loss(
    q_tm1: Tensor,
    a_tm1: Tensor,
    r_t: Tensor,
    discount_t: Tensor | None,
    q_t: Tensor | None,
    q_t_selector: Tensor | None,
    weights: Tensor | None,
    huber_delta: float | None,
    rescale_epsilon: float | None,
    target_name: str = "r_t",
) -> TDLoss:
    _check_rescaling(rescale_epsilon)
    if huber_delta is not None and not huber_delta > 0:
        raise ValueError(f"huber_delta: got {huber_delta}, want a number above 0")
    arguments = (q_tm1, a_tm1, r_t, discount_t, q_t, q_t_selector, weights)
    settings = (huber_delta, rescale_epsilon)
    if not _compiled(q_tm1) or (target_name == "r_t" and (discount_t is None or q_t is None)):
        _check(*arguments, target_name)
        check_range("a_tm1", a_tm1, 0, q_tm1.shape[-1])
        loss, td_error = td_loss_reference(*arguments, *settings)
        return TDLoss(loss, td_error.detach())
    first_order_only("td_loss", arguments)
    try:
        loss, td_error, grad_q_a = _forward(*arguments, *settings)
        if torch.is_grad_enabled() and q_tm1.requires_grad:
            loss = _Loss.apply(q_tm1, (loss, grad_q_a, a_tm1))
        return TDLoss(loss, td_error)
    except RuntimeError:
        _check(*arguments, target_name)  # names the argument, if one was at fault
        check_range("a_tm1", a_tm1, 0, q_tm1.shape[-1])
        raise


def _compiled(q_tm1: Tensor) -> bool:
    return isinstance(q_tm1, Tensor) and compiled_for(q_tm1)


def _check(
    q_tm1: Tensor,
    a_tm1: Tensor,
    r_t: Tensor,
    discount_t: Tensor | None,
    q_t: Tensor | None,
    q_t_selector: Tensor | None,
    weights: Tensor | None = None,
    target_name: str = "r_t",
) -> None:
    check_tensor("q_tm1", q_tm1, ["T", "B", "A"], FLOATS)
    T, B, A = q_tm1.shape
    dtype, device = (q_tm1.dtype,), q_tm1.device
    check_tensor("a_tm1", a_tm1, [T, B], (torch.int64,), device)
    check_tensor(target_name, r_t, [T, B], dtype, device)
    if target_name == "r_t":
        check_tensor("discount_t", discount_t, [T, B], dtype, device)  # type: ignore[arg-type]
        check_tensor("q_t", q_t, [T, B, A], dtype, device)  # type: ignore[arg-type]
    check_optional("q_t_selector", q_t_selector, [T, B, A], dtype, device)
    by_lane = isinstance(weights, Tensor) and weights.dim() == 1
    check_optional("weights", weights, [B] if by_lane else [T, B], dtype, device)
    _check_actions("q_tm1", q_tm1)


def _check_actions(name: str, q: Tensor) -> None:
    if q.shape[-1] == 0 and q.shape[:-1].numel() > 0:
        raise ValueError(f"{name}: got shape {tuple(q.shape)}, want at least one action")


def _check_rescaling(rescale_epsilon: float | None) -> None:
    if rescale_epsilon is not None and not 0 <= rescale_epsilon < float("inf"):
        raise ValueError(f"rescale_epsilon: got {rescale_epsilon}, want a number of at least 0")


# What has been computed takes its place in q_tm1's graph. The rest comes in a tuple, into which autograd does not look:
# every argument and result of a node costs it time, those without gradient too.
class _TDError(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q_tm1: Tensor, computed: tuple[Tensor, Tensor]) -> Tensor:
        td_error, a_tm1 = computed
        ctx.save_for_backward(a_tm1)
        ctx.A = q_tm1.shape[-1]
        return td_error

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_td_error: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return _backward(-grad_td_error, *ctx.saved_tensors, None, ctx.A), None


class _Loss(torch.autograd.Function):
    """The gradient by each q_tm1[a_tm1] is there already, up to the factor that the backward brings."""

    @staticmethod
    def forward(ctx: Any, q_tm1: Tensor, computed: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        loss, *saved = computed
        ctx.save_for_backward(*saved)
        ctx.A = q_tm1.shape[-1]
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return _backward(*ctx.saved_tensors, grad_loss, ctx.A), None


if native.available:
    _forward = torch.ops.pyagent.td_loss_forward.default
    _backward = torch.ops.pyagent.td_loss_backward.default
    _library = torch.library.Library("pyagent", "FRAGMENT")
    _library.impl("td_loss_forward", torch.library.fallthrough_kernel, "Autograd")
    for _op in ("td_loss_forward", "td_loss_backward", "bootstrap_value"):
        register(_op, "td_loss")

    @torch.library.register_fake("pyagent::td_loss_forward")
    def _(  # noqa: ANN202
        q_tm1,  # noqa: ANN001
        a_tm1,  # noqa: ANN001
        r_t,  # noqa: ANN001
        discount_t,  # noqa: ANN001
        q_t,  # noqa: ANN001
        q_t_selector,  # noqa: ANN001
        weights,  # noqa: ANN001
        huber_delta,  # noqa: ANN001
        rescale_epsilon,  # noqa: ANN001
    ):
        one_device("td_loss_forward", (q_tm1, a_tm1, r_t, discount_t, q_t, q_t_selector, weights))
        return q_tm1.new_empty(()), *(q_tm1.new_empty(q_tm1.shape[:2]) for _ in range(2))

    @torch.library.register_fake("pyagent::td_loss_backward")
    def _(grad_q_a: Tensor, a_tm1: Tensor, scale: Tensor | None, A: int) -> Tensor:
        one_device("td_loss_backward", (grad_q_a, a_tm1, scale))
        return grad_q_a.new_empty(*grad_q_a.shape, A)

    @torch.library.register_fake("pyagent::bootstrap_value")
    def _(q_t: Tensor, q_t_selector: Tensor | None, rescale_epsilon: float | None) -> Tensor:
        one_device("bootstrap_value", (q_t, q_t_selector))
        return q_t.new_empty(q_t.shape[:2])
