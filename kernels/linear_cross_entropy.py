"""Triton kernels of the language-model head (`pyagent.ops.linear_cross_entropy` has the maths and the shapes).

A first pass over tiles of logits leaves of each row the largest, the sum of exponentials and the target's logit; none
is stored. Where gradients are wanted, a second makes the logits of a chunk of classes again, as their own gradient,
of which torch's products make those of W (whole, once) and of x (added up over chunks, in order). So nothing is added
by an atomic, and the memory beyond results is that of a sixteenth of the classes.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from pyagent.kernels import bad_values
from pyagent.kernels.arguments import argument, optional
from pyagent.kernels.bad_values import TARGET, report
from pyagent.kernels.row_tiles import rows_of

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
NONE, MEAN, SUM = range(3)
CHUNKS = 16  # of classes
ENOUGH_PROGRAMS = 256  # few rows share the first pass out over classes too
JOINED_ROWS = 128


@triton.jit
def logits_of(
    head,
    n,
    is_row,
    v,
    is_class,
    ACCUMULATOR: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    """x_n · w_v + b_v."""
    input_ptr, weight_ptr, bias_ptr, H = head
    logits = tl.zeros((BLOCK_N, BLOCK_V), ACCUMULATOR)
    for first in range(0, H, BLOCK_H):
        h = first + tl.arange(0, BLOCK_H).to(tl.int64)
        x = tl.load(input_ptr + n[:, None] * H + h[None, :], is_row[:, None] & (h < H)[None, :], 0.0)
        w = tl.load(weight_ptr + v[None, :] * H + h[:, None], is_class[None, :] & (h < H)[:, None], 0.0)
        logits = tl.dot(x, w, logits, input_precision="ieee", out_dtype=ACCUMULATOR)
    if bias_ptr is not None:
        logits += tl.load(bias_ptr + v, is_class, 0.0).to(ACCUMULATOR)[None, :]
    return logits


@triton.jit
def counted_rows(target_ptr, ignore_index, block, N, V, BLOCK_N: tl.constexpr):
    """The rows of a block, their targets, which rows count, and which of these have no class for a target."""
    n, is_row = rows_of(block, N, BLOCK_N)
    target = tl.load(target_ptr + n, is_row, 0)
    counts = is_row & (target != ignore_index)
    return n, is_row, target, counts, counts & ((target < 0) | (target >= V))


@triton.jit
def is_target(target, first, BLOCK_V: tl.constexpr):
    """One-hot of each target among the classes from `first` on, and whether it is among them."""
    is_here = (target >= first) & (target < first + BLOCK_V)
    place = tl.where(is_here, target - first, -1).to(tl.int32)
    return tl.arange(0, BLOCK_V)[None, :] == place[:, None], is_here


@triton.jit
def finite(largest):
    """What exponents are relative to, so that a row of −∞ alone has exp(−∞), not ∞ − ∞."""
    return tl.where(largest == -float("inf"), 0.0, largest)


@triton.jit(do_not_specialize=["ignore_index", "N", "classes"])
def softmax_kernel(
    input_ptr,
    weight_ptr,
    bias_ptr,
    target_ptr,
    ignore_index: tl.int64,
    largest_ptr,
    sum_ptr,
    target_logit_ptr,
    N: tl.int64,
    V: tl.int64,
    H: tl.int64,
    classes: tl.int64,
    ACCUMULATOR: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    n, is_row, target, counts, _ = counted_rows(target_ptr, ignore_index, tl.program_id(0).to(tl.int64), N, V, BLOCK_N)
    part = tl.program_id(1).to(tl.int64)
    largest = tl.full((BLOCK_N,), -float("inf"), ACCUMULATOR)
    total = tl.zeros((BLOCK_N,), ACCUMULATOR)
    head = (input_ptr, weight_ptr, bias_ptr, H)
    for first in range(part * classes, tl.minimum(part * classes + classes, V), BLOCK_V):
        v = first + tl.arange(0, BLOCK_V).to(tl.int64)
        logits = logits_of(head, n, counts, v, v < V, ACCUMULATOR, BLOCK_N, BLOCK_V, BLOCK_H)
        one_hot, is_here = is_target(target, first, BLOCK_V)
        target_logit = tl.sum(tl.where(one_hot, logits, 0.0), 1)
        tl.store(target_logit_ptr + n, target_logit, counts & is_here & (target < V))
        logits = tl.where((v < V)[None, :], logits, -float("inf"))
        most = tl.maximum(largest, tl.max(logits, 1))
        exponentials = tl.exp(logits - finite(most)[:, None])
        total = total * tl.exp(largest - finite(most)) + tl.sum(exponentials, 1)
        largest = most
    tl.store(largest_ptr + part * N + n, largest, is_row)
    tl.store(sum_ptr + part * N + n, total, is_row)


@triton.jit(do_not_specialize=["ignore_index", "N", "parts"])
def loss_kernel(
    target_ptr,
    ignore_index: tl.int64,
    largest_ptr,
    sum_ptr,
    target_logit_ptr,
    loss_ptr,
    word_ptr,
    N: tl.int64,
    V: tl.int64,
    parts: tl.int64,
    BLOCK_N: tl.constexpr,
):
    """Joins the parts of each row, in the memory of the first."""
    block = tl.program_id(0).to(tl.int64)
    n, is_row, _, counts, is_bad = counted_rows(target_ptr, ignore_index, block, N, V, BLOCK_N)
    report(word_ptr, is_bad, TARGET)
    largest, total = tl.load(largest_ptr + n, is_row, 0.0), tl.load(sum_ptr + n, is_row, 1.0)
    for part in range(1, parts):
        most_of_part = tl.load(largest_ptr + part * N + n, is_row, 0.0)
        most = tl.maximum(largest, most_of_part)
        sum_of_part = tl.load(sum_ptr + part * N + n, is_row, 1.0)
        total = total * tl.exp(largest - finite(most)) + sum_of_part * tl.exp(most_of_part - finite(most))
        largest = most
    tl.store(largest_ptr + n, largest, is_row)
    tl.store(sum_ptr + n, total, is_row)
    target_logit = tl.load(target_logit_ptr + n, counts & ~is_bad, float("nan"))
    loss = tl.where(counts, (largest - target_logit) + tl.log(total), 0.0)
    tl.store(loss_ptr + n, loss.to(loss_ptr.dtype.element_ty), is_row)


@triton.jit(do_not_specialize=["ignore_index", "N", "begin", "grad_stride"])
def grad_logits_kernel(
    input_ptr,
    weight_ptr,
    bias_ptr,
    target_ptr,
    ignore_index: tl.int64,
    largest_ptr,
    sum_ptr,
    grad_loss_ptr,
    grad_logits_ptr,
    N: tl.int64,
    V: tl.int64,
    H: tl.int64,
    begin: tl.int64,
    classes: tl.int64,
    grad_stride: tl.int64,
    ACCUMULATOR: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_V: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    """grad_loss (softmax − one-hot) of the classes from `begin` on, as [N, classes]."""
    block = tl.program_id(0).to(tl.int64)
    n, is_row, target, counts, is_bad = counted_rows(target_ptr, ignore_index, block, N, V, BLOCK_N)
    column, is_column = rows_of(tl.program_id(1).to(tl.int64), tl.minimum(classes, V - begin), BLOCK_V)
    v = begin + column
    head = (input_ptr, weight_ptr, bias_ptr, H)
    logits = logits_of(head, n, counts, v, is_column, ACCUMULATOR, BLOCK_N, BLOCK_V, BLOCK_H)
    largest, total = tl.load(largest_ptr + n, counts, 0.0), tl.load(sum_ptr + n, counts, 1.0)
    grad_loss = tl.load(grad_loss_ptr + n * grad_stride, counts & ~is_bad, float("nan")).to(ACCUMULATOR)
    probability = tl.exp(logits - finite(largest)[:, None]) / total[:, None]
    one_hot, _ = is_target(target, begin + tl.program_id(1).to(tl.int64) * BLOCK_V, BLOCK_V)
    grad = grad_loss[:, None] * (probability - one_hot.to(ACCUMULATOR))
    grad = tl.where(counts[:, None], grad, 0.0).to(grad_logits_ptr.dtype.element_ty)
    tl.store(grad_logits_ptr + n[:, None] * classes + column[None, :], grad, is_row[:, None] & is_column[None, :])


def tile_of(dtype: torch.dtype) -> dict[str, Any]:
    """What a program has at a time: what its registers hold."""
    if dtype == torch.float64:
        return {"BLOCK_N": 32, "BLOCK_V": 32, "BLOCK_H": 16, "ACCUMULATOR": tl.float64, "num_warps": 8, "num_stages": 2}
    block_h = 16 if dtype == torch.float32 else 64
    sizes = {"BLOCK_N": 128, "BLOCK_V": 64, "BLOCK_H": block_h}
    return {**sizes, "ACCUMULATOR": tl.float32, "num_warps": 8, "num_stages": 3}


class Head:
    """The arguments, checked, and the passes over them."""

    def __init__(self, input: Tensor, weight: Tensor, target: Tensor, bias: Tensor | None, ignore_index: int) -> None:
        if input.dim() != 2 or weight.dim() != 2 or input.dtype not in DTYPES:
            raise RuntimeError(f"input: got {input.dtype} {list(input.shape)}, want [N, H] of floating point")
        self.N, self.H, self.V = *input.shape, weight.shape[0]
        self.input = argument("input", input, [self.N, self.H], input)
        self.weight = argument("linear_weight", weight, [self.V, self.H], input)
        self.target = argument("target", target, [self.N], input, (torch.int64,))
        self.bias = optional("linear_bias", bias, [self.V], input)
        self.ignore_index, self.tile = ignore_index, tile_of(input.dtype)
        self.accumulator = torch.float64 if input.dtype == torch.float64 else torch.float32
        self.row_blocks = triton.cdiv(self.N, self.tile["BLOCK_N"])
        self.arguments = (self.input, self.weight, self.bias, self.target, ignore_index)

    def losses(self) -> tuple[Tensor, Tensor, Tensor]:
        """The loss of each row, and of each row the largest logit and the sum of exponentials relative to it."""
        tiles = max(1, triton.cdiv(self.V, self.tile["BLOCK_V"]))
        wanted = max(1, min(tiles, ENOUGH_PROGRAMS // max(1, self.row_blocks)))
        classes = triton.cdiv(tiles, wanted) * self.tile["BLOCK_V"]
        parts = max(1, triton.cdiv(self.V, classes))
        largest, total = self.input.new_empty(2, parts, self.N, dtype=self.accumulator)
        target_logit, losses = torch.empty_like(largest[0]), self.input.new_empty(self.N)
        if self.N:
            softmax_kernel[(self.row_blocks, parts)](
                *(*self.arguments, largest, total, target_logit, self.N, self.V, self.H, classes),
                enable_fp_fusion=True,
                **self.tile,
            )
            loss_kernel[(triton.cdiv(self.N, JOINED_ROWS),)](
                *(self.target, self.ignore_index, largest, total, target_logit, losses),
                *(bad_values.word(losses.device), self.N, self.V, parts),
                BLOCK_N=JOINED_ROWS,
                enable_fp_fusion=False,
            )
        return losses, largest[0], total[0]

    def gradients(
        self, largest: Tensor, total: Tensor, grad_loss: Tensor, need: tuple[bool, bool, bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Those of Σ_n grad_loss_n · loss_n, or of a scalar grad_loss times the sum, by input, weight and bias."""
        need_input, need_weight, need_bias = need[0], need[1], need[2] and self.bias is not None
        grad_input = self.input.new_zeros((self.N, self.H) if need_input else 0, dtype=self.accumulator)
        grad_weight = self.weight.new_empty((self.V, self.H) if need_weight else 0)
        grad_bias = self.input.new_empty(self.V if need_bias else 0)
        # What is ignored may hold anything, and 0 · NaN is NaN.
        counts = (self.target != self.ignore_index)[:, None]
        read = self.input.where(counts, 0.0) if need_weight else self.input
        block_v = self.tile["BLOCK_V"]
        classes = triton.cdiv(triton.cdiv(self.V, CHUNKS), block_v) * block_v
        buffer = self.input.new_empty(self.N, classes)
        for begin in range(0, self.V if any((need_input, need_weight, need_bias)) else 0, max(classes, 1)):
            end = min(begin + classes, self.V)
            chunk = buffer[:, : end - begin]
            if self.N:
                grad_logits_kernel[(self.row_blocks, triton.cdiv(end - begin, block_v))](
                    *(*self.arguments, largest, total, grad_loss, buffer),
                    *(self.N, self.V, self.H, begin, classes, grad_loss.dim()),
                    enable_fp_fusion=True,
                    **self.tile,
                )
            if need_input:
                grad_input += chunk @ self.weight[begin:end]
            if need_weight:
                torch.mm(chunk.t(), read, out=grad_weight[begin:end])
            if need_bias:
                torch.sum(chunk, 0, dtype=grad_bias.dtype, out=grad_bias[begin:end])
        return grad_input.to(self.input.dtype), grad_weight, grad_bias


def linear_cross_entropy_forward(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None,
    ignore_index: int,
    reduction: int,
    need_input: bool,
    need_weight: bool,
    need_bias: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`torch.ops.pyagent.linear_cross_entropy_forward` by kernels, of float16 and bfloat16 too.

    A target that is no class is reported, and its loss and what it reaches are NaN.
    """
    if reduction not in (NONE, MEAN, SUM):
        raise RuntimeError(f"reduction: got {reduction}, want 0 to 2")
    head = Head(input, linear_weight, target, linear_bias, ignore_index)
    with torch.cuda.device_of(input):
        losses, largest, total = head.losses()
        if reduction == NONE:
            return losses, *(input.new_empty(0) for _ in range(3))
        loss, scale = losses.sum(dtype=torch.float64), losses.new_ones((), dtype=head.accumulator)
        if reduction == MEAN:
            counted = (head.target != ignore_index).sum()
            loss, scale = loss / counted, scale / counted
        grads = head.gradients(largest, total, scale, (need_input, need_weight, need_bias))
        return loss.to(input.dtype), *grads


def linear_cross_entropy_backward(
    grad_loss: Tensor,
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None,
    ignore_index: int,
    need_input: bool,
    need_weight: bool,
    need_bias: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`torch.ops.pyagent.linear_cross_entropy_backward` by kernels."""
    head = Head(input, linear_weight, target, linear_bias, ignore_index)
    grad_loss = argument("grad_loss", grad_loss, [head.N], input)
    with torch.cuda.device_of(input):
        _, largest, total = head.losses()
        return head.gradients(largest, total, grad_loss, (need_input, need_weight, need_bias))
