"""Triton kernel of Retrace's targets (`pyagent.ops.retrace` has the maths and the shapes).

What a step needs of its actions is made of all steps at once. What is left is the recursion of discounted returns.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pyagent.kernels import bad_values
from pyagent.kernels.arguments import argument
from pyagent.kernels.bad_values import ACTION, report
from pyagent.kernels.discounted_returns import discounted_returns
from pyagent.kernels.linear_scan import at_most, step_arguments, steps
from pyagent.kernels.row_tiles import row_tile, rows_of, tile_of


@triton.jit(do_not_specialize=["N", "B"])
def retrace_steps_kernel(
    r_t_ptr,
    discount_t_ptr,
    q_t_ptr,
    a_t_ptr,
    pi_t_ptr,
    mu_t_ptr,
    lambda_: tl.float64,
    truncated_ptr,
    reward_ptr,
    decay_ptr,
    word_ptr,
    N: tl.int64,
    B: tl.int64,
    A: tl.int32,
    BLOCK_N: tl.constexpr,
    BLOCK_A: tl.constexpr,
):
    n, is_row = rows_of(tl.program_id(0).to(tl.int64), N, BLOCK_N)
    dtype = q_t_ptr.dtype.element_ty
    expected = tl.zeros((BLOCK_N,), dtype)
    for first in range(0, A, BLOCK_A):
        q_t, _, is_action = tile_of(q_t_ptr, None, n, is_row, first, A, BLOCK_A)
        pi_t, _, _ = tile_of(pi_t_ptr, None, n, is_row, first, A, BLOCK_A)
        expected += tl.sum(tl.where(is_action, q_t * pi_t, 0.0), 1)
    # Nothing follows the last step, nor a truncated one: its action takes no part.
    follows = is_row & (n < N - B)
    if truncated_ptr is not None:
        follows &= tl.load(truncated_ptr + n, is_row, 1) == 0
    a_t = tl.load(a_t_ptr + n, is_row, 0)
    is_bad = is_row & ((a_t < 0) | (a_t >= A))
    report(word_ptr, is_bad, ACTION)
    q_a = tl.load(q_t_ptr + n * A + a_t, follows & ~is_bad, 0.0)
    pi_a = tl.load(pi_t_ptr + n * A + a_t, follows & ~is_bad, 0.0)
    ratio = pi_a / tl.load(mu_t_ptr + n, is_row, 1.0)
    trace = tl.where(pi_a == 0.0, 0.0, lambda_.to(dtype) * at_most(ratio, 1.0))
    trace = tl.where(follows & is_bad, float("nan"), trace)
    r_t, discount_t = steps(r_t_ptr, discount_t_ptr, truncated_ptr, expected, n, is_row)
    tl.store(reward_ptr + n, r_t + discount_t * (expected - trace * q_a), is_row)
    tl.store(decay_ptr + n, discount_t * trace, is_row)


def retrace(
    r_t: Tensor,
    discount_t: Tensor,
    q_t: Tensor,
    a_t: Tensor,
    pi_t: Tensor,
    mu_t: Tensor,
    lambda_: float,
    truncated: Tensor | None = None,
) -> Tensor:
    """`torch.ops.pyagent.retrace` by a kernel. An action outside [0, A) is reported, and what it decides is NaN."""
    r_t, discount_t, truncated = step_arguments(r_t, discount_t, truncated)
    T, B = r_t.shape
    A = q_t.shape[-1]
    q_t, pi_t = argument("q_t", q_t, [T, B, A], r_t), argument("pi_t", pi_t, [T, B, A], r_t)
    a_t, mu_t = argument("a_t", a_t, [T, B], r_t, (torch.int64,)), argument("mu_t", mu_t, [T, B], r_t)
    reward, decay = torch.empty_like(r_t), torch.empty_like(r_t)
    if T * B:
        tile = row_tile(A)
        word = bad_values.word(r_t.device)
        with torch.cuda.device_of(r_t):
            retrace_steps_kernel[(triton.cdiv(T * B, tile["BLOCK_N"]),)](
                *(r_t, discount_t, q_t, a_t, pi_t, mu_t, lambda_, truncated),
                *(reward, decay, word, T * B, B, A),
                enable_fp_fusion=False,
                **tile,
            )
    return discounted_returns(reward, decay, r_t.new_zeros(B))
