"""Two threads against one: our own layer, with torch.nn's on as many beside it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from pyagent import info

from .problem import TRAINING_SHAPES, Problem, Shape
from .recurrent import Data, assert_same, ours, torch_nn
from .sequences import cells, shapes

PROCESSORS = info.facts()["processors"]


def on_threads(count: int, call: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        torch.set_num_threads(count)
        return call()

    return run


@pytest.mark.skipif(PROCESSORS < 2, reason=f"needs 2 processors, this process may run on {PROCESSORS}")
@pytest.mark.benchmark(group="threads")
@shapes([shape for shape in TRAINING_SHAPES if shape[0] >= 32], quick=TRAINING_SHAPES[2:3])
@cells
def test_two_threads(compare, cell: str, shape: Shape) -> None:
    problem = Problem(cell, *shape)
    data = Data(problem)
    mine, theirs = ours(data), torch_nn(data)
    assert_same(mine, theirs)
    name = f"nn.Embedding + nn.{cell}"
    compare(
        on_threads(2, mine.train),
        on_threads(1, mine.train),
        "pyagent, 1 thread",
        peers={f"{name}, {n} thread{'s' * (n > 1)}": on_threads(n, theirs.train) for n in (1, 2)},
        bytes=problem.bytes(training=True),
    )
