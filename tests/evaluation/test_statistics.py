"""Statistics of episodes: pairing by seed, names of seeds, JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pyagent.evaluation import EpisodeStatistics, mean_interval, paired_mean_difference, paired_rate_difference


def _episodes(seeds: list[int], successes: list[int] | None = None) -> EpisodeStatistics:
    names = np.array(seeds, dtype=np.int64)
    won = None if successes is None else np.array(successes, dtype=np.bool_)
    return EpisodeStatistics(names, names * 0.5, names + 1, won)


def test_figures_come_with_their_intervals() -> None:
    episodes = _episodes([1, 2, 3, 4], [1, 1, 0, 1])
    assert episodes.success_rate.value == 0.75
    assert episodes.mean_reward == mean_interval([0.5, 1, 1.5, 2])
    assert episodes.mean_length == mean_interval([2, 3, 4, 5])
    assert len(episodes) == 4


def test_a_comparison_pairs_by_seed_not_by_place() -> None:
    first = _episodes([1, 2, 3, 4], [1, 1, 0, 1])
    second = EpisodeStatistics(
        np.array([4, 2, 1, 3]), np.array([1.0, 2.0, 4.0, 3.0]), np.ones(4, dtype=np.int64), np.array([1, 0, 1, 0], bool)
    )
    assert first.success_difference(second) == paired_rate_difference([1, 1, 0, 1], [1, 0, 0, 1])
    assert first.reward_difference(second) == paired_mean_difference([0.5, 1, 1.5, 2], [4, 2, 3, 1])
    with pytest.raises(ValueError, match="seeds: a paired comparison wants the same"):
        first.success_difference(_episodes([1, 2, 3, 5], [1, 1, 1, 1]))


def test_seeds_are_named() -> None:
    assert _episodes(list(range(10, 522))).seeds_text() == "512 seeds 10…521"
    assert _episodes([7, 1]).seeds_text() == "2 seeds 1, 7"
    assert _episodes([3]).seeds_text() == "1 seed 3"
    assert _episodes(list(range(0, 40, 4))).seeds_text() == "10 seeds between 0 and 36"


@pytest.mark.parametrize("successes", [None, [1, 0, 1]])
def test_json_brings_everything_back(successes: list[int] | None) -> None:
    episodes = _episodes([3, 1, 2], successes)
    again = EpisodeStatistics.from_json(json.loads(json.dumps(episodes.to_json())))
    for field in ("seeds", "rewards", "lengths"):
        assert getattr(again, field).dtype == getattr(episodes, field).dtype
        np.testing.assert_array_equal(getattr(again, field), getattr(episodes, field))
    assert again.to_json() == episodes.to_json()


def test_fields_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="want one shape"):
        EpisodeStatistics(np.arange(3), np.zeros(2), np.zeros(3, dtype=np.int64), None)
    with pytest.raises(ValueError, match="N >= 1"):
        _episodes([])
