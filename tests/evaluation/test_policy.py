"""`evaluate_policy` in every autoreset mode, against Stable-Baselines3 and against figures known by construction."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics, TransformReward
from stable_baselines3.common.evaluation import evaluate_policy as sb3_evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from pyagent.evaluation import evaluate_policy

MODES = list(AutoresetMode)


def _vector(counting_env: Any, mode: AutoresetMode, lanes: int = 3, **settings: Any) -> SyncVectorEnv:
    return SyncVectorEnv([lambda: counting_env(**settings) for _ in range(lanes)], autoreset_mode=mode)


@pytest.mark.parametrize("truncates", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_every_step_counts_once_and_memory_starts_anew(
    counting_env: Any, counter: Any, mode: AutoresetMode, truncates: bool
) -> None:
    rewards, lengths = evaluate_policy(
        counter(), _vector(counting_env, mode, truncates=truncates), n_eval_episodes=50, return_episode_rewards=True
    )
    assert isinstance(rewards, list)
    assert isinstance(lengths, list)
    assert len(rewards) == len(lengths) == 50
    assert rewards == lengths  # a reward for each right count: all were right
    assert 3 < len(set(lengths)) <= 9


@pytest.mark.parametrize("mode", MODES)
def test_one_step_episodes(counting_env: Any, counter: Any, mode: AutoresetMode) -> None:
    rewards, lengths = evaluate_policy(
        counter(), _vector(counting_env, mode, longest=1), n_eval_episodes=7, return_episode_rewards=True
    )
    assert rewards == [1.0] * 7
    assert lengths == [1] * 7


@pytest.mark.parametrize("mode", MODES)
def test_each_lane_plays_its_share_so_short_episodes_are_not_favoured(
    counting_env: Any, counter: Any, mode: AutoresetMode
) -> None:
    envs = SyncVectorEnv([lambda: counting_env(1, 1), lambda: counting_env(20, 20)], autoreset_mode=mode)
    _, lengths = evaluate_policy(counter(), envs, n_eval_episodes=10, return_episode_rewards=True)
    assert isinstance(lengths, list)
    assert sorted(lengths) == [1] * 5 + [20] * 5


def test_fewer_episodes_than_lanes(counting_env: Any, counter: Any) -> None:
    rewards, _ = evaluate_policy(
        counter(), _vector(counting_env, AutoresetMode.NEXT_STEP, 4), n_eval_episodes=2, return_episode_rewards=True
    )
    assert isinstance(rewards, list)
    assert len(rewards) == 2


def test_a_plain_environment_sees_batches_of_one(counting_env: Any, counter: Any) -> None:
    model = counter()
    mean, deviation = evaluate_policy(model, counting_env(4, 4), n_eval_episodes=3)
    assert (mean, deviation) == (4.0, 0.0)
    assert set(model.batches) == {(1, 2)}


class _Seeded(gym.Wrapper):
    """Stable-Baselines3 and we reset without a seed: give both the same first one."""

    def __init__(self, env: gym.Env, seed: int) -> None:
        super().__init__(env)
        self._first_seed: int | None = seed

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        seed, self._first_seed = self._first_seed if seed is None else seed, None
        return self.env.reset(seed=seed, options=options)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("episodes", [1, 8, 13])
def test_the_figures_are_those_of_stable_baselines3(
    counting_env: Any, counter: Any, mode: AutoresetMode, episodes: int
) -> None:
    makers = [lambda lane=lane: _Seeded(counting_env(), lane) for lane in range(4)]
    want = sb3_evaluate_policy(counter(), DummyVecEnv(makers), episodes, return_episode_rewards=True, warn=False)
    got = evaluate_policy(counter(), SyncVectorEnv(makers, autoreset_mode=mode), episodes, return_episode_rewards=True)
    assert sorted(got[0]) == sorted(want[0])  # type: ignore[arg-type]
    assert sorted(got[1]) == sorted(want[1])  # type: ignore[arg-type]
    if mode is not AutoresetMode.NEXT_STEP:  # under next-step autoreset lanes end in another order
        assert got == want


@pytest.mark.parametrize("mode", MODES)
def test_noted_statistics_are_taken_over_altered_rewards(counting_env: Any, counter: Any, mode: AutoresetMode) -> None:
    def scaled() -> gym.Env:
        return TransformReward(RecordEpisodeStatistics(counting_env(3, 5)), lambda reward: 100 * float(reward))

    rewards, lengths = evaluate_policy(
        counter(), SyncVectorEnv([scaled, scaled], autoreset_mode=mode), 10, return_episode_rewards=True
    )
    assert rewards == lengths
    plain_rewards, plain_lengths = evaluate_policy(counter(), scaled(), 10, return_episode_rewards=True)
    assert plain_rewards == plain_lengths


def test_environments_in_other_processes(counting_env: Any, counter: Any) -> None:
    envs = AsyncVectorEnv([counting_env, counting_env])
    try:
        rewards, lengths = evaluate_policy(counter(), envs, 6, return_episode_rewards=True)
    finally:
        envs.close()
    assert rewards == lengths


def test_deterministic_is_passed_on(counting_env: Any, counter: Any) -> None:
    asked: list[bool] = []

    class Asked(counter):
        def predict(self, *args: Any, deterministic: bool = False, **kwargs: Any) -> tuple[Any, Any]:
            asked.append(deterministic)
            return super().predict(*args, **kwargs)

    evaluate_policy(Asked(), counting_env(1, 1), 1)
    evaluate_policy(Asked(), _vector(counting_env, AutoresetMode.NEXT_STEP, longest=1), 3, False)
    assert asked == [True, False]


def test_bad_input_is_named(counting_env: Any, counter: Any) -> None:
    with pytest.raises(ValueError, match="n_eval_episodes"):
        evaluate_policy(counter(), counting_env(), 0)
    with pytest.raises(TypeError, match="env: want a gymnasium"):
        evaluate_policy(counter(), DummyVecEnv([counting_env]))  # type: ignore[arg-type]


def test_actions_for_another_batch_size_are_refused(counting_env: Any, counter: Any) -> None:
    class Short(counter):
        def predict(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            return np.zeros(0, dtype=np.int64), None

    with pytest.raises(ValueError, match="actions: want one for each of 1"):
        evaluate_policy(Short(), counting_env(), 1)
