"""Arguments as kernels read them: checked, contiguous, on one device."""

from collections.abc import Sequence

import torch
from torch import Tensor


def argument(
    name: str, tensor: Tensor, shape: Sequence[int], like: Tensor, dtypes: Sequence[torch.dtype] | None = None
) -> Tensor:
    """`tensor`, contiguous, of this shape, on the device of `like`, of one of `dtypes` (None: that of `like`).

    Raises:
        RuntimeError: it is not; as the compiled core does, whose callers look closer for what was wrong.
    """
    wanted = (like.dtype,) if dtypes is None else dtypes
    if tensor.dtype not in wanted or tensor.device != like.device or list(tensor.shape) != list(shape):
        raise RuntimeError(
            f"{name}: got {tensor.dtype} {list(tensor.shape)} on {tensor.device}, want {' or '.join(map(str, wanted))} "
            f"{list(shape)} on {like.device}"
        )
    return tensor.contiguous()


def optional(
    name: str, tensor: Tensor | None, shape: Sequence[int], like: Tensor, dtypes: Sequence[torch.dtype] | None = None
) -> Tensor | None:
    """`argument`, of one that may be None."""
    return None if tensor is None else argument(name, tensor, shape, like, dtypes)
