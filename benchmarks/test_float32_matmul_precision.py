"""Training in fp32 after `torch.set_float32_matmul_precision("high")`, whose products are three of bf16, against plain
fp32; on AMX alone, since nothing else is faster that way."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pyagent import native

from .problem import Problem, Shape
from .recurrent import Data, OurRecurrent, TorchContender, assert_near, ours, torch_nn
from .sequences import cells, shapes

SHAPES = [(32, 64, 256), (128, 32, 256), (64, 32, 512)]
RELATIVE_ERROR = 1e-4


class AtHighPrecision(TorchContender):
    """Ours; the backward pass does as the forward pass did."""

    def _run(self, input: Tensor) -> Tensor:
        torch.set_float32_matmul_precision("high")
        try:
            return super()._run(input)
        finally:
            torch.set_float32_matmul_precision("highest")


@pytest.mark.skipif(native.isa() != "amx", reason=f"products of fp32 are split on AMX, here is {native.isa()}")
@pytest.mark.benchmark(group="split fp32 training")
@shapes(SHAPES, quick=SHAPES[:1])
@cells
def test_split_fp32_training(compare, cell: str, shape: Shape) -> None:
    problem = Problem(cell, *shape)
    data = Data(problem)
    split, plain = AtHighPrecision(data, OurRecurrent(problem)), ours(data)
    assert_near(split, plain, RELATIVE_ERROR)
    compare(
        split.train,
        plain.train,
        "pyagent, fp32",
        peers={f"nn.Embedding + nn.{cell}, fp32": torch_nn(data).train},
        flops=problem.flops(training=True),
        bytes=problem.bytes(training=True),
    )
