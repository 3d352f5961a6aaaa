"""The recurrence alone, packing and gates included: how much of a matrix product's speed its GEMM FLOPs reach.

The peer is torch.mm of 1024 × 1024 matrices, timed in the same rounds; the efficiency is ours over its FLOP/s.
"""

from __future__ import annotations

import pytest
import torch

from pyagent.ops import recurrence
from pyagent.ops.recurrence import recurrence_reference

from .problem import GATES, Shape
from .sequences import cells, shapes

SHAPES = [(32, 64, 256), (128, 32, 256), (64, 32, 512), (32, 16, 1024)]
CELL = {"RNN": "tanh", "GRU": "gru", "LSTM": "lstm"}
SIZE = 1024


@pytest.mark.benchmark(group="kernel efficiency")
@shapes(SHAPES, quick=SHAPES[:3:2])
@cells
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward-backward"])
def test_kernel_efficiency(compare, cell: str, shape: Shape, backward: bool) -> None:
    B, T, H = shape
    torch.manual_seed(0)
    width = GATES[cell] * H
    rows = torch.randn(T, B, width, requires_grad=backward)
    weight_hh = torch.empty(width, H).uniform_(-(H**-0.5), H**-0.5).requires_grad_(backward)
    bias_hn = torch.randn(H) if cell == "GRU" else None
    weigh = torch.randn(T, B, H)
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)

    def run(op=recurrence) -> list[torch.Tensor]:
        with torch.no_grad():
            weight_hh.add_(1e-7)
        output, _, _ = op(rows, None, weight_hh, bias_hn, cell=CELL[cell])
        return [output, *(torch.autograd.grad(output, (rows, weight_hh), weigh) if backward else ())]

    for got, want in zip(run(), run(recurrence_reference), strict=True):
        torch.testing.assert_close(got, want, atol=2e-3, rtol=1e-3)
    flops = 2 * T * B * width * H * (3 if backward else 1)
    compare(
        run,
        lambda: torch.mm(a, b),
        f"torch.mm {SIZE}³",
        flops=flops,
        peer_flops=2 * SIZE**3,
        bytes=4 * (T * B * (width + H) + width * H) * (2 if backward else 1),
    )
