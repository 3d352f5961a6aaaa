"""One step of a stack of recurrent layers, without gradient: the acting path, all layers in one native call.

The maths is `pyagent.ops.recurrence`'s with T = 1, the input product included: layer l reads x_l · W_ihᵀ + b_ih, where
x_0 is the input, or with a table the row that its token names, and x_{l+1} = h_l. Where the table (or the input) is
`projected`, its rows are the first layer's pre-activations already and nothing is multiplied.

The weights are read as they are, or in the order in which the kernel of this processor reads them (`pack_step`), which
is worth it where many steps share them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pyagent import native
from pyagent.ops.checks import check_optional, check_range, check_tensor, one_device
from pyagent.ops.linear import linear_reference
from pyagent.ops.recurrence import CELLS, FLOATS, GATES, recurrence_reference, split_biases
from pyagent.ops.triton_kernels import compiled_for, register

TOKENS = (torch.int32, torch.int64)


class StepWeights(NamedTuple):
    """What a step reads besides its input and state, in the order of the native call."""

    table: Tensor | None
    """`[V, E]`, or `[V, G·H]` where projected: the input is tokens; None: the input is dense"""
    layers: tuple[Tensor, ...]
    """of each layer weight_ih `[G·H, I]`, weight_hh `[G·H, H]` and, in all or none, bias_ih and bias_hh `[G·H]`, as
    torch.nn has them; or where packed one tensor a layer"""
    cell: int
    """the cell's number in CELLS"""
    hidden_size: int
    projected: bool = False
    """the input, or the table, holds the first layer's input pre-activations, biases included but the GRU's b_hn"""
    packed: bool = False
    """the layers are what `pack_step` made of them"""


def recurrence_step(
    input: Tensor,
    weights: StepWeights,
    h: Tensor | None = None,
    c: Tensor | None = None,
    reset: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One time step of every layer, without gradient.

    Args:
        input: tokens `[B]`, int32 or int64 in [0, V), where the weights have a table; else `[B, I]` of their dtype.
        weights: float32 or float64.
        h: `[L, B, H]`; None is zeros. Not written to, nor is c.
        c: `[L, B, H]`, LSTM only; None is zeros.
        reset: bool `[B]`; every layer of the lane starts from zeros.

    Returns:
        the last layer's h `[B, H]`; h_n `[L, B, H]`; c_n `[L, B, H]` for the LSTM, else None. Bitwise independent of
        the number of threads.

    Raises:
        ValueError, TypeError: a wrong shape, device or dtype.
        IndexError: a token outside the table. On CUDA its lane becomes NaN, and `pyagent.cuda.check()` raises.
    """
    # A step takes microseconds: plain tensors go past the dispatcher, and what is wrong with them is found out after.
    if _direct is not None and not torch.compiler.is_compiling():
        results = _direct(input, h, c, reset, *weights)
        if results is not None:
            return results
    with torch.no_grad():
        try:
            if compiled_for(input):
                output, h_n, c_n = _step(input, h, c, reset, *weights)
                return output, h_n, c_n if CELLS[weights.cell] == "lstm" else None
        except (RuntimeError, AttributeError):
            _check_step(input, weights, h, c, reset)
            raise
        _check_step(input, weights, h, c, reset)
        return recurrence_step_reference(input, weights, h, c, reset)


def recurrence_step_reference(
    input: Tensor,
    weights: StepWeights,
    h: Tensor | None = None,
    c: Tensor | None = None,
    reset: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """`recurrence_step` in torch, of weights that are not packed."""
    cell = CELLS[weights.cell]
    x, h_n, c_n = input if weights.table is None else weights.table[input.long()], [], []
    for layer, (weight_ih, weight_hh, *biases) in enumerate(_by_layer(weights)):
        bias_ih, bias_hh = biases or (None, None)
        bias, bias_hn = split_biases(bias_ih, bias_hh, cell)
        if layer > 0 or not weights.projected:
            x = linear_reference(x, weight_ih, bias)
        h_0, c_0 = (None if state is None else state[layer] for state in (h, c))
        starts = None if reset is None else reset[None]
        _, x, c_last = recurrence_reference(x[None], None, weight_hh, bias_hn, h_0, c_0, starts, cell=cell)
        h_n.append(x)
        c_n.append(c_last)
    return x, torch.stack(h_n), torch.stack(c_n) if cell == "lstm" else None


def pack_step(weights: StepWeights) -> StepWeights:
    """Layers in the order in which the kernel of this processor reads them; where there is no kernel, copies."""
    with torch.no_grad():
        if not (native.available and weights.layers[0].is_cpu):
            return weights._replace(layers=tuple(tensor.clone() for tensor in weights.layers))
        layers = []
        for layer, (weight_ih, weight_hh, *biases) in enumerate(_by_layer(weights)):
            first = None if weights.projected and layer == 0 else weight_ih
            layers.append(_pack(first, weight_hh, *(biases or (None, None)), weights.cell))
        return weights._replace(layers=tuple(layers), packed=True)


def _by_layer(weights: StepWeights) -> list[tuple[Tensor, ...]]:
    layers = weights.layers
    size = 4 if len(layers) > 2 and layers[2].dim() == 1 else 2
    return [layers[i : i + size] for i in range(0, len(layers), size)]


def _check_step(input: Tensor, weights: StepWeights, h: Tensor | None, c: Tensor | None, reset: Tensor | None) -> None:
    first, H = weights.layers[0], weights.hidden_size
    check_tensor("weights", first, ["packed"] if weights.packed else ["G·H", "I"], FLOATS)
    dtype, device = (first.dtype,), first.device
    if weights.table is None:
        check_tensor("input", input, ["B", "I"], dtype, device)
    else:
        check_tensor("table", weights.table, ["V", "width"], dtype, device)
        check_tensor("input", input, ["B"], TOKENS, device)
        check_range("input", input, 0, weights.table.shape[0])
    if not weights.packed:
        width = GATES[CELLS[weights.cell]] * H
        row = (input if weights.table is None else weights.table).shape[1]
        for layer, (weight_ih, weight_hh, *biases) in enumerate(_by_layer(weights)):
            if layer > 0 or not weights.projected:
                check_tensor("weight_ih", weight_ih, [width, H if layer > 0 else row], dtype, device)
            check_tensor("weight_hh", weight_hh, [width, H], dtype, device)
            for bias in biases:
                check_tensor("bias", bias, [width], dtype, device)
    B, L = input.shape[0], len(weights.layers) if weights.packed else len(_by_layer(weights))
    check_optional("h", h, [L, B, H], dtype, device)
    check_optional("c", c, [L, B, H], dtype, device)
    if c is not None and CELLS[weights.cell] != "lstm":
        raise ValueError(f"c: got a tensor, want None for cell {CELLS[weights.cell]!r}")
    check_optional("reset", reset, [B], (torch.bool,), device)


_direct = None if native.core is None else native.core.recurrence_step

if native.core is not None:
    _step = torch.ops.pyagent.recurrence_step.default
    _pack = torch.ops.pyagent.recurrence_step_pack.default
    _packed_size = native.core.packed_size
    register("recurrence_step")

    @torch.library.register_fake("pyagent::recurrence_step")
    def _(input, h, c, reset, table, layers, cell, hidden_size, projected, packed):  # noqa: ANN001, ANN202
        one_device("recurrence_step", (input, h, c, reset, table, *layers))
        B, like = input.shape[0], layers[0]
        L = len(layers) if packed else len(layers) // (4 if len(layers) > 2 and layers[2].dim() == 1 else 2)
        state = (L, B, hidden_size)
        return (
            like.new_empty(B, hidden_size),
            like.new_empty(state),
            like.new_empty(state if CELLS[cell] == "lstm" else 0),
        )

    @torch.library.register_fake("pyagent::recurrence_step_pack")
    def _(weight_ih, weight_hh, bias_ih, bias_hh, cell):  # noqa: ANN001, ANN202
        one_device("recurrence_step_pack", (weight_ih, weight_hh, bias_ih, bias_hh))
        inputs = 0 if weight_ih is None else int(weight_ih.shape[1])
        size = _packed_size(cell, inputs, int(weight_hh.shape[1]), weight_hh.dtype == torch.float64)
        return weight_hh.new_empty(size)
