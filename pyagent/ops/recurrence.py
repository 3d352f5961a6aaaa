"""The recurrence over gathered rows: RNN, GRU and LSTM, whole sequences and single steps, with resets and lengths.

At (t, b) a cell needs one row of input pre-activations: with `row_index` it is `rows[row_index[t, b]]`, so that a row
computed once (per distinct token, say) serves every place that reads it; without, it is `rows[t, b]`. With x that row,
h = h_{t-1} (zeros where `reset[t, b]`), gates in torch.nn's order, and σ the logistic function:

    tanh, relu   h_t = f(x + W_hh h)
    gru          r, z = σ(x + W_hh h)      n = tanh(x_n + r ∘ (W_hn h + b_hn))      h_t = (1 − z) ∘ n + z ∘ h
    lstm         i, f, o = σ(x + W_hh h)   g = tanh(x_g + W_hg h)   c_t = f ∘ c + i ∘ g   h_t = o ∘ tanh(c_t)

Biases are part of the rows, except the GRU's b_hn. Hochreiter and Schmidhuber 1997, "Long short-term memory"; Cho et
al. 2014, https://arxiv.org/abs/1406.1078, in the form of torch.nn.GRU.

On AMX `torch.set_float32_matmul_precision("high")`, or "medium", lets products of float32 be three of bfloat16, to
about 2^-16; states, gates and cells stay float32. The backward pass does as its forward pass did. Elsewhere that
setting changes no bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyagent import native
from pyagent.ops import recurrence_cuda
from pyagent.ops.autograd import once_differentiable
from pyagent.ops.checks import check_optional, check_range, check_tensor, first_order_only, one_device
from pyagent.ops.linear import may_split

CELLS = ("tanh", "relu", "gru", "lstm")
GATES = {"tanh": 1, "relu": 1, "gru": 3, "lstm": 4}
FLOATS = (torch.float32, torch.float64)


def recurrence(
    rows: Tensor,
    row_index: Tensor | None,
    weight_hh: Tensor,
    bias_hn: Tensor | None = None,
    h_0: Tensor | None = None,
    c_0: Tensor | None = None,
    reset: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    cell: str,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Run a cell over a sequence.

    Args:
        rows: input pre-activations `[T, B, G·H]`, or with `row_index` `[R, G·H]`; float32 or float64, on CUDA also
            bfloat16.
        row_index: `[T, B]` int64 in [0, R), or None.
        weight_hh: `[G·H, H]`.
        bias_hn: `[H]`, the GRU's b_hn; None is zeros. Other cells take none.
        h_0: `[B, H]`; None is zeros.
        c_0: `[B, H]`, LSTM only; None is zeros. With bfloat16 it is float32, as is c_n.
        reset: bool `[T, B]`; the state is replaced by zeros before step t, and no gradient passes.
        lengths: int64 `[B]` in 0…T; a lane's state holds after its end, its outputs there are 0.
        cell: "tanh", "relu", "gru" or "lstm".

    Returns:
        output `[T, B, H]`; h_n `[B, H]`, each lane's state at its end; c_n `[B, H]` for the LSTM, else None.
        Differentiable once, in rows, weight_hh, bias_hn, h_0 and c_0. Bitwise independent of the number of threads.

    Raises:
        ValueError, TypeError: a wrong shape, device, dtype or cell.
        IndexError: a row_index outside the rows, a length outside 0…T. The CUDA kernels make the lane NaN from there
            instead, and `pyagent.cuda.check()` raises.
        NotImplementedError: under `torch.func` transforms or forward-mode differentiation.
    """
    _check_sequence(rows, row_index, weight_hh, bias_hn, h_0, c_0, reset, lengths, cell)
    on_cuda = runs_on_cuda(rows)
    if not native.available or not (rows.is_cpu or on_cuda):
        _check_values(rows, row_index, lengths)
        return recurrence_reference(rows, row_index, weight_hh, bias_hn, h_0, c_0, reset, lengths, cell=cell)
    tensors = (rows, row_index, weight_hh, bias_hn, h_0, c_0, reset, lengths)
    first_order_only("recurrence", tensors)
    needs_grad = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)
    split = may_split(rows.dtype)
    try:
        if needs_grad:
            output, h_n, c_n = _Recurrence.apply(*tensors, CELLS.index(cell), split)
        else:
            forward = torch.ops.pyagent.recurrence_forward.default
            output, h_n, c_n, _, _ = forward(*tensors, CELLS.index(cell), False, split)
    except RuntimeError:
        if not on_cuda:
            _check_values(rows, row_index, lengths)  # names the argument, if a value was at fault
        raise
    return output, h_n, c_n if cell == "lstm" else None


def runs_on_cuda(rows: Tensor) -> bool:
    """Whether the CUDA kernels take these rows."""
    return rows.is_cuda and native.cuda is not None and rows.dtype in recurrence_cuda.DTYPES


def recurrence_reference(
    rows: Tensor,
    row_index: Tensor | None,
    weight_hh: Tensor,
    bias_hn: Tensor | None = None,
    h_0: Tensor | None = None,
    c_0: Tensor | None = None,
    reset: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    cell: str,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """`recurrence` in torch, one step at a time."""
    gathered = rows if row_index is None else rows[row_index]
    T, B, width = gathered.shape
    H = width // GATES[cell]
    h = rows.new_zeros(B, H) if h_0 is None else h_0
    c = rows.new_zeros(B, H) if c_0 is None else c_0
    outputs = []
    for t in range(T):
        h_prev, c_prev = h, c
        if reset is not None:
            h_prev = torch.where(reset[t, :, None], 0.0, h)
            c_prev = torch.where(reset[t, :, None], 0.0, c)
        h_t, c_t = _cell_reference(gathered[t], weight_hh, bias_hn, h_prev, c_prev, cell)
        alive = torch.ones(B, 1, dtype=torch.bool, device=rows.device) if lengths is None else (t < lengths)[:, None]
        h, c = torch.where(alive, h_t, h), torch.where(alive, c_t, c)
        outputs.append(torch.where(alive, h_t, 0.0))
    output = torch.stack(outputs) if outputs else rows.new_zeros(0, B, H)
    return output, h, c if cell == "lstm" else None


def _cell_reference(
    x: Tensor, weight_hh: Tensor, bias_hn: Tensor | None, h: Tensor, c: Tensor, cell: str
) -> tuple[Tensor, Tensor]:
    product = h @ weight_hh.t()
    if cell == "lstm":
        i, f, g, o = (x + product).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c
    if cell == "gru":
        (x_r, x_z, x_n), (p_r, p_z, p_n) = x.chunk(3, dim=1), product.chunk(3, dim=1)
        r, z = (x_r + p_r).sigmoid(), (x_z + p_z).sigmoid()
        n = (x_n + r * (p_n if bias_hn is None else p_n + bias_hn)).tanh()
        return (1 - z) * n + z * h, c
    return (torch.tanh if cell == "tanh" else torch.relu)(x + product), c


def split_biases(bias_ih: Tensor | None, bias_hh: Tensor | None, cell: str) -> tuple[Tensor | None, Tensor | None]:
    """torch.nn's biases `[G·H]` as that of the rows, and of the GRU b_hn."""
    if bias_hh is None:
        return bias_ih, None
    joined, bias_hn = bias_hh, None
    if cell == "gru":
        H = bias_hh.shape[0] // GATES[cell]
        joined, bias_hn = torch.cat((bias_hh[: 2 * H], bias_hh.new_zeros(H))), bias_hh[2 * H :]
    return joined if bias_ih is None else bias_ih + joined, bias_hn


def check_cell(cell: str, bias_hn: Tensor | None, c: Tensor | None, c_name: str) -> None:
    """Raise ValueError for an unknown cell, or an argument that it does not take."""
    if cell not in CELLS:
        raise ValueError(f"cell: got {cell!r}, want one of {', '.join(CELLS)}")
    for name, tensor, owner in (("bias_hn", bias_hn, "gru"), (c_name, c, "lstm")):
        if tensor is not None and cell != owner:
            raise ValueError(f"{name}: got a tensor, want None for cell {cell!r}")


def _check_sequence(
    rows: Tensor,
    row_index: Tensor | None,
    weight_hh: Tensor,
    bias_hn: Tensor | None,
    h_0: Tensor | None,
    c_0: Tensor | None,
    reset: Tensor | None,
    lengths: Tensor | None,
    cell: str,
) -> None:
    check_cell(cell, bias_hn, c_0, "c_0")
    G = GATES[cell]
    on_cuda = isinstance(weight_hh, Tensor) and weight_hh.is_cuda
    check_tensor("weight_hh", weight_hh, ["G·H", "H"], (*FLOATS, torch.bfloat16) if on_cuda else FLOATS)
    width, H = weight_hh.shape
    if width != G * H:
        raise ValueError(f"weight_hh: got shape {tuple(weight_hh.shape)}, want [{G}·H, H] for cell {cell!r}")
    dtype, device = (weight_hh.dtype,), weight_hh.device
    check_tensor("rows", rows, ["T", "B", width] if row_index is None else ["R", width], dtype, device)
    check_optional("row_index", row_index, ["T", "B"], (torch.int64,), device)
    T, B = rows.shape[:2] if row_index is None else row_index.shape
    check_optional("bias_hn", bias_hn, [H], dtype, device)
    check_optional("h_0", h_0, [B, H], dtype, device)
    check_optional("c_0", c_0, [B, H], (_computed(weight_hh.dtype),), device)
    check_optional("reset", reset, [T, B], (torch.bool,), device)
    check_optional("lengths", lengths, [B], (torch.int64,), device)


def _computed(dtype: torch.dtype) -> torch.dtype:
    """What cells are computed in."""
    return torch.float32 if dtype == torch.bfloat16 else dtype


def _check_values(rows: Tensor, row_index: Tensor | None, lengths: Tensor | None) -> None:
    T = rows.shape[0] if row_index is None else row_index.shape[0]
    check_range("row_index", row_index, 0, rows.shape[0])
    check_range("lengths", lengths, 0, T + 1)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        rows: Tensor,
        row_index: Tensor | None,
        weight_hh: Tensor,
        bias_hn: Tensor | None,
        h_0: Tensor | None,
        c_0: Tensor | None,
        reset: Tensor | None,
        lengths: Tensor | None,
        cell: int,
        split: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        output, h_n, c_n, gates, cells = torch.ops.pyagent.recurrence_forward.default(
            rows, row_index, weight_hh, bias_hn, h_0, c_0, reset, lengths, cell, True, split
        )
        ctx.save_for_backward(row_index, weight_hh, h_0, c_0, reset, lengths, output, gates, cells)
        ctx.set_materialize_grads(False)
        ctx.cell, ctx.num_rows = cell, rows.shape[0] if row_index is not None else 0
        ctx.split = split
        return output, h_n, c_n

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        row_index, weight_hh, h_0, c_0, reset, lengths, output, gates, cells = ctx.saved_tensors
        grad_output, grad_h_n, grad_c_n = grads
        need = ctx.needs_input_grad
        lstm = CELLS[ctx.cell] == "lstm"
        grad_rows, grad_weight, grad_bias_hn, grad_h_0, grad_c_0 = torch.ops.pyagent.recurrence_backward.default(
            grad_output,
            grad_h_n,
            grad_c_n if lstm else None,
            ctx.num_rows,
            row_index,
            weight_hh,
            h_0,
            c_0,
            reset,
            lengths,
            output,
            gates,
            cells,
            ctx.cell,
            need[0],
            need[2] or need[3],
            need[4] or need[5],
            ctx.split,
        )
        return (
            grad_rows if need[0] else None,
            None,
            grad_weight if need[2] else None,
            grad_bias_hn if need[3] else None,
            grad_h_0 if need[4] else None,
            grad_c_0 if need[5] else None,
            None,
            None,
            None,
            None,
        )


if native.available:
    for _op in (recurrence_cuda.recurrence_forward, recurrence_cuda.recurrence_backward):
        torch.library.impl(f"pyagent::{_op.__name__}", "CUDA")(_op)

    @torch.library.register_fake("pyagent::recurrence_forward")
    def _(rows, row_index, weight_hh, bias_hn, h_0, c_0, reset, lengths, cell, save, split=False):  # noqa: ANN001, ANN202
        one_device("recurrence_forward", (rows, row_index, weight_hh, bias_hn, h_0, c_0, reset, lengths))
        T, B = row_index.shape if row_index is not None else rows.shape[:2]
        H = weight_hh.shape[1]
        lstm, gated = CELLS[cell] == "lstm", CELLS[cell] in ("gru", "lstm")
        return (
            rows.new_empty(T, B, H),
            rows.new_empty(B, H),
            rows.new_empty((B, H) if lstm else 0, dtype=_computed(rows.dtype)),
            rows.new_empty(T, B, 4 * H) if save and gated else rows.new_empty(0),
            rows.new_empty((T, B, H) if save and lstm else 0, dtype=_computed(rows.dtype)),
        )

    @torch.library.register_fake("pyagent::recurrence_backward")
    def _(  # noqa: ANN202
        grad_output,  # noqa: ANN001
        grad_h_n,  # noqa: ANN001
        grad_c_n,  # noqa: ANN001
        num_rows,  # noqa: ANN001
        row_index,  # noqa: ANN001
        weight_hh,  # noqa: ANN001
        h_0,  # noqa: ANN001
        c_0,  # noqa: ANN001
        reset,  # noqa: ANN001
        lengths,  # noqa: ANN001
        output,  # noqa: ANN001
        gates,  # noqa: ANN001
        cells,  # noqa: ANN001
        cell,  # noqa: ANN001
        need_rows,  # noqa: ANN001
        need_weight,  # noqa: ANN001
        need_state,  # noqa: ANN001
        split=False,  # noqa: ANN001
    ):
        one_device("recurrence_backward", (row_index, weight_hh, h_0, c_0, reset, lengths, output, gates, cells))
        one_device("recurrence_backward", (output, grad_output, grad_h_n, grad_c_n))
        T, B, H = output.shape
        width = weight_hh.shape[0]
        rows = (num_rows, width) if row_index is not None else (T, B, width)
        return (
            output.new_empty(rows if need_rows else 0),
            output.new_empty((width, H) if need_weight else 0),
            output.new_empty(H if need_weight and CELLS[cell] == "gru" else 0),
            output.new_empty((B, H) if need_state else 0),
            output.new_empty((B, H) if need_state and CELLS[cell] == "lstm" else 0, dtype=_computed(output.dtype)),
        )
