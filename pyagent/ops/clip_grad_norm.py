"""A bound on the norm of a gradient, in one op for all of its tensors.

    norm = √Σ g²        g ← g · max_norm / norm  where norm > max_norm

As torch.nn.utils.clip_grad_norm_, which takes several ops a tensor, the longer the smaller the tensors are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pyagent import native
from pyagent.ops.checks import one_device

FLOATS = (torch.float32, torch.float64)


def clip_grad_norm(grads: list[Tensor], max_norm: float) -> Tensor:
    """Scales gradients in place so that their norm, all of them taken together, is at most `max_norm`.

    Args:
        grads: of any shapes, on one device. Contiguous ones of float32, or of float64, on the CPU take one op.
        max_norm: at least 0.

    Returns:
        the norm of before, a scalar. Where it is NaN the gradients stay as they are. Bitwise independent of the number
        of threads where one op does it.

    Raises:
        ValueError: `max_norm` is negative.
    """
    if not max_norm >= 0:
        raise ValueError(f"max_norm: got {max_norm}, want a number of at least 0")
    if native.available and grads and all(_is_plain(grad, grads[0].dtype) for grad in grads):
        return torch.ops.pyagent.clip_grad_norm(grads, max_norm)
    return clip_grad_norm_reference(grads, max_norm)


def clip_grad_norm_reference(grads: list[Tensor], max_norm: float) -> Tensor:
    """`clip_grad_norm` in torch."""
    norm = torch.nn.utils.get_total_norm(grads)
    if norm > max_norm:
        torch._foreach_mul_(grads, max_norm / norm)  # type: ignore[attr-defined]
    return norm


def _is_plain(grad: Tensor, dtype: torch.dtype) -> bool:
    is_dense = grad.is_cpu and grad.layout is torch.strided and grad.is_contiguous()
    return is_dense and grad.dtype is dtype and dtype in FLOATS


if native.available:

    @torch.library.register_fake("pyagent::clip_grad_norm")
    def _(grads: list[Tensor], max_norm: float) -> Tensor:
        one_device("clip_grad_norm", grads)
        return torch.empty((), dtype=torch.float64, device=grads[0].device if grads else "cpu")
