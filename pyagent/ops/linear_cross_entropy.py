"""The language-model head: a linear map and the cross-entropy of its logits, which are never held.

With z_n = W x_n + b the logits of row n, y_n its target and p_n = softmax(z_n):

    loss_n = log Σ_v exp(z_nv) − z_ny_n         ∂loss_n/∂z_n = p_n − onehot(y_n)

The logits of a chunk of rows exist at a time, and become their own gradient. For the mean and the sum the gradient of
every loss_n is known beforehand, so those of x, W and b are formed in the same pass, in the forward; for the losses
themselves ("none") the backward makes a second pass. As torch.nn.functional.linear_cross_entropy; Wijmans et al. 2024,
"Cut Your Losses in Large-Vocabulary Language Models", https://arxiv.org/abs/2411.09009, avoids the logits by blocks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyagent import native
from pyagent.ops.autograd import once_differentiable
from pyagent.ops.checks import check_optional, check_range, check_tensor, first_order_only, one_device
from pyagent.ops.triton_kernels import compiled_for, register

FLOATS = (torch.float32, torch.float64)
REDUCTIONS = ("none", "mean", "sum")


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy of `input · linear_weightᵀ + linear_bias` against `target`.

    Args:
        input: `[…, H]`, float32 or float64, on CUDA also bfloat16.
        linear_weight: `[V, H]`.
        target: `[…]` int64 in [0, V), or `ignore_index`: such a row contributes nothing and costs nothing, whatever
            its input.
        linear_bias: `[V]` or None.
        ignore_index: any integer.
        reduction: "mean" over the rows that count (NaN if there are none), "sum", or "none".

    Returns:
        A scalar, or with "none" `[…]`, 0 where ignored. Differentiable once in input, linear_weight and linear_bias.
        Bitwise independent of the number of threads. The memory beyond results and gradients is that of the logits of
        192 rows.

    Raises:
        ValueError, TypeError: a wrong shape, device, dtype or reduction.
        IndexError: a target outside [0, V).
        NotImplementedError: under `torch.func` transforms or forward-mode differentiation.
    """
    _check(input, linear_weight, target, linear_bias, ignore_index, reduction)
    if not compiled_for(input):
        _check_target(target, linear_weight, ignore_index)
        return linear_cross_entropy_reference(
            input, linear_weight, target, linear_bias=linear_bias, ignore_index=ignore_index, reduction=reduction
        )
    tensors = (input, linear_weight, linear_bias)
    first_order_only("linear_cross_entropy", tensors)
    rows, targets = input.reshape(input.shape[:-1].numel(), input.shape[-1]), target.reshape(-1)
    needs_grad = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)
    arguments = (rows, linear_weight, targets, linear_bias, ignore_index, REDUCTIONS.index(reduction))
    try:
        if not needs_grad:
            loss = _forward(*arguments, False, False, False)[0]
        elif reduction == "none":
            loss = _Losses.apply(*arguments)
        else:
            loss = _Loss.apply(*arguments)
    except RuntimeError:
        _check_target(target, linear_weight, ignore_index)  # names the argument, if a value was at fault
        raise
    return loss.view(target.shape) if reduction == "none" else loss


def linear_cross_entropy_reference(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """`linear_cross_entropy` in torch, logits and all."""
    logits = torch.nn.functional.linear(input, linear_weight, linear_bias)
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, -2), target.flatten(), ignore_index=ignore_index, reduction=reduction
    ).view(target.shape if reduction == "none" else ())


def _check(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None,
    ignore_index: int,
    reduction: str,
) -> None:
    on_cuda = isinstance(linear_weight, Tensor) and linear_weight.is_cuda
    dtypes = (*FLOATS, torch.bfloat16) if on_cuda else FLOATS
    check_tensor("linear_weight", linear_weight, ["V", "H"], dtypes)
    V, H = linear_weight.shape
    dtype, device = (linear_weight.dtype,), linear_weight.device
    check_tensor("input", input, [*["…"] * (input.dim() - 1 if isinstance(input, Tensor) else 0), H], dtype, device)
    check_tensor("target", target, list(input.shape[:-1]), (torch.int64,), device)
    check_optional("linear_bias", linear_bias, [V], dtype, device)
    if not isinstance(ignore_index, int):
        raise TypeError(f"ignore_index: got {type(ignore_index).__name__}, want an integer")
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction: got {reduction!r}, want one of {', '.join(REDUCTIONS)}")


def _check_target(target: Tensor, linear_weight: Tensor, ignore_index: int) -> None:
    check_range("target", target[target != ignore_index], 0, linear_weight.shape[0])


class _Loss(torch.autograd.Function):
    """Mean or sum: the gradients are formed in the forward, up to the factor that the backward brings."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        input: Tensor,
        linear_weight: Tensor,
        target: Tensor,
        linear_bias: Tensor | None,
        ignore_index: int,
        reduction: int,
    ) -> Tensor:
        need = ctx.needs_input_grad
        loss, *grads = _forward(
            input, linear_weight, target, linear_bias, ignore_index, reduction, need[0], need[1], need[3]
        )
        ctx.save_for_backward(*grads)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        # Where the graph is freed, nobody else sees the gradients: no second copy of them.
        once = not torch.compiler.is_compiling() and not torch._C._autograd._get_current_graph_task_keep_graph()  # type: ignore[attr-defined]
        scale = Tensor.mul_ if once else Tensor.mul
        need = ctx.needs_input_grad
        input, linear_weight, linear_bias = (
            scale(grad, grad_loss) if needed else None
            for grad, needed in zip(ctx.saved_tensors, (need[0], need[1], need[3]), strict=True)
        )
        return input, linear_weight, None, linear_bias, None, None


class _Losses(torch.autograd.Function):
    """No reduction: the gradients wait for those of the losses."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        input: Tensor,
        linear_weight: Tensor,
        target: Tensor,
        linear_bias: Tensor | None,
        ignore_index: int,
        reduction: int,
    ) -> Tensor:
        ctx.save_for_backward(input, linear_weight, target, linear_bias)
        ctx.ignore_index = ignore_index
        return _forward(input, linear_weight, target, linear_bias, ignore_index, reduction, False, False, False)[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_losses: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        need = ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.needs_input_grad[3]
        input, linear_weight, linear_bias = (
            grad if needed else None
            for grad, needed in zip(
                _backward(grad_losses, *ctx.saved_tensors, ctx.ignore_index, *need), need, strict=True
            )
        )
        return input, linear_weight, None, linear_bias, None, None


if native.available:
    _forward = torch.ops.pyagent.linear_cross_entropy_forward.default
    _backward = torch.ops.pyagent.linear_cross_entropy_backward.default
    for _op in ("linear_cross_entropy_forward", "linear_cross_entropy_backward"):
        register(_op, "linear_cross_entropy")

    def _new_grads(
        input: Tensor, linear_weight: Tensor, linear_bias: Tensor | None, needed: tuple[bool, bool, bool]
    ) -> tuple[Tensor, ...]:
        tensors = (input, linear_weight, linear_bias)
        return tuple(
            input.new_empty(x.shape if x is not None and need else 0) for x, need in zip(tensors, needed, strict=True)
        )

    @torch.library.register_fake("pyagent::linear_cross_entropy_forward")
    def _(  # noqa: ANN202
        input,  # noqa: ANN001
        linear_weight,  # noqa: ANN001
        target,  # noqa: ANN001
        linear_bias,  # noqa: ANN001
        ignore_index,  # noqa: ANN001
        reduction,  # noqa: ANN001
        need_input,  # noqa: ANN001
        need_weight,  # noqa: ANN001
        need_bias,  # noqa: ANN001
    ):
        one_device("linear_cross_entropy_forward", (input, linear_weight, target, linear_bias))
        none = REDUCTIONS[reduction] == "none"
        needed = (False, False, False) if none else (need_input, need_weight, need_bias)
        grads = _new_grads(input, linear_weight, linear_bias, needed)
        return (input.new_empty(input.shape[0] if none else ()), *grads)

    @torch.library.register_fake("pyagent::linear_cross_entropy_backward")
    def _(  # noqa: ANN202
        grad_loss,  # noqa: ANN001
        input,  # noqa: ANN001
        linear_weight,  # noqa: ANN001
        target,  # noqa: ANN001
        linear_bias,  # noqa: ANN001
        ignore_index,  # noqa: ANN001
        need_input,  # noqa: ANN001
        need_weight,  # noqa: ANN001
        need_bias,  # noqa: ANN001
    ):
        one_device("linear_cross_entropy_backward", (grad_loss, input, linear_weight, target, linear_bias))
        return _new_grads(input, linear_weight, linear_bias, (need_input, need_weight, need_bias))
