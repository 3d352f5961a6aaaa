"""Triton kernel of V-trace (`pyagent.ops.vtrace` has the maths and the shapes)."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pyagent.kernels.arguments import argument
from pyagent.kernels.linear_scan import (
    at_most,
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
def vtrace_kernel(
    r_t_ptr,
    discount_t_ptr,
    v_ptr,
    rho_tm1_ptr,
    lambda_: tl.float64,
    clip_rho: tl.float64,
    clip_pg_rho: tl.float64,
    truncated_ptr,
    v_final_ptr,
    vs_ptr,
    pg_advantage_ptr,
    T: tl.int64,
    B: tl.int64,
    BLOCK_T: tl.constexpr,
    BLOCK_B: tl.constexpr,
):
    lane, is_lane = lanes_of(tl.program_id(0).to(tl.int64), B, BLOCK_B)
    dtype = v_ptr.dtype.element_ty
    row = tl.arange(0, BLOCK_T)[:, None]
    carry = tl.zeros((BLOCK_B,), dtype)  # vs − v, of the step after
    for done in range(0, T, BLOCK_T):
        at, mask = tile_before(T - done, lane, is_lane, B, BLOCK_T)
        v_tm1, v_t = tl.load(v_ptr + at, mask, 0.0), tl.load(v_ptr + at + B, mask, 0.0)
        final = v_t
        if v_final_ptr is not None:
            final = tl.load(v_final_ptr + at, mask, 0.0)
        r_t, discount_t = steps(r_t_ptr, discount_t_ptr, truncated_ptr, final, at, mask)
        rho = tl.load(rho_tm1_ptr + at, mask, 0.0)
        delta = r_t + discount_t * v_t - v_tm1
        decay = discount_t * lambda_.to(dtype) * at_most(rho, 1.0)
        correction = scan(at_most(rho, clip_rho.to(dtype)) * delta, decay, carry)
        before = tl.gather(correction, tl.broadcast_to(tl.maximum(row - 1, 0), (BLOCK_T, BLOCK_B)), 0)
        following = tl.where(row == 0, carry[None, :], before)
        tl.store(vs_ptr + at, v_tm1 + correction, mask)
        pg_advantage = at_most(rho, clip_pg_rho.to(dtype)) * (delta + discount_t * following)
        tl.store(pg_advantage_ptr + at, pg_advantage, mask)
        carry = row_of(correction, BLOCK_T - 1, BLOCK_T)


def vtrace(
    r_t: Tensor,
    discount_t: Tensor,
    v: Tensor,
    rho_tm1: Tensor,
    lambda_: float,
    clip_rho: float,
    clip_pg_rho: float,
    truncated: Tensor | None = None,
    v_final: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`torch.ops.pyagent.vtrace` by a kernel."""
    r_t, discount_t, truncated = step_arguments(r_t, discount_t, truncated)
    T, B = r_t.shape
    v, rho_tm1 = argument("v", v, [T + 1, B], r_t), argument("rho_tm1", rho_tm1, [T, B], r_t)
    v_final = final_values(v_final, truncated, r_t)
    vs, pg_advantage = torch.empty_like(r_t), torch.empty_like(r_t)
    if vs.numel():
        tile, numbers = tile_of(T, r_t), (lambda_, clip_rho, clip_pg_rho)
        with torch.cuda.device_of(r_t):
            vtrace_kernel[(triton.cdiv(B, tile["BLOCK_B"]),)](
                r_t,
                discount_t,
                v,
                rho_tm1,
                *numbers,
                truncated,
                v_final,
                vs,
                pg_advantage,
                T,
                B,
                **tile,
                enable_fp_fusion=False,
            )
    return vs, pg_advantage
