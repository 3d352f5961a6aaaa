"""Tabular Q-learning on CUDA: `pyagent.ops.q_update` of a table that lies there, by csrc/cuda/q_update.cu."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from pyagent.cuda import Q_UPDATE, Arguments, launch, words, workspace
from pyagent.ops.checks import check_tensor

_SUFFIX = {torch.float32: "f32", torch.float64: "f64"}


class _QUpdate(Arguments):
    """csrc/cuda/q_update.h"""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("N", "S", "A")),
        *((name, ctypes.c_void_p) for name in ("q_table", "state", "action", "next_state")),
        *((name, ctypes.c_void_p) for name in ("reward", "discount", "alpha")),
        *((name, ctypes.c_int64) for name in ("discount_stride", "alpha_stride")),
        *((name, ctypes.c_void_p) for name in ("workspace", "bad_index")),
    )


def q_update_cuda(
    q_table: Tensor,
    state: Tensor,
    action: Tensor,
    reward: Tensor,
    next_state: Tensor,
    discount: Tensor | float,
    alpha: Tensor | float,
) -> None:
    """`q_update` of CUDA tensors. Nothing waits for the device: a state or an action outside of the table leaves it as
    it is, and `pyagent.cuda.check()` raises."""
    check_tensor("q_table", q_table, ["S", "A"], tuple(_SUFFIX))
    if q_table.requires_grad or not q_table.is_contiguous():
        raise ValueError(
            "q_table: got a tensor that requires grad or is not contiguous, want one to be written in place"
        )
    dtype, device = q_table.dtype, q_table.device
    indices = {"state": state, "action": action, "next_state": next_state}
    check_tensor("state", state, ["N"], (torch.int32, torch.int64), device)
    N = state.shape[0]
    for name, index in indices.items():
        check_tensor(name, index, [N], (torch.int32, torch.int64), device)
    check_tensor("reward", reward, [N], (dtype,), device)
    numbers, strides = {}, {}
    for name, given in {"discount": discount, "alpha": alpha}.items():
        number = given if isinstance(given, Tensor) else torch.full((), float(given), dtype=dtype, device=device)
        check_tensor(name, number, [N] if number.dim() else [], (dtype,), device)
        numbers[name], strides[f"{name}_stride"] = number.contiguous(), min(number.dim(), 1)
    reward, room = reward.contiguous(), workspace("pyagent_q_update", q_table.shape[0], device=device)
    held = {name: index.long().contiguous() for name, index in indices.items()}
    arguments = _QUpdate(
        N=N,
        S=q_table.shape[0],
        A=q_table.shape[1],
        q_table=q_table,
        reward=reward,
        workspace=room,
        bad_index=words(device)[Q_UPDATE:],
        **held,
        **numbers,
        **strides,
    )
    launch(f"pyagent_q_update_{_SUFFIX[dtype]}", arguments, device)
    torch.autograd.graph.increment_version(q_table)
