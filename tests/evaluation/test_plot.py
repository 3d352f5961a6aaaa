"""The learning curve is a picture of the figures, drawn without touching pyplot."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import matplotlib.image
import numpy as np
import pytest

from pyagent.evaluation import Estimate, plot_learning_curve

LINES = [
    {"step": 0, "train/loss": 2.0},
    *({"step": step, "rollout/success_rate": step / 1000, "eval/success_rate": None} for step in range(0, 900, 100)),
    {"step": 900, "rollout/success_rate": float("nan")},
]


def test_a_curve_with_levels_is_a_png(tmp_path: Path) -> None:
    backend, pyplot_before = matplotlib.rcParams["backend"], "matplotlib.pyplot" in sys.modules
    path = tmp_path / "curve.png"
    plot_learning_curve(LINES, path, levels={"supervised": Estimate(0.5, 0.4, 0.6)}, title="GoToLocal")
    with_level = matplotlib.image.imread(path)
    assert with_level.shape[0] > 300
    plot_learning_curve(LINES, path)
    assert not np.array_equal(with_level, matplotlib.image.imread(path))
    assert matplotlib.rcParams["backend"] == backend
    assert ("matplotlib.pyplot" in sys.modules) == pyplot_before
    assert [file.name for file in tmp_path.iterdir()] == ["curve.png"]


def test_the_same_figures_make_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        plot_learning_curve(LINES, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_nothing_to_draw_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no line holds"):
        plot_learning_curve([{"step": 1, "train/loss": 1.0}], tmp_path / "curve.png")
    assert list(tmp_path.iterdir()) == []
