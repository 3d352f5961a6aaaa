"""What the kernels on rows of values [N, A] share: a program has a few rows, and goes through their actions by tiles.

Rows and offsets are counted in 64 bits, the actions of a row in 32, which halves the registers of a tile. No kernel is
compiled again for another number of rows.
"""

from typing import Any

import triton
import triton.language as tl

MOST_PROGRAMS = 1024  # of a sum over rows, whose parts a single block then adds


@triton.jit
def rows_of(block, N, BLOCK_N: tl.constexpr):
    """The rows of a block, and which of them there are."""
    n = block * BLOCK_N + tl.arange(0, BLOCK_N).to(tl.int64)
    return n, n < N


@triton.jit
def tile_of(values_ptr, mask_ptr, n, is_row, first, A, BLOCK_A: tl.constexpr):
    """Values of the actions `first`, `first` + 1, … of rows n; the actions; and which of them are allowed.

    What is not allowed, or not there, is not read; it is −∞.
    """
    action = first + tl.arange(0, BLOCK_A)[None, :]
    at = n[:, None] * A + action
    allowed = is_row[:, None] & (action < A)
    if mask_ptr is not None:
        allowed &= tl.load(mask_ptr + at, allowed, 0) != 0
    return tl.load(values_ptr + at, allowed, -float("inf")), action, allowed


@triton.jit
def largest_of(values_ptr, mask_ptr, n, is_row, A, BLOCK_N: tl.constexpr, BLOCK_A: tl.constexpr):
    """Of each row the largest allowed value, where it stands first (A: nothing is allowed), and whether one is NaN.

    NaN is no value here: comparisons with it, and what reductions make of it, differ between machines.
    """
    largest = tl.full((BLOCK_N,), -float("inf"), values_ptr.dtype.element_ty)
    place = tl.zeros((BLOCK_N,), tl.int32) + A
    is_nan = tl.zeros((BLOCK_N,), tl.int1)
    for first in range(0, A, BLOCK_A):
        values, action, allowed = tile_of(values_ptr, mask_ptr, n, is_row, first, A, BLOCK_A)
        is_nan |= tl.max((values != values).to(tl.int32), 1) > 0
        values = tl.where(values == values, values, -float("inf"))
        most = tl.max(values, 1)
        at = tl.min(tl.where(allowed & (values == most[:, None]), action, A), 1)
        place = tl.where((most > largest) | (place == A), at, place)
        largest = tl.where(most > largest, most, largest)
    return largest, place, is_nan


def row_tile(A: int, widest: int = 256, elements: int = 256) -> dict[str, Any]:
    """The rows and actions that a program has at a time, whatever N is, and the warps for as many.

    Raises:
        RuntimeError: the actions cannot be counted in 32 bits.
    """
    if A >= 1 << 30:
        raise RuntimeError(f"got {A} actions, want fewer than 2**30")
    block_a = min(widest, triton.next_power_of_2(max(A, 1)))
    block_n = max(1, elements // block_a)
    return {"BLOCK_N": block_n, "BLOCK_A": block_a, "num_warps": max(4, block_n * block_a // 128)}
