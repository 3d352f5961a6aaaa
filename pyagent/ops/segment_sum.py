"""Sums of the rows of a matrix that share a segment: the gradient of rows that were gathered, on CUDA."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from pyagent.cuda import Arguments, launch, workspace

_SUFFIX = {torch.float32: "f32", torch.bfloat16: "bf16"}


class _SegmentSum(Arguments):
    """csrc/cuda/segment_sum.h"""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("N", "R", "C")),
        ("in_", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("order", "begin", "out", "workspace")),
    )


def segment_sum(values: Tensor, segment: Tensor, segments: int) -> Tensor:
    """out[r] = Σ values[k] over the k with segment[k] = r, in ascending order of k by fixed chunks.

    Args:
        values: `[N, C]`, float32 or bfloat16, contiguous, on CUDA.
        segment: `[N]` int64; positions with another number than 0 … segments − 1 belong nowhere.
        segments: R.

    Returns:
        `[R, C]` float32: the same bits for the same arguments.
    """
    (N, C), device = values.shape, values.device
    numbers, order = torch.sort(segment, stable=True)
    begin = torch.searchsorted(numbers, torch.arange(segments + 1, device=device))
    out = torch.empty(segments, C, dtype=torch.float32, device=device)
    held = workspace("pyagent_segment_sum", N, C, device=device)
    arguments = _SegmentSum(
        N=N, R=segments, C=C, in_=values, stride=C, order=order, begin=begin, out=out, workspace=held
    )
    launch(f"pyagent_segment_sum_{_SUFFIX[values.dtype]}", arguments, device)
    return out


def segment_sum_reference(values: Tensor, segment: Tensor, segments: int) -> Tensor:
    """`segment_sum` in torch."""
    inside = (segment >= 0) & (segment < segments)
    out = torch.zeros(segments, values.shape[1], dtype=torch.float32, device=values.device)
    return out.index_add_(0, segment[inside], values[inside].float())
