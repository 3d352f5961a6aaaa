"""Triton kernel of ε-greedy actions (`pyagent.ops.epsilon_greedy` has the rule and the shapes)."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pyagent.kernels import bad_values
from pyagent.kernels.arguments import argument, optional
from pyagent.kernels.bad_values import CHOICES, report
from pyagent.kernels.row_tiles import largest_of, row_tile, rows_of, tile_of


@triton.jit
def any_allowed(q_ptr, mask_ptr, uniform, n, is_row, A, BLOCK_N: tl.constexpr, BLOCK_A: tl.constexpr):
    """The ⌊uniform · count⌋-th of each row's allowed actions."""
    count = tl.zeros((BLOCK_N,), tl.int32) + A
    if mask_ptr is not None:
        count = tl.zeros((BLOCK_N,), tl.int32)
        for first in range(0, A, BLOCK_A):
            _, _, allowed = tile_of(q_ptr, mask_ptr, n, is_row, first, A, BLOCK_A)
            count += tl.sum(allowed.to(tl.int32), 1)
    left = tl.minimum((uniform * count.to(tl.float64)).to(tl.int32), count - 1)
    chosen = left
    if mask_ptr is not None:
        before = tl.zeros((BLOCK_N,), tl.int32)
        for first in range(0, A, BLOCK_A):
            _, action, allowed = tile_of(q_ptr, mask_ptr, n, is_row, first, A, BLOCK_A)
            rank = before[:, None] + tl.cumsum(allowed.to(tl.int32), 1) - 1
            is_it = allowed & (rank == left[:, None])
            chosen = tl.where(tl.max(is_it.to(tl.int32), 1) > 0, tl.sum(tl.where(is_it, action, 0), 1), chosen)
            before += tl.sum(allowed.to(tl.int32), 1)
    return chosen


@triton.jit(do_not_specialize=["N"])
def epsilon_greedy_kernel(
    q_ptr,
    epsilon: tl.float64,
    epsilon_of_row_ptr,
    uniform_ptr,
    mask_ptr,
    action_ptr,
    word_ptr,
    N: tl.int64,
    A: tl.int32,
    BLOCK_N: tl.constexpr,
    BLOCK_A: tl.constexpr,
):
    n, is_row = rows_of(tl.program_id(0).to(tl.int64), N, BLOCK_N)
    _, greedy, is_nan = largest_of(q_ptr, mask_ptr, n, is_row, A, BLOCK_N, BLOCK_A)
    is_bad = is_row & (is_nan | (greedy == A))
    report(word_ptr, is_bad, CHOICES)
    explores = tl.load(uniform_ptr + 2 * n, is_row, 1.0)
    uniform = tl.load(uniform_ptr + (2 * n + 1), is_row, 0.0)
    chance = tl.zeros((BLOCK_N,), tl.float64) + epsilon
    if epsilon_of_row_ptr is not None:
        chance = tl.load(epsilon_of_row_ptr + n, is_row, 0.0)
    explored = any_allowed(q_ptr, mask_ptr, uniform, n, is_row, A, BLOCK_N, BLOCK_A)
    action = tl.where(explores < chance, explored, greedy)
    tl.store(action_ptr + n, tl.where(is_bad, -1, action), is_row)


def epsilon_greedy(
    q: Tensor, epsilon: float, epsilon_of_row: Tensor | None, uniform: Tensor, mask: Tensor | None
) -> Tensor:
    """`torch.ops.pyagent.epsilon_greedy` by a kernel.

    A row with NaN among its allowed values, or without one, is reported, and its action is -1.
    """
    if q.dim() != 2 or q.dtype not in (torch.float32, torch.float64):
        raise RuntimeError(f"q: got {q.dtype} {list(q.shape)}, want float32 or float64 [N, A]")
    N, A = q.shape
    q, mask = argument("q", q, [N, A], q), optional("mask", mask, [N, A], q, (torch.bool,))
    uniform = argument("uniform", uniform, [N, 2], q, (torch.float64,))
    epsilon_of_row = optional("epsilon_of_row", epsilon_of_row, [N], q, (torch.float64,))
    action, tile, word = q.new_empty(N, dtype=torch.int64), row_tile(A), bad_values.word(q.device)
    if N:
        with torch.cuda.device_of(q):
            epsilon_greedy_kernel[(triton.cdiv(N, tile["BLOCK_N"]),)](
                q, epsilon, epsilon_of_row, uniform, mask, action, word, N, A, enable_fp_fusion=False, **tile
            )
    return action
