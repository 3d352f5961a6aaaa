"""Training and evaluation never play the same level."""

from itertools import islice

import pytest

import pyagent.envs as envs


def test_training_and_evaluation_seeds_are_disjoint():
    for lane in range(3):
        assert all(0 <= seed < envs.EVALUATION_SEED_START for seed in islice(envs.training_seeds(0, lane), 2000))
    named = envs.evaluation_seeds(500)
    assert len(set(named)) == 500
    assert min(named) == envs.EVALUATION_SEED_START == 2**30
    assert list(envs.evaluation_seeds(3, first=500)) == [2**30 + 500, 2**30 + 501, 2**30 + 502]


def test_streams_repeat_and_differ():
    def first(seed, lane):
        return list(islice(envs.training_seeds(seed, lane), 600))

    assert first(0, 0) == first(0, 0)
    assert len({tuple(first(seed, lane)) for seed in range(3) for lane in range(3)}) == 9
    stream = envs.training_seeds(1)
    assert list(islice(stream, 5)) == list(islice(stream, 5))


def test_bad_seeds_are_named():
    with pytest.raises(ValueError, match="seed must be 0 or more, got -1"):
        envs.training_seeds(-1)
    with pytest.raises(ValueError, match="lane must be 0 or more, got -2"):
        envs.training_seeds(0, -2)
    for arguments in ((-1,), (1, -1), (2, 2**30 - 1)):
        with pytest.raises(ValueError, match="episodes and first"):
            envs.evaluation_seeds(*arguments)
