"""The recurrence on CUDA: both passes over time by the kernels of csrc/cuda/recurrence_*.cu, and the products that are
left once the gradients of the gates are known.

These are the CUDA implementations of the ops `pyagent::recurrence_forward` and `_backward`, whose other halves are in
csrc/recurrence.cpp. In bfloat16 the cells, and what flows back through them, are float32.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from pyagent.cuda import RECURRENCE, Arguments, launch, words, workspace
from pyagent.ops.segment_sum import segment_sum

DTYPES = (torch.float32, torch.bfloat16)
_GRU, _LSTM = 2, 3
_GATES = (1, 1, 3, 4)


def _fields(type_: type, names: str) -> tuple[tuple[str, type], ...]:
    return tuple((name, type_) for name in names.split())


class _Recurrence(Arguments):
    """csrc/cuda/recurrence.h, as are the two below"""

    _fields_ = (
        *_fields(ctypes.c_int64, "cell bfloat16 T B H"),
        *_fields(ctypes.c_void_p, "weight_hh h_0 c_0 reset lengths out_of_range workspace"),
        *_fields(ctypes.c_int64, "variant units lanes multiprocessors shared_bytes"),
    )


class _Forward(_Recurrence):
    _fields_ = (
        ("rows", ctypes.c_void_p),
        ("num_rows", ctypes.c_int64),
        *_fields(ctypes.c_void_p, "row_index bias_hn output h_n c_n gates cells"),
    )


class _Backward(_Recurrence):
    _fields_ = _fields(ctypes.c_void_p, "output gates cells grad_output grad_h_n grad_c_n grad_gates grad_h_0 grad_c_0")


def _contiguous(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    return tuple(None if x is None else x.contiguous() for x in tensors)


def _common(
    cell: int,
    sizes: tuple[int, int, int],
    weight_hh: Tensor,
    h_0: Tensor | None,
    c_0: Tensor | None,
    reset: Tensor | None,
    lengths: Tensor | None,
) -> dict[str, Any]:
    """What both passes take."""
    (T, B, H), device, bfloat16 = sizes, weight_hh.device, weight_hh.dtype == torch.bfloat16
    return {
        "cell": cell,
        "bfloat16": bfloat16,
        "T": T,
        "B": B,
        "H": H,
        "weight_hh": weight_hh,
        "h_0": h_0,
        "c_0": c_0,
        "reset": reset,
        "lengths": lengths,
        "out_of_range": words(device)[RECURRENCE:],
        "workspace": workspace("pyagent_recurrence", cell, bfloat16, B, H, device=device),
    }


def recurrence_forward(
    rows: Tensor,
    row_index: Tensor | None,
    weight_hh: Tensor,
    bias_hn: Tensor | None,
    h_0: Tensor | None,
    c_0: Tensor | None,
    reset: Tensor | None,
    lengths: Tensor | None,
    cell: int,
    save: bool,
    split: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """`torch.ops.pyagent.recurrence_forward` by the CUDA kernels, of float32 or bfloat16."""
    rows, weight_hh = rows.contiguous(), weight_hh.contiguous()
    row_index, bias_hn, h_0, c_0, reset, lengths = _contiguous(row_index, bias_hn, h_0, c_0, reset, lengths)
    T, B = rows.shape[:2] if row_index is None else row_index.shape
    H, device = weight_hh.shape[1], rows.device
    lstm, gated = cell == _LSTM, cell in (_GRU, _LSTM)
    output, h_n = rows.new_empty(T, B, H), rows.new_empty(B, H)
    c_n = rows.new_empty((B, H) if lstm else 0, dtype=torch.float32)
    gates = rows.new_empty((T, B, 4 * H) if save and gated else 0)
    cells = rows.new_empty((T, B, H) if save and lstm else 0, dtype=torch.float32)
    arguments = _Forward(
        **_common(cell, (T, B, H), weight_hh, h_0, c_0, reset, lengths),
        rows=rows,
        num_rows=rows.shape[0],
        row_index=row_index,
        bias_hn=bias_hn,
        output=output,
        h_n=h_n,
        c_n=c_n if lstm else None,
        gates=gates if save and gated else None,
        cells=cells if save and lstm else None,
    )
    launch("pyagent_recurrence_forward", arguments, device)
    return output, h_n, c_n, gates, cells


def recurrence_backward(
    grad_output: Tensor | None,
    grad_h_n: Tensor | None,
    grad_c_n: Tensor | None,
    num_rows: int,
    row_index: Tensor | None,
    weight_hh: Tensor,
    h_0: Tensor | None,
    c_0: Tensor | None,
    reset: Tensor | None,
    lengths: Tensor | None,
    output: Tensor,
    gates: Tensor,
    cells: Tensor,
    cell: int,
    need_rows: bool,
    need_weight: bool,
    need_state: bool,
    split: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """`torch.ops.pyagent.recurrence_backward` by the CUDA kernels; gradients of weights and states of bfloat16 are in
    the dtype that they were computed in or rounded to, autograd casts them."""
    weight_hh, output = weight_hh.contiguous(), output.contiguous()
    h_0, c_0, reset, lengths = _contiguous(h_0, c_0, reset, lengths)
    grad_output, grad_h_n, grad_c_n = _contiguous(grad_output, grad_h_n, grad_c_n)
    grad_c_n = None if grad_c_n is None else grad_c_n.float()
    (T, B, H), device, lstm = output.shape, output.device, cell == _LSTM
    width = _GATES[cell] * H
    grad_gates = output.new_empty(T, B, 4 * H if cell in (_GRU, _LSTM) else H)
    grad_h_0 = output.new_empty((B, H) if need_state else 0)
    grad_c_0 = output.new_empty((B, H) if need_state and lstm else 0, dtype=torch.float32)
    arguments = _Backward(
        **_common(cell, (T, B, H), weight_hh, h_0, c_0, reset, lengths),
        output=output,
        gates=gates if gates.numel() else None,
        cells=cells if cells.numel() else None,
        grad_output=grad_output,
        grad_h_n=grad_h_n,
        grad_c_n=grad_c_n,
        grad_gates=grad_gates,
        grad_h_0=grad_h_0 if need_state else None,
        grad_c_0=grad_c_0 if need_state and lstm else None,
    )
    launch("pyagent_recurrence_backward", arguments, device)

    flat = grad_gates.view(T * B, grad_gates.shape[2])
    grad_weight, grad_bias_hn = output.new_empty(0), output.new_empty(0)
    if need_weight:
        grad_weight = flat[:, :width].t() @ _states_before(output, h_0, reset).view(T * B, H)
        if cell == _GRU:
            grad_bias_hn = flat[:, 2 * H : 3 * H].float().sum(0).to(output.dtype)
    grad_rows = output.new_empty(0)
    if need_rows:
        # The GRU's third gate stands last where it is a gradient of the rows (csrc/recurrence.h).
        of_rows = torch.cat((flat[:, : 2 * H], flat[:, 3 * H :]), 1) if cell == _GRU else flat
        if row_index is None:
            grad_rows = of_rows.view(T, B, width)
        else:
            grad_rows = segment_sum(of_rows, row_index.reshape(-1), num_rows).to(output.dtype)
    return grad_rows, grad_weight, grad_bias_hn, grad_h_0, grad_c_0


def _states_before(output: Tensor, h_0: Tensor | None, reset: Tensor | None) -> Tensor:
    """What W_hh was multiplied with at each step, `[T, B, H]`."""
    first = torch.zeros_like(output[:1]) if h_0 is None else h_0[None][: len(output)]
    before = torch.cat((first, output[:-1]))
    return before if reset is None else before.masked_fill(reset[..., None], 0.0)
