"""Linear maps one after the other with tanh between them, forward and backward in one op each.

    y_0 = input        y_i = tanh(W_i y_{i−1} + b_i)        output = W_n y_{n−1} + b_n

with the products of `pyagent.ops.linear` and, backwards, its gradients, those of y_i times 1 − y_i² on their way to
what stood before the tanh. In bfloat16 a tanh is taken of sums that were rounded, and rounded once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyagent import native
from pyagent.ops.autograd import once_differentiable
from pyagent.ops.checks import check_tensor, first_order_only, one_device
from pyagent.ops.linear import FLOATS, as_rows, autocast, in_shape_of, linear_reference, may_split


def tanh_layers(input: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """Linear maps with tanh between.

    Args:
        input: `[…, K]`, float32, float64 or bfloat16; under `torch.autocast("cpu", torch.bfloat16)` float32 tensors
            are taken as bfloat16.
        weights: `[N_i, N_{i−1}]` each with N_0 = K, one or more, of the same dtype.
        biases: `[N_i]` each; of the same dtype, or float32 beside bfloat16.

    Returns:
        `[…, N_n]`, of the input's dtype; differentiable once in all. Bitwise independent of the number of threads.

    Raises:
        ValueError, TypeError: a wrong shape, device or dtype, or not one bias for each weight.
        NotImplementedError: under `torch.func` transforms or forward-mode differentiation.
    """
    if not (native.available and isinstance(input, Tensor) and input.is_cpu):
        _check_layers(input, weights, biases)
        return tanh_layers_reference(input, weights, biases)
    tensors = (input, *weights, *biases)
    first_order_only("tanh_layers", tensors)
    if torch.is_autocast_enabled("cpu"):
        input, *parameters = (autocast(tensor) for tensor in tensors)
        weights, biases = parameters[: len(weights)], parameters[len(weights) :]
    split = may_split(input.dtype)
    try:
        # Checked by the op, as in `linear`.
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            return _TanhLayers.apply(input, split, *weights, *biases)
        return in_shape_of(input, _forward(as_rows(input), weights, biases, split)[-1])
    except (RuntimeError, AttributeError, IndexError):
        _check_layers(input, weights, biases)
        raise


def tanh_layers_reference(input: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """`tanh_layers` in torch."""
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        input = linear_reference(input, weight, bias).tanh()
    return linear_reference(input, weights[-1], biases[-1])


def _check_layers(input: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
    if len(weights) != len(biases) or not weights:
        raise ValueError(f"biases: got {len(biases)}, want one for each of one or more weights, got {len(weights)}")
    check_tensor("weights[0]", weights[0], ["N", "K"], FLOATS)
    size, dtype, device = weights[0].shape[1], weights[0].dtype, weights[0].device
    leading = ["…"] * (input.dim() - 1) if isinstance(input, Tensor) else []
    check_tensor("input", input, [*leading, size], (dtype,), device)
    bias_dtypes = (torch.bfloat16, torch.float32) if dtype == torch.bfloat16 else (dtype,)
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        check_tensor(f"weights[{i}]", weight, ["N", size], (dtype,), device)
        size = weight.shape[0]
        check_tensor(f"biases[{i}]", bias, [size], bias_dtypes, device)


class _TanhLayers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, split: bool, *parameters: Tensor) -> Tensor:  # type: ignore[override]
        count = len(parameters) // 2
        weights, biases, rows = parameters[:count], parameters[count:], as_rows(input)
        *hidden, output = _forward(rows, weights, biases, split)
        ctx.save_for_backward(rows, *weights, *hidden)
        ctx.shape, ctx.split, ctx.bias_dtypes = input.shape, split, [bias.dtype for bias in biases]
        return in_shape_of(input, output)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        rows, *saved = ctx.saved_tensors
        count, need = len(ctx.bias_dtypes), ctx.needs_input_grad
        grad_input, grad_weights, grad_biases = _backward(
            as_rows(grad), rows, saved[:count], saved[count:], need[0], ctx.split
        )
        grad_biases = [bias.to(dtype) for bias, dtype in zip(grad_biases, ctx.bias_dtypes, strict=True)]
        of_parameters = zip((*grad_weights, *grad_biases), need[2:], strict=True)
        return grad_input.view(ctx.shape) if need[0] else None, None, *(g if n else None for g, n in of_parameters)


if native.available:
    _forward = torch.ops.pyagent.tanh_layers_forward.default
    _backward = torch.ops.pyagent.tanh_layers_backward.default

    @torch.library.register_fake("pyagent::tanh_layers_forward")
    def _(input: Tensor, weights: list[Tensor], biases: list[Tensor], split: bool = False) -> list[Tensor]:
        one_device("tanh_layers_forward", (input, *weights, *biases))
        return [input.new_empty(input.shape[0], weight.shape[0]) for weight in weights]

    @torch.library.register_fake("pyagent::tanh_layers_backward")
    def _(  # noqa: ANN202
        grad: Tensor,
        input: Tensor,
        weights: list[Tensor],
        hidden: list[Tensor],
        need_input: bool,
        split: bool = False,
    ):
        one_device("tanh_layers_backward", (grad, input, *weights, *hidden))
        # Gradients of biases are left as they were summed: a bias may be float32 beside bfloat16.
        bias_dtype = torch.float32 if input.dtype == torch.bfloat16 else input.dtype
        return (
            input.new_empty(input.shape if need_input else 0),
            [weight.new_empty(weight.shape) for weight in weights],
            [weight.new_empty(weight.shape[0], dtype=bias_dtype) for weight in weights],
        )
