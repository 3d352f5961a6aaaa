"""One case over whole sequences: build, verify, measure memory, time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from .comparison import Comparison
from .peers import Selection
from .problem import GATES, Problem, Shape, shape_id
from .recurrent import Data, assert_same, ours, torch_nn

cells = pytest.mark.parametrize("cell", GATES)


def shapes(every: Sequence[Shape], quick: Sequence[Shape]) -> pytest.MarkDecorator:
    """Parametrise by `shape`; `--quick` keeps only some."""
    marked = [pytest.param(shape, marks=() if shape in quick else pytest.mark.full) for shape in every]
    return pytest.mark.parametrize("shape", marked, ids=[shape_id(shape) for shape in every])


def compare_sequences(
    compare: Comparison, other_peers: Selection, problem: Problem, mode: str, peer_name: str, **facts: object
) -> None:
    """Ours against torch.nn and the other peers; `mode` is the contenders' method, train or infer."""
    data = Data(problem)
    mine, theirs = ours(data), torch_nn(data)
    assert_same(mine, theirs)
    others = other_peers.sequences(data, mode)
    training = mode == "train"
    compare(
        getattr(mine, mode),
        getattr(theirs, mode),
        peer_name,
        flops=problem.flops(training),
        peer_flops=problem.flops(training, distinct=False),
        bytes=problem.bytes(training),
        peers=others.calls,
        absent=others.absent,
        **facts,
    )
