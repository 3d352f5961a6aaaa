"""Triton kernel of generalised advantage estimation (`pyagent.ops.gae` has the maths and the shapes)."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pyagent.kernels.arguments import argument
from pyagent.kernels.linear_scan import (
    final_values,
    lanes_of,
    row_of,
    scan,
    step_arguments,
    steps,
    tile_before,
    tile_of,
)


@triton.jit(do_not_specialize=["T"])
def gae_kernel(
    r_t_ptr,
    discount_t_ptr,
    v_ptr,
    lambda_: tl.float64,
    truncated_ptr,
    v_final_ptr,
    advantage_ptr,
    T: tl.int64,
    B: tl.int64,
    BLOCK_T: tl.constexpr,
    BLOCK_B: tl.constexpr,
):
    lane, is_lane = lanes_of(tl.program_id(0).to(tl.int64), B, BLOCK_B)
    decay = lambda_.to(v_ptr.dtype.element_ty)
    carry = tl.zeros((BLOCK_B,), v_ptr.dtype.element_ty)
    for done in range(0, T, BLOCK_T):
        at, mask = tile_before(T - done, lane, is_lane, B, BLOCK_T)
        v_tm1, v_t = tl.load(v_ptr + at, mask, 0.0), tl.load(v_ptr + at + B, mask, 0.0)
        final = v_t
        if v_final_ptr is not None:
            final = tl.load(v_final_ptr + at, mask, 0.0)
        r_t, discount_t = steps(r_t_ptr, discount_t_ptr, truncated_ptr, final, at, mask)
        advantage = scan(r_t + discount_t * v_t - v_tm1, discount_t * decay, carry)
        tl.store(advantage_ptr + at, advantage, mask)
        carry = row_of(advantage, BLOCK_T - 1, BLOCK_T)


def gae(
    r_t: Tensor,
    discount_t: Tensor,
    v: Tensor,
    lambda_: float,
    truncated: Tensor | None = None,
    v_final: Tensor | None = None,
) -> Tensor:
    """`torch.ops.pyagent.gae` by a kernel."""
    r_t, discount_t, truncated = step_arguments(r_t, discount_t, truncated)
    T, B = r_t.shape
    v, v_final = argument("v", v, [T + 1, B], r_t), final_values(v_final, truncated, r_t)
    advantage = torch.empty_like(r_t)
    if advantage.numel():
        tile = tile_of(T, r_t)
        with torch.cuda.device_of(r_t):
            gae_kernel[(triton.cdiv(B, tile["BLOCK_B"]),)](
                r_t, discount_t, v, lambda_, truncated, v_final, advantage, T, B, **tile, enable_fp_fusion=False
            )
    return advantage
