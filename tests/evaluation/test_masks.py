"""Evaluation tells models which actions are allowed, in whatever way and mode the environments tell it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from pyagent import PPO, RecurrentDQN
from pyagent.agents import Agent
from pyagent.evaluation import evaluate_policy, evaluate_seeds
from pyagent.learning import EvalCallback

MODES = list(AutoresetMode)
LENGTH = 6


class Guarded(gym.Env[int, int]):
    """Every step allows one or two of five actions, anew; any other ends the episode with reward −1. At an episode's
    end nothing is allowed."""

    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(5, start=3)

    def _draw(self) -> np.ndarray:
        self.allowed = np.zeros(5, dtype=np.int8)
        self.allowed[self.np_random.integers(5, size=2)] = 1
        return self.allowed

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps, self.length = 0, int(self.np_random.integers(1, LENGTH + 1))
        return 0, self.told(self._draw())

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        forbidden = not self.allowed[action - 3]
        self.steps += 1
        truncated = self.steps == self.length
        self._draw()
        if forbidden or truncated:
            self.allowed[:] = 0
        return 1, -float(forbidden), forbidden, truncated, self.told(self.allowed)

    def told(self, mask: np.ndarray) -> dict[str, Any]:
        return {"action_mask": mask.copy()}


class Asked(Guarded):
    """Tells by a method alone."""

    def told(self, mask: np.ndarray) -> dict[str, Any]:
        return {}

    def action_masks(self) -> np.ndarray:
        return self.allowed.astype(np.bool_)


class Careless(gym.Wrapper[int, int, int, int]):
    """Between a method that tells and who asks."""


class Pair(Guarded):
    """Two choices at once, whose masks stand one after the other."""

    action_space = gym.spaces.MultiDiscrete([5, 2])

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        assert action[1] == 1
        return super().step(int(action[0]) + 3)

    def told(self, mask: np.ndarray) -> dict[str, Any]:
        return {"action_mask": np.concatenate((mask, [0, mask.any()]))}


TELLERS = [Guarded, Asked, lambda: Careless(Asked())]


def _agent(env: type[gym.Env] = Guarded, **settings: Any) -> Agent:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Agent(env.observation_space, env.action_space, hidden_size=8, **settings)


@pytest.mark.parametrize("cell", ["lstm", "none"])
@pytest.mark.parametrize("teller", TELLERS, ids=["info", "method", "method below a wrapper"])
@pytest.mark.parametrize("deterministic", [True, False])
def test_a_plain_environment_sees_no_forbidden_action(teller: Any, cell: str, deterministic: bool) -> None:
    assert evaluate_policy(_agent(cell=cell), teller(), 30, deterministic) == (0.0, 0.0)
    played = evaluate_seeds(_agent(cell=cell), teller, range(30), num_envs=7, deterministic=deterministic)
    assert not played.rewards.any()
    assert len(set(played.lengths)) > 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cell", ["lstm", "none"])
@pytest.mark.parametrize("teller", TELLERS, ids=["info", "method", "method below a wrapper"])
def test_a_vector_environment_sees_no_forbidden_action(teller: Any, cell: str, mode: AutoresetMode) -> None:
    env = SyncVectorEnv([teller] * 4, autoreset_mode=mode)
    rewards, lengths = evaluate_policy(_agent(cell=cell), env, 40, return_episode_rewards=True)
    assert not np.any(rewards)
    assert len(set(lengths)) > 1  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", MODES)
def test_several_choices_at_once(mode: AutoresetMode) -> None:
    agent = _agent(Pair)
    assert evaluate_policy(agent, SyncVectorEnv([Pair] * 3, autoreset_mode=mode), 20) == (0.0, 0.0)
    assert evaluate_policy(agent, Pair(), 10) == (0.0, 0.0)


@pytest.mark.parametrize("teller", [Guarded, Asked])
def test_masks_come_out_of_other_processes_and_wrappers(teller: type[Guarded]) -> None:
    envs = AsyncVectorEnv([teller] * 2)
    try:
        assert evaluate_policy(_agent(), envs, 12) == (0.0, 0.0)
    finally:
        envs.close()
    assert evaluate_policy(_agent(), RecordEpisodeStatistics(SyncVectorEnv([teller] * 2)), 12) == (0.0, 0.0)


@pytest.mark.parametrize("learner", [PPO, RecurrentDQN])
def test_learners_and_their_callback_keep_to_masks(learner: Any) -> None:
    untrained = learner(SyncVectorEnv([Guarded] * 2), hidden_size=8)
    for env in (Asked(), SyncVectorEnv([Guarded] * 3)):
        for deterministic in (True, False):
            assert evaluate_policy(untrained, env, 20, deterministic) == (0.0, 0.0)
        callback = EvalCallback(env, eval_freq=1)
        untrained.num_timesteps = 1
        callback(untrained)
        assert callback.evaluations == [(1, 0.0, 0.0)]


class Unasked:
    """Takes no masks, and always chooses the same."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        return np.full(len(observation), 3), state


class Open(Guarded):
    def told(self, mask: np.ndarray) -> dict[str, Any]:
        return {"action_mask": "not for you"}


@pytest.mark.parametrize("mode", MODES)
def test_a_model_that_takes_no_masks_is_given_none(mode: AutoresetMode) -> None:
    assert evaluate_policy(Unasked(), Open(), 20)[0] < 0  # type: ignore[operator]
    assert evaluate_policy(Unasked(), SyncVectorEnv([Asked] * 2, autoreset_mode=mode), 20)[0] < 0  # type: ignore[operator]


def test_a_model_that_takes_masks_is_given_none_where_nobody_tells_any(counting_env: Any, counter: Any) -> None:
    class Taking(counter):
        def predict(self, *args: Any, action_masks: Any = None, **kwargs: Any) -> tuple[Any, Any]:
            assert action_masks is None
            return super().predict(*args, **kwargs)

    evaluate_policy(Taking(), counting_env(), 2)
    evaluate_policy(Taking(), SyncVectorEnv([counting_env] * 2), 2)


class Broken(Guarded):
    def told(self, mask: np.ndarray) -> dict[str, Any]:
        return {"action_mask": np.ones(4)}


def test_a_mask_of_another_length_names_the_environment() -> None:
    with pytest.raises(ValueError, match="action_mask: environment 0 gave"):
        evaluate_policy(_agent(), Broken(), 1)
    with pytest.raises(ValueError, match="action_mask: environment 0 gave"):
        evaluate_policy(_agent(), SyncVectorEnv([Broken] * 2), 1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("teller", [Guarded, Asked])
def test_learning_takes_no_forbidden_action(teller: type[Guarded], mode: AutoresetMode) -> None:
    learner = PPO(SyncVectorEnv([teller] * 3, autoreset_mode=mode), hidden_size=8, n_steps=16, n_epochs=1)
    rewards: list[float] = []
    learner.learn(200, callback=lambda one: rewards.extend(reward for reward, *_ in one.recent))
    assert len(rewards) > 20
    assert not any(rewards)
