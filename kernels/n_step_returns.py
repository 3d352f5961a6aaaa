"""Triton kernel of n-step returns (`pyagent.ops.n_step_returns` has the maths and the shapes).

With steps in blocks of n, a window is the end of a block and the beginning of the next. A program has one block of
steps of some lanes. It goes forwards through the next block and leaves the return of every beginning of it, in the
result's memory; then backwards through its own, and joins each end with the beginning that completes the window. So
the cost does not depend on n, and n ≥ T is the discounted return.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pyagent.kernels.arguments import argument
from pyagent.kernels.linear_scan import after, lanes_of, row_of, step_arguments, steps, tile_before

TILE_ELEMENTS = 512
LONGEST_TILE = 64


@triton.jit
def before(a_1, b_1, a_2, b_2):
    """The map x → a_2 + b_2 · x, and on its result x → a_1 + b_1 · x."""
    return after(a_2, b_2, a_1, b_1)


@triton.jit(do_not_specialize=["n", "T"])
def n_step_returns_kernel(
    r_t_ptr,
    discount_t_ptr,
    v_t_ptr,
    n: tl.int64,
    truncated_ptr,
    returns_ptr,
    T: tl.int64,
    B: tl.int64,
    BLOCK_T: tl.constexpr,
    BLOCK_B: tl.constexpr,
):
    lane_blocks = tl.cdiv(B, BLOCK_B)
    program = tl.program_id(0).to(tl.int64)
    lane, is_lane = lanes_of(program % lane_blocks, B, BLOCK_B)
    begin = program // lane_blocks * n
    end = tl.minimum(begin + n, T)
    more = tl.minimum(T - end, n - 1)  # steps of the next block that take part
    row = tl.arange(0, BLOCK_T)[:, None].to(tl.int64)
    dtype = r_t_ptr.dtype.element_ty

    # returns[begin + j]: of the first j steps of the next block; of none, the value before it. `rest`: of `more`.
    rest = tl.load(v_t_ptr + (end - 1) * B + lane, is_lane, 0.0)
    tl.store(returns_ptr + begin * B + lane, rest, is_lane)
    a_all, b_all = tl.zeros((BLOCK_B,), dtype), tl.full((BLOCK_B,), 1.0, dtype)
    for done in range(0, more, BLOCK_T):
        j = done + row
        at = (end + j) * B + lane[None, :]
        mask = (j < more) & is_lane[None, :]
        v_t = tl.load(v_t_ptr + at, mask, 0.0)
        r_t, discount_t = steps(r_t_ptr, discount_t_ptr, truncated_ptr, v_t, at, mask)
        a, b = tl.associative_scan((r_t, discount_t), 0, before)
        a, b = before(a_all[None, :], b_all[None, :], a, b)
        of_first = a + b * v_t
        tl.store(returns_ptr + (begin + j + 1) * B + lane[None, :], of_first, mask)
        rest = tl.where(more <= done + BLOCK_T, row_of(of_first, more - done - 1, BLOCK_T), rest)
        a_all, b_all = row_of(a, BLOCK_T - 1, BLOCK_T), row_of(b, BLOCK_T - 1, BLOCK_T)
    tl.debug_barrier()  # what a thread wrote another reads

    a_all, b_all = tl.zeros((BLOCK_B,), dtype), tl.full((BLOCK_B,), 1.0, dtype)
    for done in range(0, end - begin, BLOCK_T):
        at, mask = tile_before(end - done, lane, is_lane, B, BLOCK_T)
        j = end - begin - 1 - done - row
        mask &= j >= 0
        v_t = tl.load(v_t_ptr + at, mask, 0.0)
        r_t, discount_t = steps(r_t_ptr, discount_t_ptr, truncated_ptr, v_t, at, mask)
        a, b = tl.associative_scan((r_t, discount_t), 0, after)
        a, b = after(a_all[None, :], b_all[None, :], a, b)
        of_rest = tl.where(j < more, tl.load(returns_ptr + at, mask & (j < more), 0.0), rest[None, :])
        tl.store(returns_ptr + at, a + b * of_rest, mask)
        a_all, b_all = row_of(a, BLOCK_T - 1, BLOCK_T), row_of(b, BLOCK_T - 1, BLOCK_T)


def n_step_returns(r_t: Tensor, discount_t: Tensor, v_t: Tensor, n: int, truncated: Tensor | None = None) -> Tensor:
    """`torch.ops.pyagent.n_step_returns` by a kernel."""
    r_t, discount_t, truncated = step_arguments(r_t, discount_t, truncated)
    T, B = r_t.shape
    if n < 1:
        raise RuntimeError(f"n: got {n}, want at least 1")
    v_t, returns, n = argument("v_t", v_t, [T, B], r_t), torch.empty_like(r_t), max(1, min(n, T))
    if returns.numel():
        block_t = min(LONGEST_TILE, triton.next_power_of_2(n))
        block_b = TILE_ELEMENTS // block_t
        with torch.cuda.device_of(r_t):
            n_step_returns_kernel[(triton.cdiv(T, n) * triton.cdiv(B, block_b),)](
                r_t,
                discount_t,
                v_t,
                n,
                truncated,
                returns,
                T,
                B,
                BLOCK_T=block_t,
                BLOCK_B=block_b,
                enable_fp_fusion=False,
            )
    return returns
