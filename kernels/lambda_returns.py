"""Triton kernel of λ-returns (`pyagent.ops.lambda_returns` has the maths and the shapes)."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pyagent.kernels.arguments import argument
from pyagent.kernels.linear_scan import lanes_of, row_of, scan, step_arguments, steps, tile_before, tile_of


@triton.jit(do_not_specialize=["T"])
def lambda_returns_kernel(
    r_t_ptr,
    discount_t_ptr,
    v_t_ptr,
    lambda_: tl.float64,
    truncated_ptr,
    returns_ptr,
    T: tl.int64,
    B: tl.int64,
    BLOCK_T: tl.constexpr,
    BLOCK_B: tl.constexpr,
):
    lane, is_lane = lanes_of(tl.program_id(0).to(tl.int64), B, BLOCK_B)
    decay, rest = lambda_.to(v_t_ptr.dtype.element_ty), (1 - lambda_).to(v_t_ptr.dtype.element_ty)
    carry = tl.load(v_t_ptr + (T - 1) * B + lane, is_lane, 0.0)
    for done in range(0, T, BLOCK_T):
        at, mask = tile_before(T - done, lane, is_lane, B, BLOCK_T)
        v_t = tl.load(v_t_ptr + at, mask, 0.0)
        r_t, discount_t = steps(r_t_ptr, discount_t_ptr, truncated_ptr, v_t, at, mask)
        returns = scan(r_t + discount_t * rest * v_t, discount_t * decay, carry)
        tl.store(returns_ptr + at, returns, mask)
        carry = row_of(returns, BLOCK_T - 1, BLOCK_T)


def lambda_returns(
    r_t: Tensor, discount_t: Tensor, v_t: Tensor, lambda_: float, truncated: Tensor | None = None
) -> Tensor:
    """`torch.ops.pyagent.lambda_returns` by a kernel."""
    r_t, discount_t, truncated = step_arguments(r_t, discount_t, truncated)
    T, B = r_t.shape
    v_t, returns = argument("v_t", v_t, [T, B], r_t), torch.empty_like(r_t)
    if returns.numel():
        tile = tile_of(T, r_t)
        with torch.cuda.device_of(r_t):
            lambda_returns_kernel[(triton.cdiv(B, tile["BLOCK_B"]),)](
                r_t, discount_t, v_t, lambda_, truncated, returns, T, B, **tile, enable_fp_fusion=False
            )
    return returns
