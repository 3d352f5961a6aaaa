"""Triton kernels of one step of recurrent layers (`pyagent.ops.recurrence_step` has the maths and the shapes).

The products with W_ih and W_hh are torch's. What is left of a layer is one kernel: the row that a token names is read,
gates and the new state are made of it and written, with no pre-activation in memory.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pyagent.kernels import bad_values
from pyagent.kernels.arguments import argument, optional
from pyagent.kernels.bad_values import TOKEN, report
from pyagent.kernels.row_tiles import rows_of

TANH, RELU, GRU, LSTM = (tl.constexpr(cell) for cell in range(4))
GATES = (1, 1, 3, 4)
TILE = {"BLOCK_N": 4, "BLOCK_H": 64}
TOKENS = (torch.int32, torch.int64)


@triton.jit
def tanh(x):
    e = tl.exp(-2 * tl.abs(x))
    return tl.where(x < 0, -1.0, 1.0).to(x.dtype) * ((1 - e) / (1 + e))


@triton.jit
def row_of(token_ptr, n, is_lane, R, word_ptr):
    """The row that each lane reads, and whether there is none: its own, or that of its token, which is looked at."""
    row = n
    is_bad = n < 0
    if token_ptr is not None:
        row = tl.load(token_ptr + n, is_lane, 0).to(tl.int64)
        is_bad = is_lane & ((row < 0) | (row >= R))
        report(word_ptr, is_bad, TOKEN)
    return row, is_bad


@triton.jit(do_not_specialize=["B", "R"])
def gather_rows_kernel(
    table_ptr,
    token_ptr,
    rows_ptr,
    word_ptr,
    B: tl.int64,
    R: tl.int64,
    H: tl.int64,
    BLOCK_N: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    n, is_lane = rows_of(tl.program_id(0).to(tl.int64), B, BLOCK_N)
    unit, is_unit = rows_of(tl.program_id(1).to(tl.int64), H, BLOCK_H)
    row, is_bad = row_of(token_ptr, n, is_lane, R, word_ptr)
    mask = is_lane[:, None] & is_unit[None, :]
    x = tl.load(table_ptr + row[:, None] * H + unit[None, :], mask & ~is_bad[:, None], float("nan"))
    tl.store(rows_ptr + n[:, None] * H + unit[None, :], x, mask)


@triton.jit
def gate_of(layer, place, GATE: tl.constexpr, GATES: tl.constexpr, PROJECTED: tl.constexpr):
    """A gate's part by the input and its part by the state, each with its bias; the GRU's n alone needs them apart."""
    rows_ptr, product_ptr, bias_ih_ptr, bias_hh_ptr, H = layer
    row, n, unit, is_read, has_past, is_unit = place
    x = tl.load(rows_ptr + (row[:, None] * GATES + GATE) * H + unit[None, :], is_read, float("nan"))
    y = tl.zeros_like(x)
    if product_ptr is not None:
        y = tl.load(product_ptr + (n[:, None] * GATES + GATE) * H + unit[None, :], has_past, 0.0)
    if bias_ih_ptr is not None:
        if not PROJECTED:
            x += tl.load(bias_ih_ptr + GATE * H + unit, is_unit, 0.0)[None, :]
        if not PROJECTED or (GATES == 3 and GATE == 2):
            y += tl.load(bias_hh_ptr + GATE * H + unit, is_unit, 0.0)[None, :]
    return x, y


@triton.jit
def sum_of_gate(layer, place, GATE: tl.constexpr, GATES: tl.constexpr, PROJECTED: tl.constexpr):
    x, y = gate_of(layer, place, GATE, GATES, PROJECTED)
    return x + y


@triton.jit(do_not_specialize=["B", "R"])
def step_kernel(
    rows_ptr,
    token_ptr,
    product_ptr,
    bias_ih_ptr,
    bias_hh_ptr,
    h_ptr,
    c_ptr,
    reset_ptr,
    output_ptr,
    h_n_ptr,
    c_n_ptr,
    word_ptr,
    B: tl.int64,
    R: tl.int64,
    H: tl.int64,
    CELL: tl.constexpr,
    PROJECTED: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    n, is_lane = rows_of(tl.program_id(0).to(tl.int64), B, BLOCK_N)
    unit, is_unit = rows_of(tl.program_id(1).to(tl.int64), H, BLOCK_H)
    at, mask = n[:, None] * H + unit[None, :], is_lane[:, None] & is_unit[None, :]
    row, is_bad = row_of(token_ptr, n, is_lane, R, word_ptr)
    has_past = mask
    if reset_ptr is not None:
        has_past &= (tl.load(reset_ptr + n, is_lane, 1) == 0)[:, None]
    layer = (rows_ptr, product_ptr, bias_ih_ptr, bias_hh_ptr, H)
    place = (row, n, unit, mask & ~is_bad[:, None], has_past, is_unit)
    if CELL == LSTM:
        i = tl.sigmoid(sum_of_gate(layer, place, 0, 4, PROJECTED))
        f = tl.sigmoid(sum_of_gate(layer, place, 1, 4, PROJECTED))
        g = tanh(sum_of_gate(layer, place, 2, 4, PROJECTED))
        o = tl.sigmoid(sum_of_gate(layer, place, 3, 4, PROJECTED))
        c = i * g
        if c_ptr is not None:
            c += f * tl.load(c_ptr + at, has_past, 0.0)
        tl.store(c_n_ptr + at, c, mask)
        h = o * tanh(c)
    elif CELL == GRU:
        r = tl.sigmoid(sum_of_gate(layer, place, 0, 3, PROJECTED))
        z = tl.sigmoid(sum_of_gate(layer, place, 1, 3, PROJECTED))
        of_input, of_state = gate_of(layer, place, 2, 3, PROJECTED)
        new = tanh(of_input + r * of_state)
        h = (1 - z) * new
        if h_ptr is not None:
            h += z * tl.load(h_ptr + at, has_past, 0.0)
    elif CELL == TANH:
        h = tanh(sum_of_gate(layer, place, 0, 1, PROJECTED))
    else:
        x = sum_of_gate(layer, place, 0, 1, PROJECTED)
        h = tl.where(x < 0, 0.0, x)
    tl.store(h_n_ptr + at, h, mask)
    if output_ptr is not None:
        tl.store(output_ptr + at, h, mask)


def recurrence_step(
    input: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    reset: Tensor | None,
    table: Tensor | None,
    layers: list[Tensor],
    cell: int,
    hidden_size: int,
    projected: bool,
    packed: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`torch.ops.pyagent.recurrence_step` by torch's products and kernels, of weights that are not packed.

    A token outside the table is reported, and its lane's results are NaN.
    """
    if packed or not layers or not 0 <= cell < len(GATES):
        raise RuntimeError(f"layers: got {len(layers)} tensors, packed={packed}, cell {cell}, want weights as they are")
    like, H, width = layers[0], hidden_size, GATES[cell] * hidden_size
    size = 4 if len(layers) > 2 and layers[2].dim() == 1 else 2
    L, B = len(layers) // size, input.shape[0]
    R, row_size = (input if table is None else table).shape
    if table is None:
        x, token = argument("input", input, [B, row_size], like), None
    else:
        x, token = argument("table", table, [R, row_size], like), argument("input", input, [B], like, TOKENS)
    h, c = optional("h", h, [L, B, H], like), optional("c", c, [L, B, H], like)
    reset = optional("reset", reset, [B], like, (torch.bool,))
    output, h_n = like.new_empty(B, H), like.new_empty(L, B, H)
    c_n = like.new_empty((L, B, H) if cell == LSTM.value else 0)
    lanes, units = triton.cdiv(B, TILE["BLOCK_N"]), triton.cdiv(H, TILE["BLOCK_H"])
    word = bad_values.word(like.device)
    if output.numel() == 0:
        return output, h_n, c_n
    with torch.cuda.device_of(like):
        if token is not None and not projected:
            table, x = x, like.new_empty(B, row_size)
            gather_rows_kernel[(lanes, triton.cdiv(row_size, TILE["BLOCK_H"]))](
                table, token, x, word, B, R, row_size, enable_fp_fusion=False, **TILE
            )
            token = None
        for layer in range(L):
            weight_ih, weight_hh, *biases = layers[layer * size : (layer + 1) * size]
            is_projected = projected and layer == 0
            rows = x if is_projected else torch.mm(x, argument("weight_ih", weight_ih, [width, x.shape[1]], like).t())
            rows = argument("rows", rows, [R if token is not None else B, width], like)
            weight_hh = argument("weight_hh", weight_hh, [width, H], like)
            step_kernel[(lanes, units)](
                *(rows, token, None if h is None else torch.mm(h[layer], weight_hh.t())),
                *([argument("bias", bias, [width], like) for bias in biases] or (None, None)),
                *(None if h is None else h[layer], None if c is None else c[layer], reset),
                *(output if layer == L - 1 else None, h_n[layer], c_n[layer] if cell == LSTM.value else None),
                *(word, B, R, H),
                CELL=cell,
                PROJECTED=is_projected,
                enable_fp_fusion=False,
                **TILE,
            )
            x, token = h_n[layer], None
    return output, h_n, c_n
