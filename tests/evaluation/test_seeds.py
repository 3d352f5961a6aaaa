"""One episode a seed: each is the episode that the seed makes alone, whatever the batch around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from pyagent.evaluation import RandomPolicy, evaluate_policy, evaluate_seeds
from pyagent.evaluation.lanes import Lanes


def _alone(counting_env: Any, seed: int) -> int:
    env = counting_env()
    env.reset(seed=seed)
    return env.length


@pytest.mark.parametrize("num_envs", [1, 3, 20, 64])
def test_the_batch_does_not_matter(counting_env: Any, counter: Any, num_envs: int) -> None:
    seeds = [5, 3, *range(100, 118)]
    episodes = evaluate_seeds(counter(), counting_env, seeds, num_envs=num_envs)
    want = [_alone(counting_env, seed) for seed in seeds]
    assert episodes.seeds.tolist() == seeds
    assert episodes.lengths.tolist() == want
    assert episodes.rewards.tolist() == want
    assert episodes.successes is not None
    assert episodes.successes.all()


def test_nothing_is_stepped_beyond_what_the_episodes_need(counting_env: Any, counter: Any) -> None:
    made: list[counting_env] = []

    def make() -> counting_env:
        made.append(counting_env())
        return made[-1]

    ended: list[int] = []
    episodes = evaluate_seeds(counter(), make, range(10), num_envs=4, on_episode=ended.append)
    assert len(made) == 4
    assert sum(env.steps_taken for env in made) == episodes.lengths.sum()
    assert ended == list(range(1, 11))


def test_environments_are_closed_even_after_an_error(counting_env: Any, counter: Any) -> None:
    closed: list[bool] = []

    class Closing(counting_env):
        def close(self) -> None:
            closed.append(True)

    class Broken(counter):
        def predict(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            raise ArithmeticError("no action")

    with pytest.raises(ArithmeticError):
        evaluate_seeds(Broken(), Closing, range(3))
    assert len(closed) == 3


def test_a_registered_id_and_text_observations() -> None:
    seen: list[Any] = []

    class Reader(RandomPolicy):
        def predict(self, observation: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            seen.append(observation)
            return super().predict(observation, *args, **kwargs)

    model = Reader(gym.spaces.Discrete(7), seed=0)
    episodes = evaluate_seeds(model, "pyagent/GoToLocalS5N2-v0", range(6), num_envs=4)
    assert isinstance(seen[0], tuple)
    assert len(seen[0]) == 4
    assert all(isinstance(text, str) and text.endswith(".") for text in seen[0])
    assert episodes.successes is not None
    assert (episodes.successes == (episodes.rewards > 0)).all()


def test_a_model_that_can_is_frozen_while_it_plays(counting_env: Any, counter: Any) -> None:
    class Freezing(counter):
        depth = 0

        @contextmanager
        def frozen(self) -> Iterator[None]:
            self.depth += 1
            yield
            self.depth -= 1

        def predict(self, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            assert self.depth == 1
            return super().predict(*args, **kwargs)

    model = Freezing()
    evaluate_seeds(model, counting_env, range(3))
    evaluate_policy(model, counting_env(), 2)
    assert model.depth == 0
    assert model.batches


def test_without_is_success_there_is_no_success_rate() -> None:
    episodes = evaluate_seeds(RandomPolicy(gym.spaces.Discrete(2)), "CartPole-v1", range(4))
    assert episodes.successes is None
    assert (episodes.rewards == episodes.lengths).all()
    with pytest.raises(ValueError, match="is_success"):
        _ = episodes.success_rate


def test_the_random_policy_draws_every_action_alike() -> None:
    policy = RandomPolicy(gym.spaces.Discrete(3, start=5), seed=1)
    actions, state = policy.predict(["x"] * 3000)
    assert state is None
    np.testing.assert_allclose(np.bincount(actions)[5:] / 3000, 1 / 3, atol=0.04)
    again, _ = RandomPolicy(gym.spaces.Discrete(3, start=5), seed=1).predict(None, episode_start=np.zeros(3000))
    assert (actions == again).all()
    with pytest.raises(TypeError, match="action_space"):
        RandomPolicy(gym.spaces.Box(0, 1))


def test_bad_input_is_named(counting_env: Any, counter: Any) -> None:
    for seeds in ([], [1, 1], [-1, 2]):
        with pytest.raises(ValueError, match="seeds: want"):
            evaluate_seeds(counter(), counting_env, seeds)
    with pytest.raises(ValueError, match="num_envs"):
        evaluate_seeds(counter(), counting_env, [1], num_envs=0)
    with pytest.raises(ValueError, match="at least one environment"):
        Lanes([])
    with pytest.raises(ValueError, match="equal spaces"):
        Lanes([counting_env(), gym.make("CartPole-v1")])
