"""The learning curve as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from pyagent.evaluation.intervals import Estimate
from pyagent.files import write_atomically


def plot_learning_curve(
    metrics: Iterable[Mapping[str, Any]],
    path: str | Path,
    *,
    keys: Sequence[str] = ("rollout/success_rate", "eval/success_rate"),
    x: str = "step",
    levels: Mapping[str, Estimate] | None = None,
    title: str | None = None,
    x_label: str = "environment steps",
    y_label: str = "success rate",
) -> None:
    """Draw `keys` over `x` from lines of metrics and write a PNG.

    Args:
        metrics: lines as `RunFolder.metrics()` gives them; a line without `x` or without a key adds no point to it.
        path: where the PNG goes, written atomically.
        levels: agents to compare with, each a horizontal line with its interval as a band.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: no line holds any of the keys, and there are no levels.
    """
    try:
        from matplotlib.figure import Figure  # without pyplot: the global backend stays the caller's
    except ImportError as error:
        raise ImportError("a learning curve needs matplotlib: pip install 'pyagent[train]'") from error
    lines = list(metrics)
    curves = {key: points for key in keys if (points := _points(lines, x, key))}
    if not curves and not levels:
        raise ValueError(f"metrics: no line holds {x!r} and one of {list(keys)}")
    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    for key, points in curves.items():
        axes.plot(*zip(*points, strict=True), label=key, marker="." if len(points) < 50 else None)
    for index, (name, level) in enumerate((levels or {}).items()):
        colour = f"C{len(curves) + index}"
        axes.axhline(level.value, label=name, color=colour, linestyle="--")
        axes.axhspan(level.low, level.high, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel=x_label, ylabel=y_label, title=title or "")
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    picture = BytesIO()
    figure.savefig(picture, format="png")
    write_atomically(path, picture.getvalue())


def _points(lines: Sequence[Mapping[str, Any]], x: str, key: str) -> list[tuple[float, float]]:
    pairs = [(line[x], line[key]) for line in lines if line.get(x) is not None and line.get(key) is not None]
    return [(float(at), float(value)) for at, value in pairs if math.isfinite(value)]
