"""Recurrent layers over whole sequences: training on tokens, with resets, on dense input; inference; how it scales."""

from __future__ import annotations

import pytest

from .problem import RESET_PROBABILITY, RESET_SHAPES, TRAINING_SHAPES, Problem, Shape
from .sequences import cells, compare_sequences, shapes

SCALED = {
    "B": [(B, 32, 256) for B in (1, 4, 16, 64, 256)],
    "T": [(32, T, 256) for T in (1, 4, 16, 64)],
    "H": [(32, 16, H) for H in (64, 128, 256, 512, 1024)],
}
six_shapes = shapes(TRAINING_SHAPES, quick=TRAINING_SHAPES[1:2])


@pytest.mark.benchmark(group="recurrent training")
@six_shapes
@cells
def test_training(compare, other_peers, peak_memory, cell: str, shape: Shape) -> None:
    problem = Problem(cell, *shape)
    compare_sequences(compare, other_peers, problem, "train", f"nn.Embedding + nn.{cell}", memory=peak_memory(problem))


@pytest.mark.benchmark(group="recurrent training with resets")
@shapes(RESET_SHAPES, quick=RESET_SHAPES[:1])
@cells
def test_training_with_resets(compare, other_peers, cell: str, shape: Shape) -> None:
    problem = Problem(cell, *shape, p_reset=RESET_PROBABILITY)
    compare_sequences(compare, other_peers, problem, "train", f"step loop over nn.{cell}")


@pytest.mark.benchmark(group="dense training")
@six_shapes
@cells
def test_dense_training(compare, other_peers, peak_memory, cell: str, shape: Shape) -> None:
    problem = Problem(cell, *shape, tokens=False)
    compare_sequences(compare, other_peers, problem, "train", f"nn.{cell}", memory=peak_memory(problem))


@pytest.mark.benchmark(group="recurrent inference")
@six_shapes
@cells
def test_inference(compare, other_peers, cell: str, shape: Shape) -> None:
    problem = Problem(cell, *shape)
    compare_sequences(compare, other_peers, problem, "infer", f"nn.Embedding + nn.{cell}")


@pytest.mark.benchmark(group="scaling")
@pytest.mark.parametrize(
    ("axis", "shape"),
    [
        pytest.param(axis, shape, id=f"{axis}-{size}", marks=() if i % 2 == 0 else pytest.mark.full)
        for axis, every in SCALED.items()
        for i, shape in enumerate(every)
        for size in [shape["BTH".index(axis)]]
    ],
)
def test_scaling(compare, other_peers, axis: str, shape: Shape) -> None:
    compare_sequences(compare, other_peers, Problem("LSTM", *shape), "train", "nn.Embedding + nn.LSTM")
