"""A whole recurrent layer in one call: the input projection and the recurrence over it.

    dense     x_t = W_ih · input_t + b            tokens     x_t = W_ih · embedding[input_t] + b

and then `pyagent.ops.recurrence` over the rows x, with b = b_ih + b_hh; of the GRU, the n gate's b_hh stands inside its
reset gate instead. Of tokens a row is made once per distinct token, or once per vocabulary entry where the batch is
larger than the vocabulary. For the backward pass the gates are kept, in the place of the rows they were made from, and
there their gradients take the place of the gates; what of W_ih, W_hh and the biases is wanted follows in one product
each.

In bfloat16 the products are summed, and gates and cells computed, in float32; rows, states and gates are rounded to be
stored, cells are not.

On AMX `torch.set_float32_matmul_precision("high")`, or "medium", lets products of float32 be three of bfloat16, to
about 2^-16; all else stays float32. The backward pass does as its forward pass did. Elsewhere that setting changes no
bit.

On CUDA the input projection is torch's product: of the whole table where that has no more rows than the batch has
tokens, else of every token, so that nothing waits for the device; and the gates are always kept.

With `checkpoint_every` = K the gates are not kept: the backward pass makes them again, K steps at a time, from the
outputs and (LSTM) from the cells before every K-th step. Chen et al. 2016, "Training deep nets with sublinear memory
cost", https://arxiv.org/abs/1604.06174
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyagent import native
from pyagent.ops.autograd import once_differentiable
from pyagent.ops.checks import check_optional, check_range, check_size, check_tensor, first_order_only, one_device
from pyagent.ops.distinct_tokens import distinct_tokens, distinct_tokens_reference
from pyagent.ops.linear import autocast, linear_reference, may_split
from pyagent.ops.recurrence import CELLS, FLOATS, GATES, check_cell, recurrence_reference, split_biases
from pyagent.ops.recurrent_layer_cuda import recurrent_layer_cuda

DTYPES = (*FLOATS, torch.bfloat16)
_NUMBER = {cell: number for number, cell in enumerate(CELLS)}


def recurrent_layer(
    input: Tensor,
    embedding: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    h_0: Tensor | None = None,
    c_0: Tensor | None = None,
    reset: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    cell: str,
    checkpoint_every: int = 1,
    padding_idx: int | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Run a layer over a sequence.

    Args:
        input: `[T, B, E]`, float32, float64 or bfloat16; under `torch.autocast` to bfloat16 float32 tensors are taken
            as bfloat16. Or with `embedding` token ids `[T, B]`, int64 in [0, V).
        embedding: `[V, E]`, or None.
        weight_ih: `[G·H, E]`.
        weight_hh: `[G·H, H]`.
        bias_ih, bias_hh: `[G·H]`, or None for zeros; beside bfloat16 they may be float32, as may c_0.
        h_0, c_0, reset, lengths, cell: as in `pyagent.ops.recurrence`.
        checkpoint_every: K ≥ 1. 1 keeps the gates of every step; a larger K trades a second forward pass for the memory
            of all but K steps of them. It changes no result.
        padding_idx: the embedding of this id gets no gradient, as in torch.nn.Embedding.

    Returns:
        output `[T, B, H]`; h_n `[B, H]`, each lane's state at its end; c_n `[B, H]` for the LSTM, else None.
        Differentiable once, in all floating-point arguments. Bitwise independent of the number of threads.

    Raises:
        ValueError, TypeError: a wrong shape, device, dtype or cell.
        IndexError: a token outside the vocabulary, a length outside 0…T, a padding_idx outside the vocabulary. On CUDA
            the first two make NaN instead, and `pyagent.cuda.check()` raises.
        NotImplementedError: under `torch.func` transforms or forward-mode differentiation.
    """
    if isinstance(weight_hh, Tensor) and weight_hh.is_cuda:
        tensors = (input, embedding, weight_ih, weight_hh, bias_ih, bias_hh, h_0, c_0, reset, lengths)
        _check_layer(*tensors, cell, checkpoint_every, padding_idx)
        return recurrent_layer_cuda(*tensors, cell=cell, padding_idx=padding_idx)
    if torch.is_autocast_enabled("cpu") and isinstance(weight_hh, Tensor) and weight_hh.is_cpu:
        if embedding is not None:
            input, embedding, padding_idx = _distinct_embeddings(input, embedding, padding_idx)
        input, weight_ih, weight_hh = autocast(input), autocast(weight_ih), autocast(weight_hh)
        embedding, h_0 = (None if x is None else autocast(x) for x in (embedding, h_0))
    tensors = (input, embedding, weight_ih, weight_hh, bias_ih, bias_hh, h_0, c_0, reset, lengths)
    compiled = native.available and isinstance(weight_ih, Tensor) and weight_ih.is_cpu
    # Checked by the op: a short sequence takes microseconds, and words are only needed when something is wrong.
    if not compiled or checkpoint_every.__class__ is not int or checkpoint_every < 1 or padding_idx is not None:
        _check_layer(*tensors, cell, checkpoint_every, padding_idx)
    if not compiled:
        return recurrent_layer_reference(*tensors, cell=cell, padding_idx=padding_idx)
    try:
        first_order_only("recurrent_layer", tensors)
        split = may_split(weight_hh.dtype)
        if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors):
            skipped = -1 if padding_idx is None else padding_idx
            output, h_n, c_n = _RecurrentLayer.apply(*tensors, _NUMBER[cell], checkpoint_every, skipped, split)
        else:
            output, h_n, c_n, _, _ = _forward(*tensors, _NUMBER[cell], 0, split)
            c_n = c_n.to(h_n.dtype)
    except (RuntimeError, KeyError, AttributeError):
        _check_layer(*tensors, cell, checkpoint_every, padding_idx)
        raise
    return output, h_n, c_n if cell == "lstm" else None


def _distinct_embeddings(
    input: Tensor, embedding: Tensor, padding_idx: int | None
) -> tuple[Tensor, Tensor, int | None]:
    """Of a large vocabulary only what occurs, so that no more than that is cast."""
    if 2 * embedding.shape[0] <= input.numel():
        return input, embedding, padding_idx
    ids, row_index = distinct_tokens(input, embedding.shape[0])
    return row_index, torch.nn.functional.embedding(ids, embedding, padding_idx), None


def recurrent_layer_reference(
    input: Tensor,
    embedding: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    h_0: Tensor | None = None,
    c_0: Tensor | None = None,
    reset: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    cell: str,
    padding_idx: int | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """`recurrent_layer` from the references of its parts."""
    bias, bias_hn = split_biases(bias_ih, bias_hh, cell)
    inputs, row_index = input, None
    if embedding is not None:
        ids, row_index = distinct_tokens_reference(input, embedding.shape[0])
        inputs = torch.nn.functional.embedding(ids, embedding, padding_idx)
    rows = linear_reference(inputs, weight_ih, bias)
    return recurrence_reference(rows, row_index, weight_hh, bias_hn, h_0, c_0, reset, lengths, cell=cell)


def _check_layer(
    input: Tensor,
    embedding: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h_0: Tensor | None,
    c_0: Tensor | None,
    reset: Tensor | None,
    lengths: Tensor | None,
    cell: str,
    checkpoint_every: int,
    padding_idx: int | None,
) -> None:
    check_cell(cell, None, c_0, "c_0")
    check_size("checkpoint_every", checkpoint_every, 1)
    check_tensor("weight_hh", weight_hh, ["G·H", "H"], DTYPES)
    width, H = weight_hh.shape
    if width != GATES[cell] * H:
        raise ValueError(f"weight_hh: got shape {tuple(weight_hh.shape)}, want [{GATES[cell]}·H, H] for cell {cell!r}")
    dtype, device = (weight_hh.dtype,), weight_hh.device
    check_tensor("weight_ih", weight_ih, [width, "E"], dtype, device)
    E = weight_ih.shape[1]
    if embedding is None:
        check_tensor("input", input, ["T", "B", E], dtype, device)
    else:
        check_tensor("embedding", embedding, ["V", E], dtype, device)
        check_tensor("input", input, ["T", "B"], (torch.int64,), device)
        if device.type != "cuda":
            check_range("input", input, 0, embedding.shape[0])
        if padding_idx is not None and not 0 <= padding_idx < embedding.shape[0]:
            raise IndexError(f"padding_idx: got {padding_idx}, want 0 to {embedding.shape[0] - 1}")
    T, B = input.shape[:2]
    computed = (*dtype, torch.float32) if weight_hh.dtype == torch.bfloat16 else dtype
    check_optional("bias_ih", bias_ih, [width], computed, device)
    check_optional("bias_hh", bias_hh, [width], computed, device)
    check_optional("h_0", h_0, [B, H], dtype, device)
    check_optional("c_0", c_0, [B, H], computed, device)
    check_optional("reset", reset, [T, B], (torch.bool,), device)
    check_optional("lengths", lengths, [B], (torch.int64,), device)
    if device.type != "cuda":  # a kernel looks at them there, which takes no waiting
        check_range("lengths", lengths, 0, T + 1)


class _RecurrentLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        *tensors, ctx.cell, ctx.every, ctx.padding_idx, ctx.split = arguments
        output, h_n, c_n, gates, cells = _forward(*tensors, ctx.cell, ctx.every, ctx.split)
        ctx.save_for_backward(*tensors, output, gates, cells)
        ctx.set_materialize_grads(False)
        ctx.gates_are_saved = ctx.every == 1
        return output, h_n, c_n.to(h_n.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        *tensors, output, gates, cells = ctx.saved_tensors
        grad_output, grad_h_n, grad_c_n = grads
        need = ctx.needs_input_grad
        # The first backward pass takes the gates' memory for their gradients; a further one makes the gates again.
        saved = gates if ctx.gates_are_saved else None
        if not torch.compiler.is_compiling():
            ctx.gates_are_saved = False
        results = torch.ops.pyagent.recurrent_layer_backward.default(
            grad_output,
            grad_h_n,
            grad_c_n if CELLS[ctx.cell] == "lstm" else None,
            *tensors,
            output,
            saved,
            cells,
            ctx.cell,
            ctx.every,
            ctx.padding_idx,
            need[0] or need[1],
            need[2],
            need[3],
            need[4] or need[5],
            need[6] or need[7],
            ctx.split,
        )
        grad_input, *others = results
        of_arguments = (None, grad_input) if tensors[1] is not None else (grad_input, None)
        needed = (g if n else None for g, n in zip((*of_arguments, *others), need, strict=False))
        return (*needed, None, None, None, None, None, None)


if native.available:
    _forward = torch.ops.pyagent.recurrent_layer_forward.default

    def _computed(tensor: Tensor) -> Tensor:
        """Something of the dtype that a tensor's is computed in."""
        return tensor.new_empty(0, dtype=torch.float32) if tensor.dtype == torch.bfloat16 else tensor

    @torch.library.register_fake("pyagent::recurrent_layer_forward")
    def _(  # noqa: ANN202
        input,  # noqa: ANN001
        embedding,  # noqa: ANN001
        weight_ih,  # noqa: ANN001
        weight_hh,  # noqa: ANN001
        bias_ih,  # noqa: ANN001
        bias_hh,  # noqa: ANN001
        h_0,  # noqa: ANN001
        c_0,  # noqa: ANN001
        reset,  # noqa: ANN001
        lengths,  # noqa: ANN001
        cell,  # noqa: ANN001
        every,  # noqa: ANN001
        split=False,  # noqa: ANN001
    ):
        tensors = (input, embedding, weight_ih, weight_hh, bias_ih, bias_hh, h_0, c_0, reset, lengths)
        one_device("recurrent_layer_forward", tensors)
        T, B = input.shape[:2]
        H = weight_hh.shape[1]
        lstm, keep = CELLS[cell] == "lstm", every == 1 and CELLS[cell] in ("gru", "lstm")
        marks = T if every == 1 else (max(T, 1) - 1) // max(every, 1)
        computed = _computed(weight_ih)
        return (
            weight_ih.new_empty(T, B, H),
            weight_ih.new_empty(B, H),
            computed.new_empty((B, H) if lstm else 0),
            weight_ih.new_empty((T, B, 4 * H) if keep else 0),
            computed.new_empty((marks, B, H) if lstm and every > 0 else 0),
        )

    @torch.library.register_fake("pyagent::recurrent_layer_backward")
    def _(  # noqa: ANN202
        grad_output,  # noqa: ANN001
        grad_h_n,  # noqa: ANN001
        grad_c_n,  # noqa: ANN001
        input,  # noqa: ANN001
        embedding,  # noqa: ANN001
        weight_ih,  # noqa: ANN001
        weight_hh,  # noqa: ANN001
        bias_ih,  # noqa: ANN001
        bias_hh,  # noqa: ANN001
        h_0,  # noqa: ANN001
        c_0,  # noqa: ANN001
        reset,  # noqa: ANN001
        lengths,  # noqa: ANN001
        output,  # noqa: ANN001
        gates,  # noqa: ANN001
        cells,  # noqa: ANN001
        cell,  # noqa: ANN001
        every,  # noqa: ANN001
        padding_idx,  # noqa: ANN001
        need_input,  # noqa: ANN001
        need_weight_ih,  # noqa: ANN001
        need_weight_hh,  # noqa: ANN001
        need_bias,  # noqa: ANN001
        need_state,  # noqa: ANN001
        split=False,  # noqa: ANN001
    ):
        tensors = (input, embedding, weight_ih, weight_hh, bias_ih, bias_hh, h_0, c_0, reset, lengths)
        one_device("recurrent_layer_backward", (*tensors, output, gates, cells, grad_output, grad_h_n, grad_c_n))
        width, H = weight_hh.shape
        state = (input.shape[1], H) if need_state else 0
        lstm = CELLS[cell] == "lstm"
        computed = _computed(weight_ih)
        of_input = weight_ih.new_empty(input.shape) if embedding is None else computed.new_empty(embedding.shape)
        return (
            of_input if need_input else of_input.new_empty(0),
            computed.new_empty(weight_ih.shape if need_weight_ih else 0),
            computed.new_empty(weight_hh.shape if need_weight_hh else 0),
            computed.new_empty(width if need_bias else 0),
            computed.new_empty(width if need_bias else 0),
            computed.new_empty(state),
            computed.new_empty(state if lstm else 0),
        )
