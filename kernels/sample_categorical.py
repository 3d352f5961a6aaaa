"""Triton kernel of actions drawn from a softmax (`pyagent.ops.sample_categorical` has the rule and the shapes).

A row is never sorted. Logits become integers of the same order, and the last action that a cut leaves is found bit by
bit: the greatest integer such that those not below it have the wanted weight (of top_k: number), and of those that are
equal to it the fewest first. Every bit is a pass over the row, which stays in the first-level cache. Exponentials are
made by the additions and multiplications of csrc/core/simd.h, none fused, and summed in float64: a draw is the CPU's.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pyagent.kernels import bad_values
from pyagent.kernels.arguments import argument, optional
from pyagent.kernels.bad_values import CHOICES, report
from pyagent.kernels.row_tiles import largest_of, row_tile, rows_of, tile_of

WIDEST_TILE, TILE_ELEMENTS = 2048, 512


@triton.jit
def exp_nonpositive(x):
    """e^x for x ≤ 0; 0 where that is below about the smallest normal number."""
    if x.dtype == tl.float32:
        shifted = x * 1.44269504 + 12582912.0
        n = shifted - 12582912.0
        r = (x - n * 0.693145752) - n * 1.42860677e-6
        p = r * (1.0 / 5040) + 1.0 / 720
        p = p * r + 1.0 / 120
        p = p * r + 1.0 / 24
        p = p * r + 1.0 / 6
        p = p * r + 0.5
        power = ((shifted.to(tl.int32, bitcast=True) + 127) << 23).to(tl.float32, bitcast=True)
        lowest = -87.0
    else:
        shifted = x * 1.4426950408889634 + 6755399441055744.0
        n = shifted - 6755399441055744.0
        r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10
        p = r * (1.0 / 6227020800) + 1.0 / 479001600
        p = p * r + 1.0 / 39916800
        p = p * r + 1.0 / 3628800
        p = p * r + 1.0 / 362880
        p = p * r + 1.0 / 40320
        p = p * r + 1.0 / 5040
        p = p * r + 1.0 / 720
        p = p * r + 1.0 / 120
        p = p * r + 1.0 / 24
        p = p * r + 1.0 / 6
        p = p * r + 0.5
        power = ((shifted.to(tl.int64, bitcast=True) + 1023) << 52).to(tl.float64, bitcast=True)
        lowest = -708.0
    return tl.where(x < lowest, 0.0, power * ((p * r) * r + r) + power)


@triton.jit
def rank_of(logits):
    """Unsigned integers in the order of the logits, of which −0 and 0 are equal; none is 0."""
    logits = tl.where(logits == 0, 0.0, logits)
    if logits.dtype == tl.float32:
        bits = logits.to(tl.uint32, bitcast=True)
        sign = tl.full((), 1, tl.uint32) << 31
    else:
        bits = logits.to(tl.uint64, bitcast=True)
        sign = tl.full((), 1, tl.uint64) << 63
    return tl.where((bits & sign) != 0, ~bits, bits | sign)


@triton.jit
def weights_of(logits, kept, largest, temperature):
    """exp((logit − largest) / temperature) of what is kept."""
    below = logits - largest[:, None]
    if logits.dtype == tl.float32:
        scaled = tl.div_rn(below, tl.broadcast_to(temperature, below.shape))
    else:
        scaled = below / temperature
    return tl.where(kept, exp_nonpositive(scaled), 0.0).to(tl.float64)


@triton.jit
def is_before(logits, action, rank, end):
    """Whether an action ranks before the one of that rank at the place `end`."""
    of_action = rank_of(logits)
    return (of_action > rank[:, None]) | ((of_action == rank[:, None]) & (action < end[:, None]))


@triton.jit
def amount_before(row, rank, end, BY_WEIGHT: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_A: tl.constexpr):
    """The weight, or the number, of each row's actions that rank before (rank, end)."""
    logits_ptr, mask_ptr, n, is_row, A, largest, temperature = row
    amount = tl.zeros((BLOCK_N,), tl.float64)
    for first in range(0, A, BLOCK_A):
        logits, action, allowed = tile_of(logits_ptr, mask_ptr, n, is_row, first, A, BLOCK_A)
        kept = allowed & is_before(logits, action, rank, end)
        if BY_WEIGHT:
            amount += tl.sum(weights_of(logits, kept, largest, temperature), 1)
        else:
            amount += tl.sum(kept.to(tl.float64), 1)
    return amount


@triton.jit
def cut(row, wanted, BY_WEIGHT: tl.constexpr, PLACE_BITS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_A: tl.constexpr):
    """(rank, end) before which stand the fewest first actions that have the wanted weight or number; all, if none do.

    The bits of the rank come first, then those of the place.
    """
    logits_ptr, _, _, _, A, _, _ = row
    RANK_BITS: tl.constexpr = logits_ptr.dtype.element_ty.primitive_bitwidth
    rank = tl.zeros((BLOCK_N,), tl.uint32 if RANK_BITS == 32 else tl.uint64)
    place = tl.zeros((BLOCK_N,), tl.int32)
    one = tl.full((BLOCK_N,), 1, tl.int64)
    for i in range(RANK_BITS + PLACE_BITS):
        of_rank = i < RANK_BITS
        higher = tl.where(of_rank, rank | (one << (RANK_BITS - 1 - i)).to(rank.dtype), rank)
        later = tl.where(of_rank, A, place + (one << (RANK_BITS + PLACE_BITS - 1 - i)).to(tl.int32))
        reached = amount_before(row, higher, later, BY_WEIGHT, BLOCK_N, BLOCK_A) >= wanted
        rank = tl.where(of_rank & reached, higher, rank)
        place = tl.where(of_rank | reached, place, later)
    return rank, place + 1


@triton.jit
def locate(row, rank, end, share, BLOCK_N: tl.constexpr, BLOCK_A: tl.constexpr):
    """The first action with which the weights exceed `share`; the last with a weight, should rounding leave none."""
    logits_ptr, mask_ptr, n, is_row, A, largest, temperature = row
    found = tl.zeros((BLOCK_N,), tl.int32) + A
    last = tl.zeros((BLOCK_N,), tl.int32)
    before = tl.zeros((BLOCK_N,), tl.float64)
    for first in range(0, A, BLOCK_A):
        logits, action, allowed = tile_of(logits_ptr, mask_ptr, n, is_row, first, A, BLOCK_A)
        kept = allowed & is_before(logits, action, rank, end)
        weights = weights_of(logits, kept, largest, temperature)
        exceeds = (weights > 0) & (before[:, None] + tl.cumsum(weights, 1) > share[:, None])
        found = tl.minimum(found, tl.min(tl.where(exceeds, action, A), 1))
        last = tl.maximum(last, tl.max(tl.where(weights > 0, action, 0), 1))
        before += tl.sum(weights, 1)
    return tl.where(found < A, found, last)


@triton.jit(do_not_specialize=["top_k", "N"])
def sample_categorical_kernel(
    logits_ptr,
    uniform_ptr,
    temperature: tl.float64,
    top_k: tl.int64,
    top_p: tl.float64,
    mask_ptr,
    action_ptr,
    word_ptr,
    N: tl.int64,
    A: tl.int32,
    HAS_TOP_K: tl.constexpr,
    HAS_TOP_P: tl.constexpr,
    SMALLEST: tl.constexpr,
    PLACE_BITS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_A: tl.constexpr,
):
    n, is_row = rows_of(tl.program_id(0).to(tl.int64), N, BLOCK_N)
    largest, _, is_nan = largest_of(logits_ptr, mask_ptr, n, is_row, A, BLOCK_N, BLOCK_A)
    is_bad = is_row & (is_nan | (largest == float("inf")) | (largest == -float("inf")))
    report(word_ptr, is_bad, CHOICES)
    largest = tl.where(is_row & ~is_bad, largest, 0.0)
    row = (logits_ptr, mask_ptr, n, is_row & ~is_bad, A, largest, tl.maximum(temperature.to(largest.dtype), SMALLEST))
    rank = tl.zeros((BLOCK_N,), rank_of(largest).dtype)
    end = tl.zeros((BLOCK_N,), tl.int32) + A
    if HAS_TOP_K:
        rank, end = cut(row, top_k.to(tl.float64), False, PLACE_BITS, BLOCK_N, BLOCK_A)
    if HAS_TOP_P:
        # This cut cannot come after the other, which has all of that weight before it.
        wanted = top_p * amount_before(row, rank, end, True, BLOCK_N, BLOCK_A)
        rank, end = cut(row, wanted, True, PLACE_BITS, BLOCK_N, BLOCK_A)
    total = amount_before(row, rank, end, True, BLOCK_N, BLOCK_A)
    uniform = tl.load(uniform_ptr + n, is_row, 0.0)
    action = locate(row, rank, end, uniform * total, BLOCK_N, BLOCK_A)
    tl.store(action_ptr + n, tl.where(is_bad, -1, action), is_row)


def sample_categorical(
    logits: Tensor,
    uniform: Tensor,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    mask: Tensor | None,
) -> Tensor:
    """`torch.ops.pyagent.sample_categorical` by a kernel.

    A row with NaN or +∞ among its allowed logits, or without one above −∞, is reported, and its action is -1.
    """
    if logits.dim() != 2 or logits.dtype not in (torch.float32, torch.float64):
        raise RuntimeError(f"logits: got {logits.dtype} {list(logits.shape)}, want float32 or float64 [N, A]")
    if not (temperature > 0 and (top_k is None or top_k >= 1) and (top_p is None or top_p > 0)):
        raise RuntimeError(f"temperature, top_k, top_p: got {temperature}, {top_k}, {top_p}")
    N, A = logits.shape
    logits, mask = argument("logits", logits, [N, A], logits), optional("mask", mask, [N, A], logits, (torch.bool,))
    uniform = argument("uniform", uniform, [N], logits, (torch.float64,))
    action, tile, word = (
        logits.new_empty(N, dtype=torch.int64),
        row_tile(A, WIDEST_TILE, TILE_ELEMENTS),
        bad_values.word(logits.device),
    )
    if N:
        with torch.cuda.device_of(logits):
            sample_categorical_kernel[(triton.cdiv(N, tile["BLOCK_N"]),)](
                *(logits, uniform, temperature, top_k or 1, 1.0 if top_p is None else top_p, mask, action, word, N, A),
                HAS_TOP_K=top_k is not None and top_k < A,
                HAS_TOP_P=top_p is not None and top_p < 1,
                SMALLEST=torch.finfo(logits.dtype).tiny,
                PLACE_BITS=A.bit_length(),
                enable_fp_fusion=False,
                **tile,
            )
    return action
