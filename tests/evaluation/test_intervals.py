"""Intervals against closed forms, other derivations of the same interval, and their promised coverage."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from pyagent.evaluation.intervals import (
    Estimate,
    mean_interval,
    paired_mean_difference,
    paired_rate_difference,
    student_t_quantile,
    wilson_interval,
)

Z = 1.959963984540054


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (1, 10), (5, 10), (10, 10), (430, 512), (511, 512)])
def test_wilson_solves_the_score_equation(successes: int, trials: int) -> None:
    estimate = wilson_interval(successes, trials)
    rate = successes / trials
    # The ends are the p at which (rate − p)² = z² p (1 − p) / n: the roots of a quadratic.
    roots = np.sort(np.roots([1 + Z**2 / trials, -(2 * rate + Z**2 / trials), rate**2]).real)
    assert estimate.value == rate
    np.testing.assert_allclose([estimate.low, estimate.high], roots, atol=1e-7)
    assert 0 <= estimate.low <= rate <= estimate.high <= 1


@pytest.mark.parametrize("degrees", [1, 2, 3, 7, 29, 511, 999, 1000, 5000])
@pytest.mark.parametrize("probability", [0.6, 0.9, 0.975, 0.995])
def test_t_quantile_inverts_the_incomplete_beta_function(degrees: int, probability: float) -> None:
    t = student_t_quantile(probability, degrees)
    tail = mpmath.betainc(degrees / 2, 0.5, 0, degrees / (degrees + t * t), regularized=True) / 2
    assert float(1 - tail) == pytest.approx(probability, abs=1e-12)
    assert student_t_quantile(1 - probability, degrees) == pytest.approx(-t)


def test_t_quantile_of_cauchy_is_closed() -> None:
    assert student_t_quantile(0.975, 1) == pytest.approx(math.tan(math.pi * 0.475), rel=1e-12)


def test_t_quantile_tends_to_the_normal() -> None:
    assert student_t_quantile(0.975, 10**8) == pytest.approx(Z, rel=1e-7)


def test_mean_interval_of_a_known_sample() -> None:
    estimate = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.7764451051977987 * math.sqrt(2.5 / 5)  # t(0.975, 4) from tables
    assert estimate == Estimate(3.0, pytest.approx(3 - half), pytest.approx(3 + half))


def test_one_value_says_nothing_about_the_mean() -> None:
    assert mean_interval([2.0]) == Estimate(2.0, -math.inf, math.inf)


def _tango_interval(only_first: int, only_second: int, trials: int) -> tuple[float, float]:
    """Score interval of Tango (Statistics in Medicine 17, 1998) by bisection: another method for the same pairs."""

    def score(delta: float) -> float:
        a = 2 * trials
        b = -only_first - only_second + (2 * trials - only_first + only_second) * delta
        c = -only_second * delta * (1 - delta)
        q = (math.sqrt(max(b * b - 4 * a * c, 0)) - b) / (2 * a)
        spread = trials * (2 * q + delta * (1 - delta))
        return (only_first - only_second - trials * delta) / math.sqrt(spread)

    def root(target: float) -> float:
        low, high = -0.999, 0.999
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if score(middle) > target else (low, middle)
        return low

    return root(Z), root(-Z)


def _pairs(both: int, only_first: int, only_second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    first = np.repeat([True, True, False, False], [both, only_first, only_second, neither])
    second = np.repeat([True, False, True, False], [both, only_first, only_second, neither])
    return first, second


@pytest.mark.parametrize("cells", [(300, 80, 40, 92), (400, 60, 20, 32), (200, 100, 100, 112), (36, 12, 2, 50)])
def test_paired_difference_agrees_with_the_score_interval(cells: tuple[int, int, int, int]) -> None:
    first, second = _pairs(*cells)
    estimate = paired_rate_difference(first, second)
    assert estimate.value == pytest.approx((cells[1] - cells[2]) / sum(cells))
    np.testing.assert_allclose(
        [estimate.low, estimate.high], _tango_interval(cells[1], cells[2], sum(cells)), atol=1.2 / sum(cells)
    )


def test_pairing_narrows_the_interval() -> None:
    first, second = _pairs(300, 60, 20, 132)
    paired = paired_rate_difference(first, second)
    shuffled = paired_rate_difference(first, np.random.default_rng(0).permutation(second))
    assert paired.high - paired.low < 0.7 * (shuffled.high - shuffled.low)


@pytest.mark.parametrize("cells", [(10, 0, 0, 0), (0, 0, 0, 10), (0, 10, 0, 0), (0, 0, 10, 0), (0, 5, 5, 0)])
def test_paired_difference_at_the_edges_stays_in_range(cells: tuple[int, int, int, int]) -> None:
    estimate = paired_rate_difference(*_pairs(*cells))
    assert -1 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.low < estimate.high


def test_swapping_the_two_mirrors_the_difference() -> None:
    first, second = _pairs(50, 30, 10, 10)
    there, back = paired_rate_difference(first, second), paired_rate_difference(second, first)
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))


@pytest.mark.parametrize("cells", [(0.6, 0.2, 0.1, 0.1), (0.85, 0.08, 0.04, 0.03), (0.25, 0.25, 0.25, 0.25)])
def test_95_percent_intervals_hold_95_percent_of_the_time(cells: tuple[float, ...]) -> None:
    rng = np.random.default_rng(1)
    rounds, trials = 1000, 128
    difference, first_rate = cells[1] - cells[2], cells[0] + cells[1]
    held = np.zeros((3, rounds), dtype=bool)
    for index, counts in enumerate(rng.multinomial(trials, cells, size=rounds)):
        first, second = _pairs(*counts.tolist())
        estimates = (
            paired_rate_difference(first, second),
            wilson_interval(int(first.sum()), trials),
            paired_mean_difference(first, second),
        )
        wanted = (difference, first_rate, difference)
        held[:, index] = [e.low <= want <= e.high for e, want in zip(estimates, wanted, strict=True)]
    # 1000 rounds of a 95 % interval hold 950 ± 14 (two standard errors); the methods themselves are off by a point.
    assert (held.mean(axis=1) > 0.925).all()
    assert (held.mean(axis=1) < 0.98).all()


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="successes and trials"):
        wilson_interval(3, 2)
    with pytest.raises(ValueError, match="successes and trials"):
        wilson_interval(0, 0)
    with pytest.raises(ValueError, match="confidence"):
        wilson_interval(1, 2, confidence=1.0)
    with pytest.raises(ValueError, match="values"):
        mean_interval([])
    with pytest.raises(ValueError, match="first and second"):
        paired_rate_difference([True], [True, False])
    with pytest.raises(ValueError, match="second: want successes"):
        paired_rate_difference([0, 1], [0, 2])
    with pytest.raises(ValueError, match="first and second"):
        paired_mean_difference([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="degrees"):
        student_t_quantile(0.9, 0)


def test_estimates_read_as_figures_in_brackets() -> None:
    estimate = Estimate(0.1234, -0.01, 0.25)
    assert str(estimate) == "0.123 [-0.010, 0.250]"
    assert estimate.format(2, sign=True) == "+0.12 [-0.01, +0.25]"
