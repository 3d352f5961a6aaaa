"""How much supervised learning gains from more labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pyagent.envs import demonstrations, evaluation_seeds, make
from pyagent.evaluation import Estimate, evaluate_seeds, mean_interval, plot_learning_curve
from pyagent.files import write_atomically
from pyagent.learning.supervised import Supervised

MOST_TIMESTEPS = 10_000_000
"""more than early stopping ever takes"""


class LabelPoint(NamedTuple):
    """What supervised learning makes of one number of demonstrations, over the seeds."""

    demonstrations: int
    turns: float
    """labels: responses learned from or held out, the mean over seeds"""
    success: Estimate
    loss: Estimate
    """held-out, a response"""


def label_curve(
    level: str,
    sizes: Sequence[int],
    *,
    seeds: int = 3,
    episodes: int = 256,
    dropout: float = 0.0,
    weight_decay: float = 0.01,
    announce: Callable[[str], None] = lambda line: None,
) -> list[LabelPoint]:
    """Learns from every number of demonstrations with every seed, until the held-out loss stops falling, and plays
    levels that were never shown. The first demonstrations of a larger set are those of the smaller ones.

    Args:
        level: the task.
        sizes: numbers of demonstrations, each at least 2.
        seeds: of the demonstrations and of the learner: 0 … seeds − 1.
        episodes: levels to play.
        dropout, weight_decay: of `Supervised`.
        announce: told each result, a line at a time.

    Raises:
        ValueError: no sizes, or one below 2; no seeds.
    """
    if not sizes or min(sizes) < 2 or seeds < 1:
        raise ValueError(f"sizes, seeds: want numbers of at least 2, and a seed; got {list(sizes)} and {seeds}")
    shown = [demonstrations(level, max(sizes), seed) for seed in range(seeds)]
    curve = []
    for size in sorted(sizes):
        successes, losses, turns = [], [], []
        for seed, episodes_shown in enumerate(shown):
            some = episodes_shown[:size]
            learner = Supervised(level, demonstrations=some, dropout=dropout, weight_decay=weight_decay, seed=seed)
            learner.learn(MOST_TIMESTEPS)
            played = evaluate_seeds(learner.agent.eval(), lambda: make(level), evaluation_seeds(episodes))
            successes.append(played.success_rate.value)
            losses.append(learner.best_loss)
            turns.append(sum(map(len, some)))
            announce(f"{size} demonstrations, seed {seed}: success {successes[-1]:.3f}, held-out loss {losses[-1]:.3f}")
        curve.append(LabelPoint(size, sum(turns) / seeds, mean_interval(successes), mean_interval(losses)))
    return curve


def label_table(curve: Sequence[LabelPoint]) -> str:
    """Markdown, with 95 % intervals over seeds."""
    lines = ["| demonstrations | labels | success | held-out loss |", "|---:|---:|---|---|"]
    lines += [f"| {p.demonstrations:,} | {p.turns:,.0f} | {p.success} | {p.loss} |" for p in curve]
    return "\n".join(lines) + "\n"


def write_label_curve(curve: Sequence[LabelPoint], folder: str | Path, title: str) -> list[Path]:
    """Writes labels.json, labels.md and labels.png; returns their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "demonstrations": point.demonstrations,
            "labels": point.turns,
            "success": [point.success.value, point.success.low, point.success.high],
            "loss": [point.loss.value, point.loss.low, point.loss.high],
        }
        for point in curve
    ]
    paths = [folder / f"labels.{ending}" for ending in ("json", "md", "png")]
    write_atomically(paths[0], (json.dumps(rows, indent=1) + "\n").encode())
    write_atomically(paths[1], label_table(curve).encode())
    lines = [{"labels": point.turns, "success rate": point.success.value} for point in curve]
    plot_learning_curve(
        lines,
        paths[2],
        keys=["success rate"],
        x="labels",
        title=title,
        x_label="labels",
        y_label="success on new levels",
    )
    return paths
