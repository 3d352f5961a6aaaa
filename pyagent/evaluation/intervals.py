"""Intervals that go with a figure: success rates, means, and differences on the same seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Estimate:
    """A figure with the interval around it."""

    value: float
    low: float
    high: float

    def format(self, digits: int = 3, sign: bool = False) -> str:
        """`0.812 [0.776, 0.843]`, each number with `digits` decimals, with its sign if asked for."""
        plus = "+" if sign else ""
        value, low, high = (f"{number:{plus}.{digits}f}" for number in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"

    def __str__(self) -> str:
        return self.format()


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> Estimate:
    """Share of successes with Wilson's score interval.

    Never leaves [0, 1] and has a width above 0 at 0 and at all successes, where the Wald interval collapses.

    Raises:
        ValueError: no trials, successes outside 0…trials, or a confidence outside (0, 1).

    Paper: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"successes and trials: want 0 <= successes <= trials, trials >= 1; got {successes}, {trials}")
    z = _normal_quantile(confidence)
    rate = successes / trials
    scale = 1 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    # At the two ends the interval ends exactly at the rate, which the formula reaches only up to rounding.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return Estimate(rate, low, high)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Mean of `values` [N] with Student's t interval; one value alone has an infinite interval.

    Raises:
        ValueError: `values` is empty or not one-dimensional, or a confidence outside (0, 1).
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0:
        raise ValueError(f"values: want shape [N] with N >= 1, got {list(sample.shape)}")
    mean = float(sample.mean())
    if sample.size == 1:
        _normal_quantile(confidence)
        return Estimate(mean, -math.inf, math.inf)
    half = (
        student_t_quantile((1 + confidence) / 2, sample.size - 1) * float(sample.std(ddof=1)) / math.sqrt(sample.size)
    )
    return Estimate(mean, mean - half, mean + half)


def paired_rate_difference(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Success rate of `first` minus that of `second`, both bool [N] over the same N trials, with Newcombe's interval.

    Squares and adds the Wilson intervals of the two rates, less what the correlation φ of the pairs explains
    (his method 10: φ's numerator is reduced by N/2 where it is positive).

    Raises:
        ValueError: shapes differ, are empty or not one-dimensional; values other than 0 and 1.

    Paper: R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based on
    paired data", Statistics in Medicine 17 (1998).
    """
    ours, theirs = _outcomes("first", first), _outcomes("second", second)
    if ours.shape != theirs.shape:
        raise ValueError(f"first and second: want the same trials, got {ours.size} and {theirs.size}")
    trials = ours.size
    p_1 = wilson_interval(int(ours.sum()), trials, confidence)
    p_2 = wilson_interval(int(theirs.sum()), trials, confidence)
    phi = _pair_correlation(ours, theirs)
    below_1, above_1 = p_1.value - p_1.low, p_1.high - p_1.value
    below_2, above_2 = p_2.value - p_2.low, p_2.high - p_2.value
    difference = p_1.value - p_2.value
    low = difference - math.sqrt(max(below_1**2 - 2 * phi * below_1 * above_2 + above_2**2, 0.0))
    high = difference + math.sqrt(max(above_1**2 - 2 * phi * above_1 * below_2 + below_2**2, 0.0))
    return Estimate(difference, max(low, -1.0), min(high, 1.0))


def paired_mean_difference(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Mean of `first` − `second`, both [N] over the same N trials, with the paired t interval.

    Raises:
        ValueError: shapes differ, are empty or not one-dimensional.
    """
    ours, theirs = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if ours.shape != theirs.shape:
        raise ValueError(f"first and second: want the same trials, got {list(ours.shape)} and {list(theirs.shape)}")
    return mean_interval(ours - theirs, confidence)


@lru_cache(maxsize=64)
def student_t_quantile(probability: float, degrees: int) -> float:
    """The t with P(T ≤ t) = `probability` for Student's t with `degrees` degrees of freedom.

    Raises:
        ValueError: a probability outside (0, 1) or fewer than 1 degree of freedom.
    """
    if not 0 < probability < 1 or degrees < 1:
        raise ValueError(f"probability in (0, 1) and degrees >= 1 wanted, got {probability} and {degrees}")
    if probability < 0.5:
        return -student_t_quantile(1 - probability, degrees)
    # t = √n·tan θ turns the density into C·cos^(n−1) θ on [0, π/2); log C by log-gamma, as Γ overflows from n = 343.
    log_c = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(math.pi)
    nodes, weights = np.polynomial.legendre.leggauss(64)
    # With many degrees all mass lies below t = 40, and nodes spread any wider would miss the narrow peak.
    low, high = 0.0, math.pi / 2 if degrees < 1000 else 40 / math.sqrt(degrees)
    for _ in range(60):
        angle = (low + high) / 2
        log_cos = np.log(np.cos(angle / 2 * (nodes + 1)))
        mass = angle / 2 * float(weights @ np.exp(log_c + (degrees - 1) * log_cos))
        low, high = (angle, high) if mass < probability - 0.5 else (low, angle)
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _normal_quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: want a number in (0, 1), got {confidence}")
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _outcomes(name: str, values: ArrayLike) -> NDArray[np.int64]:
    outcomes = np.asarray(values)
    if outcomes.ndim != 1 or outcomes.size == 0:
        raise ValueError(f"{name}: want shape [N] with N >= 1, got {list(outcomes.shape)}")
    if not np.isin(outcomes, (0, 1)).all():
        raise ValueError(f"{name}: want successes as bool or 0 and 1, got {np.unique(outcomes)[:5]}")
    return outcomes.astype(np.int64)


def _pair_correlation(ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> float:
    """φ of the 2×2 table of pairs, corrected for continuity as Newcombe does."""
    both, neither = int((ours & theirs).sum()), int(((1 - ours) & (1 - theirs)).sum())
    only_ours, only_theirs = int((ours & (1 - theirs)).sum()), int(((1 - ours) & theirs).sum())
    margins = (both + only_ours) * (only_theirs + neither) * (both + only_theirs) * (only_ours + neither)
    if margins == 0:
        return 0.0
    numerator = both * neither - only_ours * only_theirs
    if numerator > 0:
        numerator = max(numerator - ours.size / 2, 0)
    return numerator / math.sqrt(margins)
