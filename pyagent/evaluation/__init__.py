"""Evaluation: episodes on named seeds, figures with intervals, the table and the learning curve."""

try:
    import gymnasium  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "pyagent.evaluation needs gymnasium: pip install 'pyagent[train]'", name=error.name
    ) from error

from pyagent.evaluation.intervals import (
    Estimate,
    mean_interval,
    paired_mean_difference,
    paired_rate_difference,
    wilson_interval,
)
from pyagent.evaluation.plot import plot_learning_curve
from pyagent.evaluation.policy import evaluate_policy
from pyagent.evaluation.predictor import Predictor
from pyagent.evaluation.seeds import RandomPolicy, evaluate_seeds
from pyagent.evaluation.statistics import EpisodeStatistics
from pyagent.evaluation.table import evaluation_table, markdown_table

__all__ = [
    "EpisodeStatistics",
    "Estimate",
    "Predictor",
    "RandomPolicy",
    "evaluate_policy",
    "evaluate_seeds",
    "evaluation_table",
    "markdown_table",
    "mean_interval",
    "paired_mean_difference",
    "paired_rate_difference",
    "plot_learning_curve",
    "wilson_interval",
]
