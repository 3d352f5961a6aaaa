"""Steps a second of the main job's parts: the environment alone, the agent playing it, and PPO learning from it.

A step is one turn of one lane. The peer of acting is the same agent with nothing kept between steps.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from pyagent.agents import Interaction, LanguageAgent
from pyagent.envs import ACTION_WORDS, TextVectorEnv, make_vec
from pyagent.learning import PPO
from pyagent.text import Tokenizer

LEVEL = "pyagent/GoToLocal-v0"
LANES = 64
TURNS = 16
pytestmark = pytest.mark.benchmark(group="main job")


@pytest.fixture
def envs() -> Iterator[TextVectorEnv]:
    envs = make_vec(LEVEL, LANES, seed=0)
    yield envs
    envs.close()


@pytest.fixture
def agent(envs: TextVectorEnv) -> LanguageAgent:
    rng = np.random.default_rng(0)
    texts = list(envs.reset(seed=0)[0])
    for _ in range(TURNS):
        texts.extend(envs.step(rng.integers(len(ACTION_WORDS), size=LANES))[0])
    torch.manual_seed(0)
    return LanguageAgent(Tokenizer.train(texts, words=ACTION_WORDS), ACTION_WORDS)


def _play(interaction: Interaction) -> torch.Tensor:
    for _ in range(TURNS):
        interaction.observe(interaction.act())
    return interaction.rollout().log_prob


def test_environment_alone(benchmark: BenchmarkFixture, steps_a_second, envs: TextVectorEnv) -> None:
    rng = np.random.default_rng(1)

    def play() -> tuple[str, ...]:
        for _ in range(TURNS):
            observations, *_ = envs.step(rng.integers(len(ACTION_WORDS), size=LANES))
        return observations

    envs.reset(seed=0)
    assert len(set(play())) > LANES / 2
    benchmark.pedantic(play, rounds=10, warmup_rounds=1)
    steps_a_second(TURNS * LANES)


def test_agent_playing(compare, steps_a_second, envs: TextVectorEnv, agent: LanguageAgent) -> None:
    interaction = Interaction(agent, envs, 0.99, torch.Generator())

    def first_turns() -> torch.Tensor:
        interaction.generator.manual_seed(0)
        interaction.restart(seed=0)
        return _play(interaction)

    want = first_turns()
    with agent.frozen():
        torch.testing.assert_close(first_turns(), want)

    def play_frozen() -> None:
        with agent.frozen():
            _play(interaction)

    compare(play_frozen, lambda: _play(interaction), f"nothing kept, {TURNS} turns of {LANES} lanes")
    steps_a_second(TURNS * LANES)


def test_ppo_learning(benchmark: BenchmarkFixture, steps_a_second, agent: LanguageAgent) -> None:
    learner = PPO(LEVEL, agent=agent, num_envs=LANES, n_steps=TURNS, batch_size=16 * TURNS, seed=0)
    before = [parameter.detach().clone() for parameter in agent.decision.parameters()]
    learner.learn(TURNS * LANES)
    assert learner.num_timesteps == TURNS * LANES
    assert not any(torch.equal(old, new) for old, new in zip(before, agent.decision.parameters(), strict=True))
    assert all(parameter.isfinite().all() for parameter in agent.parameters())
    benchmark.pedantic(lambda: learner.learn(4 * TURNS * LANES), rounds=3, warmup_rounds=0)
    steps_a_second(4 * TURNS * LANES)
