"""Quick draws against numpy's generators."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyagent.envs.draws import Draws, _NumpyDraws

spans = st.lists(st.tuples(st.integers(-5, 5), st.one_of(st.integers(1, 30), st.integers(1, 2**32 - 1))), max_size=40)


@given(st.integers(0, 2**31), spans, st.sets(st.integers(0, 39)))
def test_draws_are_numpys(seed, wanted, floats):
    generator = np.random.default_rng(seed)
    draws = Draws.of(np.random.default_rng(seed))
    assert type(draws) is Draws, "numpy's stream has changed: levels are drawn slowly, but still numpy's"
    for i, (low, span) in enumerate(wanted):
        assert draws.integer(low, low + span) == generator.integers(low, low + span)
        if i in floats:
            assert draws.uniform(-1, 2) == generator.uniform(-1, 2)


def test_a_generator_that_is_not_understood_is_asked_itself():
    generator = np.random.Generator(np.random.MT19937(3))
    draws = Draws.of(np.random.Generator(np.random.MT19937(3)))
    assert type(draws) is _NumpyDraws
    assert [draws.integer(0, 9) for _ in range(20)] == generator.integers(0, 9, size=20).tolist()
    assert draws.uniform(0, 1) == generator.uniform(0, 1)


def test_draws_go_on_with_their_generator():
    generator = np.random.default_rng(0)
    first = Draws.of(generator)
    assert Draws.of(generator, first) is first
    assert Draws.of(np.random.default_rng(0), first) is not first


def test_an_empty_range_is_an_error_as_in_numpy():
    with pytest.raises(ValueError, match="low"):
        Draws.of(np.random.default_rng(0)).integer(3, 3)
