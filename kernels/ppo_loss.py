"""Triton kernels of the loss of proximal policy optimisation (`pyagent.ops.ppo_loss` has the maths and the shapes).

The forward keeps the probabilities and four numbers a row, from which the backward makes the gradients by any of the
loss's parts without another exponential. Each program leaves the sums of its rows; a second kernel adds these up in
one order.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pyagent.kernels import bad_values
from pyagent.kernels.arguments import argument, optional
from pyagent.kernels.bad_values import ACTION, report
from pyagent.kernels.row_tiles import MOST_PROGRAMS, largest_of, row_tile, rows_of, tile_of

SUMS = tl.constexpr(6)  # policy, value, entropy, KL, clipped, rows


@triton.jit
def softmax(logits_ptr, mask_ptr, probability_ptr, n, is_row, counts, A, BLOCK_N: tl.constexpr, BLOCK_A: tl.constexpr):
    """Writes each row's probabilities; its largest logit, the log of the sum relative to it, and its entropy."""
    largest, _, _ = largest_of(logits_ptr, mask_ptr, n, counts, A, BLOCK_N, BLOCK_A)
    total, moment = tl.zeros((BLOCK_N,), largest.dtype), tl.zeros((BLOCK_N,), largest.dtype)
    for first in range(0, A, BLOCK_A):
        logits, action, allowed = tile_of(logits_ptr, mask_ptr, n, counts, first, A, BLOCK_A)
        below = logits - largest[:, None]
        exponential = tl.exp(below)
        total += tl.sum(exponential, 1)
        moment += tl.sum(tl.where(exponential > 0, exponential * below, 0.0), 1)  # not 0 times infinity
    share = 1 / total
    for first in range(0, A, BLOCK_A):
        logits, action, allowed = tile_of(logits_ptr, mask_ptr, n, counts, first, A, BLOCK_A)
        probability = tl.where(allowed, tl.exp(logits - largest[:, None]) * share[:, None], 0.0)
        tl.store(probability_ptr + (n[:, None] * A + action), probability, is_row[:, None] & (action < A))
    log_sum = tl.log(total)
    return largest, log_sum, log_sum - moment * share


@triton.jit(do_not_specialize=["N", "parts"])
def ppo_loss_kernel(
    logits_ptr,
    value_ptr,
    action_ptr,
    old_log_prob_ptr,
    advantage_ptr,
    target_ptr,
    mask_ptr,
    valid_ptr,
    clip_range: tl.float64,
    probability_ptr,
    largest_ptr,
    log_sum_ptr,
    entropy_ptr,
    slope_ptr,
    sums_ptr,
    word_ptr,
    N: tl.int64,
    A: tl.int32,
    parts: tl.int64,
    BLOCK_N: tl.constexpr,
    BLOCK_A: tl.constexpr,
):
    program = tl.program_id(0).to(tl.int64)
    clip = clip_range.to(logits_ptr.dtype.element_ty)
    low, high = 1 - clip, 1 + clip
    zero = tl.zeros((), tl.float64)
    policy, value_loss, entropies, kl, clips, rows = zero, zero, zero, zero, zero, zero
    for block in range(program, tl.cdiv(N, BLOCK_N), tl.num_programs(0)):
        n, is_row = rows_of(block, N, BLOCK_N)
        counts = is_row
        if valid_ptr is not None:
            counts &= tl.load(valid_ptr + n, is_row, 0) != 0
        largest, log_sum, entropy = softmax(
            logits_ptr, mask_ptr, probability_ptr, n, is_row, counts, A, BLOCK_N, BLOCK_A
        )
        action = tl.load(action_ptr + n, counts, 0)
        is_bad = counts & ((action < 0) | (action >= A))
        if mask_ptr is not None:
            is_bad |= counts & (tl.load(mask_ptr + n * A + action, counts & ~is_bad, 1) == 0)
        report(word_ptr, is_bad, ACTION)
        logit = tl.load(logits_ptr + n * A + action, counts & ~is_bad, float("nan"))
        log_ratio = logit - largest - log_sum - tl.load(old_log_prob_ptr + n, counts, 0.0)
        ratio, advantage = tl.exp(log_ratio), tl.load(advantage_ptr + n, counts, 0.0)
        clipped = tl.where(ratio > high, high, tl.where(ratio < low, low, ratio))
        plain, bounded = ratio * advantage, clipped * advantage
        slope = tl.where(plain > bounded, 0.0, plain)
        error = tl.load(value_ptr + n, counts, 0.0) - tl.load(target_ptr + n, counts, 0.0)
        tl.store(largest_ptr + n, tl.where(counts, largest, 0.0), is_row)
        tl.store(log_sum_ptr + n, tl.where(counts, log_sum, 0.0), is_row)
        tl.store(entropy_ptr + n, tl.where(counts, entropy, 0.0), is_row)
        tl.store(slope_ptr + n, tl.where(counts, slope, 0.0), is_row)
        policy -= sum_of(tl.where(plain > bounded, bounded, plain), counts)
        value_loss += sum_of(error * error, counts)
        entropies += sum_of(entropy, counts)
        kl += sum_of(ratio - 1 - log_ratio, counts)
        clips += sum_of((ratio != clipped).to(tl.float64), counts)
        rows += tl.sum(counts.to(tl.float64))
    tl.store(sums_ptr + program, policy)
    tl.store(sums_ptr + parts + program, value_loss)
    tl.store(sums_ptr + 2 * parts + program, entropies)
    tl.store(sums_ptr + 3 * parts + program, kl)
    tl.store(sums_ptr + 4 * parts + program, clips)
    tl.store(sums_ptr + 5 * parts + program, rows)


@triton.jit
def sum_of(x, counts):
    """In float64, of the rows that count."""
    return tl.sum(tl.where(counts, x, 0.0).to(tl.float64))


@triton.jit
def mean_of(sums_ptr, which, parts, rows, part):
    return tl.sum(tl.load(sums_ptr + which * parts + part, part < parts, 0.0)) / rows


@triton.jit(do_not_specialize=["parts"])
def ppo_loss_mean_kernel(
    sums_ptr,
    loss_ptr,
    policy_ptr,
    value_ptr,
    entropy_ptr,
    kl_ptr,
    clipped_ptr,
    ent_coef: tl.float64,
    vf_coef: tl.float64,
    parts: tl.int64,
    PARTS: tl.constexpr,
):
    part = tl.arange(0, PARTS).to(tl.int64)
    dtype = loss_ptr.dtype.element_ty
    rows = tl.sum(tl.load(sums_ptr + 5 * parts + part, part < parts, 0.0))
    policy, value = mean_of(sums_ptr, 0, parts, rows, part), mean_of(sums_ptr, 1, parts, rows, part)
    entropy = mean_of(sums_ptr, 2, parts, rows, part)
    tl.store(loss_ptr, (policy + vf_coef * value - ent_coef * entropy).to(dtype))
    tl.store(policy_ptr, policy.to(dtype))
    tl.store(value_ptr, value.to(dtype))
    tl.store(entropy_ptr, entropy.to(dtype))
    tl.store(kl_ptr, mean_of(sums_ptr, 3, parts, rows, part).to(dtype))
    tl.store(clipped_ptr, mean_of(sums_ptr, 4, parts, rows, part).to(dtype))


@triton.jit
def scalar(pointer, dtype: tl.constexpr):
    """What an optional gradient is, or 0."""
    return tl.zeros((), dtype) if pointer is None else tl.load(pointer)


@triton.jit(do_not_specialize=["N"])
def ppo_loss_backward_kernel(
    grad_loss_ptr,
    grad_policy_ptr,
    grad_value_loss_ptr,
    grad_entropy_ptr,
    logits_ptr,
    value_ptr,
    action_ptr,
    target_ptr,
    valid_ptr,
    probability_ptr,
    largest_ptr,
    log_sum_ptr,
    entropy_ptr,
    slope_ptr,
    ent_coef: tl.float64,
    vf_coef: tl.float64,
    rows_ptr,
    grad_logits_ptr,
    grad_value_ptr,
    word_ptr,
    N: tl.int64,
    A: tl.int32,
    BLOCK_N: tl.constexpr,
    BLOCK_A: tl.constexpr,
):
    dtype = logits_ptr.dtype.element_ty
    n, is_row = rows_of(tl.program_id(0).to(tl.int64), N, BLOCK_N)
    column = tl.program_id(1).to(tl.int64) * BLOCK_A + tl.arange(0, BLOCK_A)[None, :]
    counts, rows = is_row, N
    if valid_ptr is not None:
        counts &= tl.load(valid_ptr + n, is_row, 0) != 0
        rows = tl.load(rows_ptr)
    share, of_all = 1 / rows.to(dtype), scalar(grad_loss_ptr, dtype)
    by_policy = (of_all + scalar(grad_policy_ptr, dtype)) * share
    by_entropy = (scalar(grad_entropy_ptr, dtype) - ent_coef.to(dtype) * of_all) * share
    by_value = (vf_coef.to(dtype) * of_all + scalar(grad_value_loss_ptr, dtype)) * share
    action = tl.load(action_ptr + n, counts, 0)
    is_bad = counts & ((action < 0) | (action >= A))
    report(word_ptr, is_bad, ACTION)
    at, mask = n[:, None] * A + column, counts[:, None] & (column < A)
    probability, logits = tl.load(probability_ptr + at, mask, 0.0), tl.load(logits_ptr + at, mask, 0.0)
    slope, largest = tl.load(slope_ptr + n, counts, 0.0), tl.load(largest_ptr + n, counts, 0.0)
    rest = tl.load(entropy_ptr + n, counts, 0.0) - tl.load(log_sum_ptr + n, counts, 0.0)
    of_every = (by_policy * slope - by_entropy * rest)[:, None] - by_entropy * (logits - largest[:, None])
    grad = tl.where(probability == 0, 0.0, probability * of_every)
    grad -= tl.where(column == action[:, None], by_policy * slope[:, None], 0.0)
    grad = tl.where(is_bad[:, None], float("nan"), tl.where(counts[:, None], grad, 0.0))
    tl.store(grad_logits_ptr + at, grad, is_row[:, None] & (column < A))
    if tl.program_id(1) == 0:
        error = tl.load(value_ptr + n, counts, 0.0) - tl.load(target_ptr + n, counts, 0.0)
        tl.store(grad_value_ptr + n, tl.where(counts, by_value * 2 * error, 0.0), is_row)


def ppo_loss_forward(
    logits: Tensor,
    value: Tensor,
    action: Tensor,
    old_log_prob: Tensor,
    advantage: Tensor,
    target: Tensor,
    mask: Tensor | None,
    valid: Tensor | None,
    clip_range: float,
    ent_coef: float,
    vf_coef: float,
) -> tuple[Tensor, ...]:
    """`torch.ops.pyagent.ppo_loss_forward` by kernels.

    An action outside [0, A), or a masked one, is reported, and makes the loss NaN.
    """
    N, A = _rows(logits)
    logits, mask = argument("logits", logits, [N, A], logits), optional("mask", mask, [N, A], logits, (torch.bool,))
    value, target = argument("value", value, [N], logits), argument("target", target, [N], logits)
    old_log_prob = argument("old_log_prob", old_log_prob, [N], logits)
    advantage, action = (
        argument("advantage", advantage, [N], logits),
        argument("action", action, [N], logits, (torch.int64,)),
    )
    valid = optional("valid", valid, [N], logits, (torch.bool,))
    means = [logits.new_empty(()) for _ in range(6)]
    saved = [torch.empty_like(logits), *(torch.empty_like(value) for _ in range(4))]
    tile, word = row_tile(A), bad_values.word(logits.device)
    parts = max(1, min(triton.cdiv(N, tile["BLOCK_N"]), MOST_PROGRAMS))
    sums = logits.new_empty(SUMS.value, parts, dtype=torch.float64)
    with torch.cuda.device_of(logits):
        ppo_loss_kernel[(parts,)](
            *(logits, value, action, old_log_prob, advantage, target, mask, valid, clip_range, *saved),
            *(sums, word, N, A, parts),
            enable_fp_fusion=False,
            **tile,
        )
        ppo_loss_mean_kernel[(1,)](
            *(sums, *means, ent_coef, vf_coef, parts), PARTS=triton.next_power_of_2(parts), enable_fp_fusion=False
        )
    return *means, *saved


def ppo_loss_backward(
    grad_loss: Tensor | None,
    grad_policy: Tensor | None,
    grad_value_loss: Tensor | None,
    grad_entropy: Tensor | None,
    logits: Tensor,
    value: Tensor,
    action: Tensor,
    target: Tensor,
    valid: Tensor | None,
    probability: Tensor,
    largest: Tensor,
    log_sum: Tensor,
    entropy: Tensor,
    slope: Tensor,
    ent_coef: float,
    vf_coef: float,
) -> tuple[Tensor, Tensor]:
    """`torch.ops.pyagent.ppo_loss_backward` by a kernel."""
    N, A = _rows(logits)
    grads = [optional("grad", x, [], logits) for x in (grad_loss, grad_policy, grad_value_loss, grad_entropy)]
    logits, probability = (argument("logits, probability", x, [N, A], logits) for x in (logits, probability))
    of_rows = [argument("saved", x, [N], logits) for x in (largest, log_sum, entropy, slope)]
    value, target = argument("value", value, [N], logits), argument("target", target, [N], logits)
    action, valid = (
        argument("action", action, [N], logits, (torch.int64,)),
        optional("valid", valid, [N], logits, (torch.bool,)),
    )
    grad_logits, grad_value, tile = torch.empty_like(logits), torch.empty_like(value), row_tile(A)
    word = bad_values.word(logits.device)
    if N:
        with torch.cuda.device_of(logits):
            ppo_loss_backward_kernel[(triton.cdiv(N, tile["BLOCK_N"]), max(1, triton.cdiv(A, tile["BLOCK_A"])))](
                *(*grads, logits, value, action, target, valid, probability, *of_rows, ent_coef, vf_coef),
                *(None if valid is None else valid.sum(), grad_logits, grad_value, word, N, A),
                enable_fp_fusion=False,
                **tile,
            )
    return grad_logits, grad_value


def _rows(logits: Tensor) -> torch.Size:
    if logits.dim() != 2 or logits.dtype not in (torch.float32, torch.float64):
        raise RuntimeError(f"logits: got {logits.dtype} {list(logits.shape)}, want float32 or float64 [N, A]")
    return logits.shape
