"""Every turn of every episode has one place, in order, after a reset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyagent.learning.episode_packing import pack_episodes


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=20), lanes=st.integers(1, 8))
def test_every_episode_runs_down_one_lane(lengths, lanes):
    row, reset = pack_episodes(lengths, lanes)
    assert row.shape == reset.shape
    assert sorted(row[row >= 0].tolist()) == list(range(sum(lengths)))
    first = 0
    for length in lengths:
        t, lane = (row == first).nonzero()[0].tolist()
        assert row[t : t + length, lane].tolist() == list(range(first, first + length))
        assert reset[t : t + length, lane].tolist() == [True] + [False] * (length - 1)
        first += length


def test_lanes_end_nearly_together():
    row, _ = pack_episodes([5, 1, 1, 1, 2, 4, 3, 3], 4)
    assert row.shape == (5, 4)
    assert (row >= 0).all()


@pytest.mark.parametrize(("lengths", "lanes"), [([], 2), ([3, 0], 2), ([3], 0)])
def test_nothing_to_pack_is_refused(lengths, lanes):
    with pytest.raises(ValueError, match="lengths" if lanes else "lanes"):
        pack_episodes(lengths, lanes)
