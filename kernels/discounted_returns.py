"""Triton kernel of discounted returns (`pyagent.ops.discounted_returns` has the maths and the shapes)."""

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
def discounted_returns_kernel(
    r_t_ptr,
    discount_t_ptr,
    v_T_ptr,
    truncated_ptr,
    v_final_ptr,
    returns_ptr,
    T: tl.int64,
    B: tl.int64,
    BLOCK_T: tl.constexpr,
    BLOCK_B: tl.constexpr,
):
    lane, is_lane = lanes_of(tl.program_id(0).to(tl.int64), B, BLOCK_B)
    carry = tl.load(v_T_ptr + lane, is_lane, 0.0)
    for done in range(0, T, BLOCK_T):
        at, mask = tile_before(T - done, lane, is_lane, B, BLOCK_T)
        final = 0.0
        if truncated_ptr is not None:
            final = tl.load(v_final_ptr + at, mask, 0.0)
        r_t, discount_t = steps(r_t_ptr, discount_t_ptr, truncated_ptr, final, at, mask)
        returns = scan(r_t, discount_t, carry)
        tl.store(returns_ptr + at, returns, mask)
        carry = row_of(returns, BLOCK_T - 1, BLOCK_T)


def discounted_returns(
    r_t: Tensor, discount_t: Tensor, v_T: Tensor, truncated: Tensor | None = None, v_final: Tensor | None = None
) -> Tensor:
    """`torch.ops.pyagent.discounted_returns` by a kernel."""
    r_t, discount_t, truncated = step_arguments(r_t, discount_t, truncated)
    T, B = r_t.shape
    v_T, v_final = argument("v_T", v_T, [B], r_t), final_values(v_final, truncated, r_t)
    if truncated is not None and v_final is None:
        raise RuntimeError("v_final: want a tensor with truncated")
    returns = torch.empty_like(r_t)
    if returns.numel():
        tile = tile_of(T, r_t)
        with torch.cuda.device_of(r_t):
            discounted_returns_kernel[(triton.cdiv(B, tile["BLOCK_B"]),)](
                r_t, discount_t, v_T, truncated, v_final, returns, T, B, **tile, enable_fp_fusion=False
            )
    return returns
