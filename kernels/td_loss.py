"""Triton kernels of the temporal-difference losses (`pyagent.ops.td_loss` has the maths and the shapes).

One pass over the rows makes errors, losses and the one gradient a row that is not 0. Each program leaves the sum of its
rows' losses; a second kernel adds these up in one order and divides.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pyagent.kernels import bad_values
from pyagent.kernels.arguments import argument, optional
from pyagent.kernels.bad_values import ACTION, report
from pyagent.kernels.row_tiles import MOST_PROGRAMS, largest_of, row_tile, rows_of

MEAN_ROWS = 1024  # that a program of the second kernel has


@triton.jit
def rescaled(x, epsilon):
    """h(x), in a form that loses no digits (`pyagent.ops.value_rescaling`)."""
    return x * (1 / (tl.sqrt(tl.abs(x) + 1) + 1) + epsilon)


@triton.jit
def restored(y, epsilon):
    """h⁻¹(y)."""
    k = 1 + 2 * epsilon
    share = 2 / (k + tl.sqrt(k * k + 4 * epsilon * tl.abs(y)))
    return y * share * (tl.abs(y) * share + 2)


@triton.jit
def bootstrap(q_t_ptr, selector_ptr, n, is_row, A, BLOCK_N: tl.constexpr, BLOCK_A: tl.constexpr):
    """The largest value of each row, or that of the selector's choice; NaN where one to choose from is."""
    if selector_ptr is None:
        value, _, is_nan = largest_of(q_t_ptr, None, n, is_row, A, BLOCK_N, BLOCK_A)
    else:
        _, place, is_nan = largest_of(selector_ptr, None, n, is_row, A, BLOCK_N, BLOCK_A)
        value = tl.load(q_t_ptr + (n * A + place), is_row & (place < A), 0.0)
    return tl.where(is_nan, float("nan"), value)


@triton.jit(do_not_specialize=["N"])
def bootstrap_value_kernel(
    q_t_ptr,
    selector_ptr,
    epsilon: tl.float64,
    value_ptr,
    N: tl.int64,
    A: tl.int32,
    RESCALE: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_A: tl.constexpr,
):
    n, is_row = rows_of(tl.program_id(0).to(tl.int64), N, BLOCK_N)
    value = bootstrap(q_t_ptr, selector_ptr, n, is_row, A, BLOCK_N, BLOCK_A)
    if RESCALE:
        value = restored(value, epsilon.to(value.dtype))
    tl.store(value_ptr + n, value, is_row)


@triton.jit(do_not_specialize=["N", "num_weights"])
def td_loss_kernel(
    q_tm1_ptr,
    a_tm1_ptr,
    r_t_ptr,
    discount_t_ptr,
    q_t_ptr,
    selector_ptr,
    weights_ptr,
    huber_delta: tl.float64,
    epsilon: tl.float64,
    td_error_ptr,
    grad_q_a_ptr,
    sums_ptr,
    word_ptr,
    N: tl.int64,
    A: tl.int32,
    num_weights: tl.int64,
    RESCALE: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_A: tl.constexpr,
):
    program = tl.program_id(0).to(tl.int64)
    dtype = q_tm1_ptr.dtype.element_ty
    bound = huber_delta.to(dtype)
    sum_of_losses, counted = tl.zeros((), tl.float64), tl.zeros((), tl.float64)
    for block in range(program, tl.cdiv(N, BLOCK_N), tl.num_programs(0)):
        n, is_row = rows_of(block, N, BLOCK_N)
        target = tl.load(r_t_ptr + n, is_row, 0.0)
        if q_t_ptr is not None:
            value = bootstrap(q_t_ptr, selector_ptr, n, is_row, A, BLOCK_N, BLOCK_A)
            if RESCALE:
                value = restored(value, epsilon.to(dtype))
            target += tl.load(discount_t_ptr + n, is_row, 0.0) * value
        if RESCALE:
            target = rescaled(target, epsilon.to(dtype))
        a_tm1 = tl.load(a_tm1_ptr + n, is_row, 0)
        is_bad = is_row & ((a_tm1 < 0) | (a_tm1 >= A))
        report(word_ptr, is_bad, ACTION)
        error = target - tl.load(q_tm1_ptr + (n * A + a_tm1), is_row & ~is_bad, float("nan"))
        weight = is_row.to(dtype)
        if weights_ptr is not None:
            weight = tl.load(weights_ptr + n % num_weights, is_row, 0.0)
        is_counted = weight != 0
        slope = tl.where(error > bound, bound, tl.where(error < -bound, -bound, error))
        tl.store(td_error_ptr + n, tl.where(is_counted, error, 0.0), is_row)
        tl.store(grad_q_a_ptr + n, tl.where(is_counted, -weight * slope, 0.0), is_row)
        loss = tl.where(is_counted, weight * slope * (error - slope / 2), 0.0)
        sum_of_losses += tl.sum(loss.to(tl.float64))
        counted += tl.sum(is_counted.to(tl.float64))
    tl.store(sums_ptr + 2 * program, sum_of_losses)
    tl.store(sums_ptr + (2 * program + 1), counted)


@triton.jit(do_not_specialize=["N", "parts"])
def td_loss_mean_kernel(
    sums_ptr, loss_ptr, grad_q_a_ptr, N: tl.int64, parts: tl.int64, PARTS: tl.constexpr, BLOCK_N: tl.constexpr
):
    part = tl.arange(0, PARTS).to(tl.int64)
    sum_of_losses = tl.sum(tl.load(sums_ptr + 2 * part, part < parts, 0.0))
    counted = tl.sum(tl.load(sums_ptr + (2 * part + 1), part < parts, 0.0))
    n, is_row = rows_of(tl.program_id(0).to(tl.int64), N, BLOCK_N)
    if tl.program_id(0) == 0:
        tl.store(loss_ptr, (sum_of_losses / counted).to(loss_ptr.dtype.element_ty))
    grad = tl.load(grad_q_a_ptr + n, is_row, 0.0)
    share = tl.where(counted > 0, 1 / counted.to(grad.dtype), 0.0)
    tl.store(grad_q_a_ptr + n, grad * share, is_row)


@triton.jit(do_not_specialize=["N"])
def td_loss_backward_kernel(
    grad_q_a_ptr,
    a_tm1_ptr,
    scale_ptr,
    grad_q_ptr,
    word_ptr,
    N: tl.int64,
    A: tl.int32,
    BLOCK_N: tl.constexpr,
    BLOCK_A: tl.constexpr,
):
    n, is_row = rows_of(tl.program_id(0).to(tl.int64), N, BLOCK_N)
    action = tl.program_id(1).to(tl.int64) * BLOCK_A + tl.arange(0, BLOCK_A)[None, :]
    a_tm1 = tl.load(a_tm1_ptr + n, is_row, 0)
    is_bad = is_row & ((a_tm1 < 0) | (a_tm1 >= A))
    report(word_ptr, is_bad, ACTION)
    grad = tl.load(grad_q_a_ptr + n, is_row, 0.0)
    if scale_ptr is not None:
        grad *= tl.load(scale_ptr)
    grad_q = tl.where(action == a_tm1[:, None], grad[:, None], 0.0)
    grad_q = tl.where(is_bad[:, None], float("nan"), grad_q)
    tl.store(grad_q_ptr + (n[:, None] * A + action), grad_q, is_row[:, None] & (action < A))


def td_loss_forward(
    q_tm1: Tensor,
    a_tm1: Tensor,
    r_t: Tensor,
    discount_t: Tensor | None,
    q_t: Tensor | None,
    q_t_selector: Tensor | None,
    weights: Tensor | None,
    huber_delta: float | None,
    rescale_epsilon: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """`torch.ops.pyagent.td_loss_forward` by kernels. An action outside [0, A) is reported, and its error is NaN."""
    T, B, A = _action_values("q_tm1", q_tm1)
    if (discount_t is None) != (q_t is None):
        raise RuntimeError("discount_t: want it with q_t")
    q_tm1, r_t = argument("q_tm1", q_tm1, [T, B, A], q_tm1), argument("r_t", r_t, [T, B], q_tm1)
    a_tm1, discount_t = _actions(a_tm1, q_tm1), optional("discount_t", discount_t, [T, B], q_tm1)
    q_t, q_t_selector = optional("q_t", q_t, [T, B, A], q_tm1), optional("q_t_selector", q_t_selector, [T, B, A], q_tm1)
    by_lane = weights is not None and weights.dim() == 1
    weights = optional("weights", weights, [B] if by_lane else [T, B], q_tm1)
    loss, td_error, grad_q_a = q_tm1.new_empty(()), torch.empty_like(r_t), torch.empty_like(r_t)
    tile, N, word = row_tile(A), T * B, bad_values.word(q_tm1.device)
    parts = max(1, min(triton.cdiv(N, tile["BLOCK_N"]), MOST_PROGRAMS))
    sums = q_tm1.new_empty(parts, 2, dtype=torch.float64)
    bound = float("inf") if huber_delta is None else huber_delta
    epsilon = 0.0 if rescale_epsilon is None else rescale_epsilon
    with torch.cuda.device_of(q_tm1):
        td_loss_kernel[(parts,)](
            *(q_tm1, a_tm1, r_t, discount_t, q_t, q_t_selector, weights, bound, epsilon),
            *(td_error, grad_q_a, sums, word, N, A, 1 if weights is None else weights.numel()),
            RESCALE=rescale_epsilon is not None,
            enable_fp_fusion=False,
            **tile,
        )
        td_loss_mean_kernel[(max(1, triton.cdiv(N, MEAN_ROWS)),)](
            *(sums, loss, grad_q_a, N, parts),
            PARTS=triton.next_power_of_2(parts),
            BLOCK_N=MEAN_ROWS,
            enable_fp_fusion=False,
        )
    return loss, td_error, grad_q_a


def td_loss_backward(grad_q_a: Tensor, a_tm1: Tensor, scale: Tensor | None, A: int) -> Tensor:
    """`torch.ops.pyagent.td_loss_backward` by a kernel. The gradient of a row of a bad action is NaN."""
    grad_q_a, a_tm1 = argument("grad_q_a", grad_q_a, a_tm1.shape, grad_q_a), _actions(a_tm1, grad_q_a)
    scale = optional("scale", scale, [], grad_q_a)
    grad_q = grad_q_a.new_empty(*grad_q_a.shape, A)
    if grad_q.numel():
        tile, word = row_tile(A), bad_values.word(grad_q.device)
        with torch.cuda.device_of(grad_q):
            td_loss_backward_kernel[(triton.cdiv(grad_q_a.numel(), tile["BLOCK_N"]), triton.cdiv(A, tile["BLOCK_A"]))](
                grad_q_a, a_tm1, scale, grad_q, word, grad_q_a.numel(), A, enable_fp_fusion=False, **tile
            )
    return grad_q


def bootstrap_value(q_t: Tensor, q_t_selector: Tensor | None, rescale_epsilon: float | None) -> Tensor:
    """`torch.ops.pyagent.bootstrap_value` by a kernel."""
    T, B, A = _action_values("q_t", q_t)
    q_t, q_t_selector = argument("q_t", q_t, [T, B, A], q_t), optional("q_t_selector", q_t_selector, [T, B, A], q_t)
    value, tile = q_t.new_empty(T, B), row_tile(A)
    if value.numel():
        with torch.cuda.device_of(q_t):
            bootstrap_value_kernel[(triton.cdiv(T * B, tile["BLOCK_N"]),)](
                *(q_t, q_t_selector, 0.0 if rescale_epsilon is None else rescale_epsilon, value, T * B, A),
                RESCALE=rescale_epsilon is not None,
                enable_fp_fusion=False,
                **tile,
            )
    return value


def _action_values(name: str, q: Tensor) -> torch.Size:
    if q.dim() != 3 or q.dtype not in (torch.float32, torch.float64) or (q.shape[2] == 0 and q.shape[:2].numel() > 0):
        raise RuntimeError(f"{name}: got {q.dtype} {list(q.shape)}, want float32 or float64 [T, B, A] and A > 0")
    return q.shape


def _actions(a_tm1: Tensor, like: Tensor) -> Tensor:
    return argument("a_tm1", a_tm1, like.shape[:2], like, (torch.int64,))
