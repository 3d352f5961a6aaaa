"""Gates made again in the backward pass (`checkpoint_every`) against gates kept: time, and memory beside torch.nn.

It is for long sequences: of short ones the weights, their gradients and their packed copies are most of the memory.
"""

from __future__ import annotations

from functools import cache

import pytest

from . import memory
from .problem import Problem, Shape
from .recurrent import Data, assert_same, ours, torch_nn
from .sequences import cells, shapes

EVERY = 8
LONG_SHAPES: list[Shape] = [(32, 256, 128), (32, 256, 256), (64, 128, 512)]


@cache
def peaks(cell: str, B: int, T: int, H: int) -> dict[str, int]:
    """Bytes at the peak of forward and backward, checkpointed and torch.nn's."""
    data = Data(Problem(cell, B, T, H))
    contenders = {"ours": ours(data, checkpoint_every=EVERY), "peer": torch_nn(data)}
    return {name: memory.peak_of(contender.train_and_forget) for name, contender in contenders.items()}


@pytest.mark.benchmark(group="checkpointing")
@shapes(LONG_SHAPES, quick=LONG_SHAPES[:1])
@cells
def test_checkpointing(compare, benchmark, cell: str, shape: Shape) -> None:
    problem = Problem(cell, *shape)
    data = Data(problem)
    lean, full = ours(data, checkpoint_every=EVERY), ours(data)
    assert_same(lean, torch_nn(data))
    compare(
        lean.train,
        full.train,
        "pyagent, gates kept",
        flops=problem.flops(training=True),
        bytes=problem.bytes(training=True),
        memory=memory.measured(peaks, cell, *shape) if memory.available and benchmark.enabled else None,
    )
