"""What every op asks of its arguments before it does anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad


def check_tensor(
    name: str,
    tensor: Tensor,
    shape: Sequence[int | str],
    dtypes: Sequence[torch.dtype],
    device: torch.device | None = None,
) -> None:
    """Raise unless `tensor` has this shape (a letter is any size), one of these dtypes, and this device.

    Raises:
        TypeError: no tensor, or another dtype.
        ValueError: another shape, layout or device.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name}: got {type(tensor).__name__}, want a tensor")
    if tensor.dtype not in dtypes:
        wanted = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise TypeError(f"{name}: got {str(tensor.dtype).removeprefix('torch.')}, want {wanted}")
    if tensor.dim() != len(shape) or any(
        isinstance(want, int) and got != want for got, want in zip(tensor.shape, shape, strict=True)
    ):
        wanted = ", ".join(str(size) for size in shape)
        raise ValueError(f"{name}: got shape {tuple(tensor.shape)}, want [{wanted}]")
    if device is not None and tensor.device != device:
        raise ValueError(f"{name}: got a tensor on {tensor.device}, want {device}")
    if tensor.layout is not torch.strided:
        raise ValueError(f"{name}: got a {str(tensor.layout).removeprefix('torch.')} tensor, want a strided one")


def check_optional(
    name: str,
    tensor: Tensor | None,
    shape: Sequence[int | str],
    dtypes: Sequence[torch.dtype],
    device: torch.device | None = None,
) -> None:
    """`check_tensor`, of an argument that may be None."""
    if tensor is not None:
        check_tensor(name, tensor, shape, dtypes, device)


def check_size(name: str, size: int, least: int) -> None:
    """Raise ValueError unless `size` is an integer of at least `least`."""
    if not isinstance(size, int) or size < least:
        raise ValueError(f"{name}: got {size!r}, want an integer of at least {least}")


def check_range(name: str, tensor: Tensor | None, low: int, high: int) -> None:
    """Raise IndexError unless every value is in [low, high)."""
    if tensor is None or tensor.numel() == 0:
        return
    least, most = (int(bound) for bound in tensor.aminmax())
    if least < low or most >= high:
        raise IndexError(f"{name}: got {least if least < low else most}, want {low} to {high - 1}")


def check_choices(name: str, values: Tensor, mask: Tensor | None, *, most: float) -> None:
    """Raise ValueError, naming the row, unless every row of `values` `[…, A]` has an allowed action, whose value is
    above −inf where `most` is not inf, and no allowed one that is NaN or above `most`."""
    allowed = torch.ones_like(values, dtype=torch.bool) if mask is None else mask
    wrong = (allowed & ~(values <= most)).any(-1)
    if wrong.any():
        row = tuple(wrong.nonzero()[0].tolist())
        raise ValueError(f"{name}: row {row} has {'NaN' if most == float('inf') else 'NaN or +inf'}, want numbers")
    none = ~(allowed if most == float("inf") else allowed & (values > -float("inf"))).any(-1)
    if none.any():
        row = tuple(none.nonzero()[0].tolist())
        raise ValueError(f"{name if mask is None else 'mask'}: row {row} allows no action, want one or more")


def first_order_only(op: str, tensors: Iterable[Tensor | None]) -> None:
    """Raise NotImplementedError where the op would silently differentiate wrongly: func transforms, forward mode."""
    if torch._C._are_functorch_transforms_active():
        raise NotImplementedError(f"{op}: torch.func transforms (vmap, grad, jvp) are not supported; use backward()")
    if forward_ad._current_level >= 0 and any(
        x is not None and forward_ad.unpack_dual(x).tangent is not None for x in tensors
    ):
        raise NotImplementedError(f"{op}: forward-mode differentiation is not supported; use backward()")


def one_device(op: str, tensors: Iterable[Tensor | None]) -> None:
    """Raise RuntimeError unless the tensors share a device.

    For fake implementations: they are also what the dispatcher calls where one meta tensor stands among CPU tensors,
    and would pass uninitialised memory off as a result.
    """
    devices = {x.device for x in tensors if x is not None}
    if len(devices) > 1:
        raise RuntimeError(f"{op}: got tensors on {' and '.join(sorted(map(str, devices)))}, want one device")
