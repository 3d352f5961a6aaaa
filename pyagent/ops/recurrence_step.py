"""One step of the recurrence, without gradient: the acting path.

The maths is `pyagent.ops.recurrence`'s with T = 1. The weight is read as it is, or in the order in which the kernel of
this processor reads it (`pack_weight`), which is worth it where many steps share one weight.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pyagent import native
from pyagent.ops.checks import check_optional, check_range, check_tensor, one_device
from pyagent.ops.recurrence import CELLS, FLOATS, GATES, check_cell, recurrence_reference

_NUMBER = {cell: number for number, cell in enumerate(CELLS)}


def recurrence_step(
    rows: Tensor,
    row_index: Tensor | None,
    weight: Tensor,
    bias_hn: Tensor | None = None,
    h: Tensor | None = None,
    c: Tensor | None = None,
    reset: Tensor | None = None,
    *,
    cell: str,
    packed: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """One time step, without gradient: the acting path.

    Args:
        rows: `[B, G·H]`, or with `row_index` `[R, G·H]`; float32 or float64.
        row_index: `[B]` int64 in [0, R), or None.
        weight: `[G·H, H]`, read as it is; or what `pack_weight` made of it, with `packed=True`.
        bias_hn, h, c: as in `recurrence`; h and c are not written to.
        reset: bool `[B]`; the lane starts from zeros.

    Returns:
        The next h and, for the LSTM, c, both `[B, H]`.

    Raises:
        ValueError, TypeError, IndexError: as `recurrence`.
    """
    try:
        # Checked by the op: a step takes microseconds, and words are only needed when something is wrong.
        if native.available and rows.is_cpu:
            h_n, c_n = _step(rows, row_index, weight, packed, bias_hn, h, c, reset, _NUMBER[cell])
            return h_n, c_n if cell == "lstm" else None
    except (RuntimeError, KeyError, AttributeError):
        _check_step(rows, row_index, weight, packed, bias_hn, h, c, reset, cell)
        raise
    _check_step(rows, row_index, weight, False, bias_hn, h, c, reset, cell)
    return recurrence_step_reference(rows, row_index, weight, bias_hn, h, c, reset, cell=cell)


def recurrence_step_reference(
    rows: Tensor,
    row_index: Tensor | None,
    weight: Tensor,
    bias_hn: Tensor | None = None,
    h: Tensor | None = None,
    c: Tensor | None = None,
    reset: Tensor | None = None,
    *,
    cell: str,
) -> tuple[Tensor, Tensor | None]:
    """`recurrence_step` in torch."""
    index, reset = (None if x is None else x[None] for x in (row_index, reset))
    with torch.no_grad():
        sequence = rows[None] if index is None else rows
        _, h_n, c_n = recurrence_reference(sequence, index, weight, bias_hn, h, c, reset, cell=cell)
    return h_n, c_n


def pack_weight(weight_hh: Tensor, cell: str) -> Tensor:
    """W_hh `[G·H, H]` in the order in which the kernel of this processor reads it, for `recurrence_step`."""
    if not native.available or not weight_hh.is_cpu:
        return weight_hh.detach().clone()
    return torch.ops.pyagent.recurrence_pack.default(weight_hh.detach(), _NUMBER[cell])


def _check_step(
    rows: Tensor,
    row_index: Tensor | None,
    weight: Tensor,
    packed: bool,
    bias_hn: Tensor | None,
    h: Tensor | None,
    c: Tensor | None,
    reset: Tensor | None,
    cell: str,
) -> None:
    check_cell(cell, bias_hn, c, "c")
    check_tensor("rows", rows, ["B", "G·H"], FLOATS)
    width = rows.shape[1]
    H, dtype, device = width // GATES[cell], (rows.dtype,), rows.device
    check_optional("row_index", row_index, ["B"], (torch.int64,), device)
    check_range("row_index", row_index, 0, rows.shape[0])
    B = (rows if row_index is None else row_index).shape[0]
    check_tensor("weight", weight, ["packed"] if packed else [width, H], dtype, device)
    check_optional("bias_hn", bias_hn, [H], dtype, device)
    check_optional("h", h, [B, H], dtype, device)
    check_optional("c", c, [B, H], dtype, device)
    check_optional("reset", reset, [B], (torch.bool,), device)


if native.core is not None:
    _step = torch.ops.pyagent.recurrence_step.default
    _packed_size = native.core.packed_size

    @torch.library.register_fake("pyagent::recurrence_step")
    def _(rows, row_index, weight, packed, bias_hn, h, c, reset, cell):  # noqa: ANN001, ANN202
        one_device("recurrence_step", (rows, row_index, weight, bias_hn, h, c, reset))
        B, H = (rows if row_index is None else row_index).shape[0], rows.shape[1] // GATES[CELLS[cell]]
        return rows.new_empty(B, H), rows.new_empty((B, H) if CELLS[cell] == "lstm" else 0)

    @torch.library.register_fake("pyagent::recurrence_pack")
    def _(weight_hh, cell):  # noqa: ANN001, ANN202
        size = _packed_size(cell, int(weight_hh.shape[1]), weight_hh.dtype == torch.float64)
        return weight_hh.new_empty(size)
