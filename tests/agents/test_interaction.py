"""What a rollout says of episodes: where they start, what was ignored, and what follows an end."""

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from pyagent.agents import Interaction
from pyagent.ops import gae

GAMMA, LAMBDA = 0.9, 0.8


def collect(agent, env, steps, seed=0):
    interaction = Interaction(agent, env, GAMMA, torch.Generator().manual_seed(seed))
    interaction.restart(0)
    for _ in range(steps):
        interaction.observe(interaction.act())
    return interaction, interaction.rollout()


def test_next_step_autoreset_starts_and_ignores(agent, count_envs):
    _, rollout = collect(agent, count_envs(), 9)
    assert rollout.reset.int().T.tolist() == [[1, 0, 0, 0, 1, 0, 0, 0, 1], [1, 0, 0, 0, 0, 1, 0, 0, 0]]
    assert rollout.valid.int().T.tolist() == [[1, 1, 1, 0, 1, 1, 1, 0, 1], [1, 1, 1, 1, 0, 1, 1, 1, 1]]


def test_same_step_autoreset_starts_at_once(agent, count_envs):
    _, rollout = collect(agent, count_envs(AutoresetMode.SAME_STEP), 7)
    assert rollout.reset.int().T.tolist() == [[1, 0, 0, 1, 0, 0, 1], [1, 0, 0, 0, 1, 0, 0]]
    assert rollout.valid.all()


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("truncates", [True, False])
def test_advantages_are_those_of_each_episode_alone(agent, count_envs, mode, truncates):
    env = count_envs(mode, lengths=(3, 4), truncates=truncates)
    _, rollout = collect(agent, env, 11)
    packed = gae(rollout.reward, rollout.discount, rollout.value, LAMBDA)
    for lane, length in enumerate((3, 4)):
        # The texts of an episode say only its step, so every full episode has the same values.
        state, values = None, []
        for step in range(length + 1):
            text = f"go to the ball . you see a ball {step} steps forward . you carry nothing ."
            _, value, _, state = agent.step([text], state)
            values.append(value)
        reward = torch.arange(1.0, length + 1)[:, None]
        discount = torch.full((length, 1), GAMMA)
        if not truncates:
            discount[-1] = 0.0
        alone = gae(reward, discount, torch.stack(values), LAMBDA)[:, 0]
        starts = [t for t in range(11) if rollout.reset[t, lane] and t + length <= 11]
        assert len(starts) >= 2
        for start in starts:
            torch.testing.assert_close(packed[start : start + length, lane], alone)
    assert not packed[~rollout.valid].any()


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_finished_episodes_are_told(agent, count_envs, mode):
    interaction, _ = collect(agent, count_envs(mode, lengths=(3,), truncates=False), 9)
    assert len(interaction.play.episodes) >= 2
    for episode in interaction.play.episodes:
        assert (episode.reward, episode.length, episode.success) == (6.0, 3, True)


def test_a_rollout_goes_on_where_the_last_one_ended(agent, count_envs):
    interaction, first = collect(agent, count_envs(lengths=(9, 9)), 2)
    interaction.observe(interaction.act())
    second = interaction.rollout()
    assert not second.reset.any()
    torch.testing.assert_close(second.value[0], first.value[-1])


def test_the_same_generator_gives_the_same_rollout(agent, count_envs):
    one, other, third = (collect(agent, count_envs(), 12, seed)[1] for seed in (0, 0, 1))
    assert torch.equal(one.action, other.action)
    assert not torch.equal(one.action, third.action)


def test_the_noted_probability_is_that_of_the_action(agent, count_envs):
    _, rollout = collect(agent, count_envs(lengths=(20, 20)), 5)
    turns = agent.understanding(rollout.turns).view(5, 2, -1)
    log_probabilities, value, _ = agent(turns, rollout.state, rollout.reset)
    torch.testing.assert_close(log_probabilities.gather(2, rollout.action[..., None])[..., 0], rollout.log_prob)
    torch.testing.assert_close(value, rollout.value[:-1])
    assert np.isfinite(rollout.reward.numpy()).all()
