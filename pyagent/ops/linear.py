"""The linear map around the recurrence, with results that do not depend on the number of threads.

    output = input · weightᵀ + bias        grad_input = grad · weight
    grad_weight = gradᵀ · input            grad_bias = Σ_m grad_m

As torch.nn.functional.linear, whose products may split the summed dimension over threads and so change bits with
their number; here only output rows are split. Products of bfloat16 are summed in float32 and rounded once. On AMX
`torch.set_float32_matmul_precision("high")`, or "medium", lets large products of float32 be three of bfloat16, to about
2^-16.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyagent import native
from pyagent.ops.autograd import once_differentiable
from pyagent.ops.checks import check_optional, check_tensor, first_order_only, one_device

# Only on AMX are three products of bfloat16 faster than one of float32. Elsewhere the ops take no notice of being told
# to split, and not asking torch saves its time.
SPLITS = native.isa() == "amx"
FLOATS = (torch.float32, torch.float64, torch.bfloat16)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`input · weightᵀ + bias`.

    Args:
        input: `[…, K]`, float32, float64 or bfloat16; under `torch.autocast("cpu", torch.bfloat16)` float32 tensors
            are taken as bfloat16.
        weight: `[N, K]`, of the same dtype.
        bias: `[N]` or None; of the same dtype, or float32 beside bfloat16.

    Returns:
        `[…, N]`, of the input's dtype; differentiable once in all three. Bitwise independent of the number of threads.

    Raises:
        ValueError, TypeError: a wrong shape, device or dtype.
        NotImplementedError: under `torch.func` transforms or forward-mode differentiation.
    """
    if not (native.available and isinstance(input, Tensor) and input.is_cpu):
        _check_linear(input, weight, bias)
        return linear_reference(input, weight, bias)
    first_order_only("linear", (input, weight, bias))
    if torch.is_autocast_enabled("cpu"):
        input, weight = autocast(input), autocast(weight)
        bias = None if bias is None else autocast(bias)
    split = may_split(input.dtype)
    try:
        # Checked by the op: an acting step takes microseconds, and words are only needed when something is wrong.
        if torch.is_grad_enabled() and (
            input.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
        ):
            return _Linear.apply(input, weight, bias, split)
        return in_shape_of(input, _forward(as_rows(input), weight, bias, split))
    except (RuntimeError, AttributeError, IndexError):
        _check_linear(input, weight, bias)
        raise


def autocast(tensor: Tensor) -> Tensor:
    """A float32 tensor in autocast's dtype on the CPU, where that is bfloat16; anything else as it is."""
    lowered = isinstance(tensor, Tensor) and tensor.dtype == torch.float32
    return tensor.to(torch.bfloat16) if lowered and torch.get_autocast_dtype("cpu") == torch.bfloat16 else tensor


def may_split(dtype: torch.dtype) -> bool:
    """Whether products of this dtype may be three of bfloat16: of float32, where that is allowed and AMX is there."""
    return SPLITS and dtype == torch.float32 and _allows_splitting()


@torch.compiler.assume_constant_result  # the compiler compiles anew where this setting has changed
def _allows_splitting() -> bool:
    try:
        return torch.get_float32_matmul_precision() != "highest"
    except RuntimeError:  # torch does not tell where torch.backends' own settings say something else
        return False


def _check_linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    check_tensor("weight", weight, ["N", "K"], FLOATS)
    N, K = weight.shape
    leading = ["…"] * (input.dim() - 1) if isinstance(input, Tensor) else []
    check_tensor("input", input, [*leading, K], (weight.dtype,), weight.device)
    bias_dtypes = (torch.bfloat16, torch.float32) if weight.dtype == torch.bfloat16 else (weight.dtype,)
    check_optional("bias", bias, [N], bias_dtypes, weight.device)


def linear_reference(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`linear` in torch."""
    return torch.nn.functional.linear(input, weight, None if bias is None else bias.to(weight.dtype))


def as_rows(input: Tensor) -> Tensor:
    """`[…, K]` as `[M, K]`."""
    return input if input.dim() == 2 else input.reshape(input.shape[:-1].numel(), input.shape[-1])


def in_shape_of(input: Tensor, rows: Tensor) -> Tensor:
    """`[M, N]` as `[…, N]`."""
    return rows if input.dim() == 2 else rows.view(*input.shape[:-1], rows.shape[1])


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, split: bool) -> Tensor:  # type: ignore[override]
        rows = as_rows(input)
        ctx.save_for_backward(rows, weight)
        ctx.shape, ctx.split = input.shape, split
        ctx.bias_dtype = None if bias is None else bias.dtype
        return in_shape_of(input, _forward(rows, weight, bias, split))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        need = ctx.needs_input_grad[:3]
        grad_input, grad_weight, grad_bias = _backward(as_rows(grad), *ctx.saved_tensors, *need, ctx.split)
        return (
            grad_input.view(ctx.shape) if need[0] else None,
            grad_weight if need[1] else None,
            grad_bias.to(ctx.bias_dtype) if need[2] else None,
            None,
        )


if native.available:
    _forward = torch.ops.pyagent.linear_forward.default
    _backward = torch.ops.pyagent.linear_backward.default

    @torch.library.register_fake("pyagent::linear_forward")
    def _(input: Tensor, weight: Tensor, bias: Tensor | None, split: bool = False) -> Tensor:
        one_device("linear_forward", (input, weight, bias))
        return input.new_empty(input.shape[0], weight.shape[0])

    @torch.library.register_fake("pyagent::linear_backward")
    def _(  # noqa: ANN202
        grad: Tensor,
        input: Tensor,
        weight: Tensor,
        need_input: bool,
        need_weight: bool,
        need_bias: bool,
        split: bool = False,
    ):
        one_device("linear_backward", (grad, input, weight))
        # The gradient of the bias is left as it was summed: the bias may be float32 beside bfloat16.
        bias_dtype = torch.float32 if weight.dtype == torch.bfloat16 else weight.dtype
        return (
            input.new_empty(input.shape if need_input else 0),
            weight.new_empty(weight.shape if need_weight else 0),
            weight.new_empty(weight.shape[0] if need_bias else 0, dtype=bias_dtype),
        )
