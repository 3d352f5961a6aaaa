"""What the returns share: the recursion x_t = a_t + b_t · x_{t+1} of every lane, backwards over a tile of steps.

A program has a few lanes, as many as a sector of memory holds, and goes through time a tile of steps at once. In a
tile the maps x → a_t + b_t · x are composed by an associative scan, so that a batch of 64 lanes is bound by neither
the latency of its loads nor that of its sums; the rows of a tile lie backwards in time.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pyagent.kernels.arguments import argument, optional

LONGEST_TILE = 128


@triton.jit
def after(a_1, b_1, a_2, b_2):
    """The map x → a_1 + b_1 · x, and on its result x → a_2 + b_2 · x."""
    return a_2 + b_2 * a_1, b_2 * b_1


@triton.jit
def scan(a, b, carry):
    """x of every row of a tile, from the x `carry` before its first row."""
    a, b = tl.associative_scan((a, b), 0, after)
    return a + b * carry[None, :]


@triton.jit
def row_of(x, row, BLOCK_T: tl.constexpr):
    """One row of a tile."""
    return tl.sum(tl.where(tl.arange(0, BLOCK_T)[:, None] == row, x, 0.0), 0)


@triton.jit
def lanes_of(block, B, BLOCK_B: tl.constexpr):
    """The lanes of a block, and which of them there are."""
    lane = block * BLOCK_B + tl.arange(0, BLOCK_B).to(tl.int64)
    return lane, lane < B


@triton.jit
def tile_before(end, lane, is_lane, B, BLOCK_T: tl.constexpr):
    """Where the steps end − 1, end − 2, … stand in an array [T, B], and which of them there are."""
    t = end - 1 - tl.arange(0, BLOCK_T)[:, None].to(tl.int64)
    return t * B + lane[None, :], (t >= 0) & is_lane[None, :]


@triton.jit
def steps(r_t_ptr, discount_t_ptr, truncated_ptr, final, at, mask):
    """Rewards and discounts as the recursion sees them; `final` is what a truncated step leads to."""
    r_t = tl.load(r_t_ptr + at, mask, 0.0)
    discount_t = tl.load(discount_t_ptr + at, mask, 0.0)
    if truncated_ptr is not None:
        truncated = tl.load(truncated_ptr + at, mask, 0) != 0
        r_t = tl.where(truncated, r_t + discount_t * final, r_t)
        discount_t = tl.where(truncated, 0.0, discount_t)
    return r_t, discount_t


@triton.jit
def at_most(x, bound):
    """min(x, bound); NaN stays NaN."""
    return tl.where(x > bound, bound, x)


def tile_of(T: int, like: Tensor) -> dict[str, int]:
    """The tile of a program: a sector of lanes, and time in few and long steps."""
    return {"BLOCK_T": min(LONGEST_TILE, triton.next_power_of_2(T)), "BLOCK_B": 32 // like.element_size()}


def step_arguments(r_t: Tensor, discount_t: Tensor, truncated: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """The arguments that every return has."""
    if r_t.dim() != 2 or r_t.dtype not in (torch.float32, torch.float64):
        raise RuntimeError(f"r_t: got {r_t.dtype} {list(r_t.shape)}, want float32 or float64 [T, B]")
    return (
        argument("r_t", r_t, r_t.shape, r_t),
        argument("discount_t", discount_t, r_t.shape, r_t),
        optional("truncated", truncated, r_t.shape, r_t, (torch.bool,)),
    )


def final_values(v_final: Tensor | None, truncated: Tensor | None, like: Tensor) -> Tensor | None:
    """`v_final`, which has a use beside `truncated` alone."""
    if v_final is not None and truncated is None:
        raise RuntimeError("v_final: want None without truncated")
    return optional("v_final", v_final, like.shape, like)
