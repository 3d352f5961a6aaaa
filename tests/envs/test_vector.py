"""The vector environment against gymnasium's own, and its worker processes."""

import os
import signal

import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

import pyagent.envs as envs

LANES = 5


def ours(mode="NextStep", workers=0, **options):
    return envs.make_vec("GoToObj", LANES, seed=4, autoreset_mode=mode, workers=workers, **options)


def gymnasiums(mode):
    makers = [lambda lane=lane: envs.make("GoToObj", envs.training_seeds(4, lane)) for lane in range(LANES)]
    return SyncVectorEnv(makers, autoreset_mode=AutoresetMode(mode))


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_it_does_what_gymnasiums_does(mode, workers):
    env, reference = ours(mode, workers), gymnasiums(mode)
    try:
        assert isinstance(env, VectorEnv)
        assert env.metadata["autoreset_mode"] is AutoresetMode(mode)
        for name in ("num_envs", "action_space", "observation_space", "single_action_space"):
            assert getattr(env, name) == getattr(reference, name)
        assert env.action_words == envs.ACTION_WORDS
        generator = np.random.default_rng(0)
        assert same(env.reset(), reference.reset())
        ends = 0
        for step in range(150):
            if step == 80:
                assert same(env.reset(seed=9), reference.reset(seed=9))
            actions = generator.choice(3, p=[0.25, 0.15, 0.6], size=LANES)
            result = env.step(actions)
            assert same(result, reference.step(actions))
            ends += int(result[2].sum() + result[3].sum())
        assert ends > LANES
    finally:
        env.close()
        reference.close()


def test_after_an_end_the_next_step_starts_anew():
    env = ours()
    env.reset(seed=0)
    for _ in range(63):
        observations, *_ = env.step([6] * LANES)
    observations, rewards, terminated, truncated, infos = env.step([6] * LANES)
    assert truncated.all()
    assert not terminated.any()
    assert infos["is_success"].tolist() == [False] * LANES
    first, rewards, terminated, truncated, infos = env.step([2] * LANES)
    assert first != observations
    assert not rewards.any()
    assert not (terminated | truncated).any()
    expected = [next(iter(envs.training_seeds(4, lane))) for lane in range(LANES)]
    assert infos["seed"].tolist() == expected
    assert list(first) == [envs.make("GoToObj").reset(seed=seed)[0] for seed in expected]
    env.close()


def test_without_autoreset_the_caller_resets():
    env = ours("Disabled")
    env.reset(seed=0)
    for _ in range(64):
        observations, *_, truncated, _ = env.step([6] * LANES)
    assert truncated.all()
    with pytest.raises(RuntimeError, match="reset the lanes whose episode ended first"):
        env.step([6] * LANES)
    env = ours("Disabled")
    env.reset(seed=0)
    for _ in range(64):
        observations, *_ = env.step([6] * LANES)
    mask = np.array([True, False, True, False, True])
    again, infos = env.reset(options={"reset_mask": mask})
    assert infos["_seed"].tolist() == mask.tolist()
    assert [new == old for new, old in zip(again, observations, strict=True)] == (~mask).tolist()
    env.close()


def test_the_same_seed_repeats_the_run():
    def run(env, seed):
        texts = [env.reset(seed=seed)[0]]
        texts += [env.step(actions)[0] for actions in np.random.default_rng(2).integers(3, size=(80, LANES))]
        return texts

    env = ours()
    assert run(env, 1) == run(env, 1) != run(env, 2)
    assert run(ours(), None) == run(ours(), None)


def test_named_seeds_are_dealt_to_the_lanes_again_and_again():
    named = envs.evaluation_seeds(4)
    env = envs.make_vec("GoToObj", 2, seeds=named, autoreset_mode="Disabled")
    played = [env.reset()[1]["seed"].tolist() for _ in range(3)]
    assert played == [list(named[0:2]), list(named[2:4]), list(named[0:2])]


@pytest.mark.parametrize(
    ("match", "actions"),
    [
        ("actions must be 5 integers, got int64 of shape", [0, 1]),
        ("actions must be 5 integers, got float64", [0.0] * 5),
        (r"actions must lie in \[0, 7\), got 0 to 7", [0, 1, 2, 3, 7]),
        (r"actions must lie in \[0, 7\), got -1 to 4", [0, -1, 2, 3, 4]),
    ],
)
def test_bad_actions_move_no_lane(match, actions):
    env = ours()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=match):
        env.step(actions)
    fresh = ours()
    fresh.reset(seed=0)
    assert same(env.step([2] * LANES), fresh.step([2] * LANES))


@pytest.mark.parametrize(
    ("match", "make"),
    [
        ("env_id 'Nowhere'", lambda: envs.make_vec("Nowhere", 2)),
        ("num_envs must be 1 or more, got 0", lambda: envs.make_vec("GoToObj", 0)),
        ("seeds must name a level for each of the 3", lambda: envs.make_vec("GoToObj", 3, seeds=[1, 2])),
        (r"workers must lie in \[0, 2\]", lambda: envs.make_vec("GoToObj", 2, workers=3)),
        ("'Sometimes' is not a valid AutoresetMode", lambda: envs.make_vec("GoToObj", 2, autoreset_mode="Sometimes")),
        ("seed must be one integer or 5 of them", lambda: ours().reset(seed=[1, 2])),
        ("must be bool of shape", lambda: ours().reset(options={"reset_mask": np.zeros(LANES, dtype=bool)})),
    ],
)
def test_bad_input_is_named(match, make):
    with pytest.raises(ValueError, match=match):
        make()


def test_close_ends_the_workers():
    env = ours(workers=2)
    env.reset()
    processes = [worker._process for worker in env._lanes]
    env.close()
    env.close()
    assert all(process.poll() is not None for process in processes)
    with pytest.raises(ClosedEnvironmentError):
        env.step([0] * LANES)


def test_a_killed_worker_is_an_error_and_the_others_end():
    env = ours(workers=2)
    env.reset()
    processes = [worker._process for worker in env._lanes]
    os.kill(processes[1].pid, signal.SIGKILL)
    processes[1].wait()
    with pytest.raises(RuntimeError, match="an environment worker died with exit code -9"):
        env.step([0] * LANES)
    assert env.closed
    assert all(process.poll() is not None for process in processes)
