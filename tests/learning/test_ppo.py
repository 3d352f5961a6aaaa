"""Recurrent PPO: masking, resuming, interface, and that it learns what needs memory."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pyagent.evaluation import evaluate_policy
from pyagent.learning import PPO, Logger, read_metrics

SMALL = {"n_steps": 8, "batch_size": 32, "hidden_size": 16, "seed": 0}


def rollout_of(learner, steps):
    learner.begin(1)
    for _ in range(steps):
        learner.observe(learner.act())
    learner.end()
    return learner.interaction.rollout()


def test_ignored_turns_and_packing_do_not_matter(recall_env):
    learner = PPO(recall_env(2), **SMALL)
    rollout = rollout_of(learner, 9)  # lanes of whole episodes: two turns, one ignored
    advantage, target = torch.randn(2, 9, 2)
    whole = learner.loss(rollout, advantage, target)
    ignored = ~rollout.valid
    assert ignored.sum() == 6
    other = replace(rollout, action=torch.where(ignored, 1 - rollout.action, rollout.action))
    again = learner.loss(other, advantage.masked_fill(ignored, 9.0), target.masked_fill(ignored, 9.0))
    torch.testing.assert_close(again.loss, whole.loss, rtol=0, atol=0)
    losses = []
    for lane in (0, 1):
        for start in (0, 3, 6):
            window, alone = slice(start, start + 2), slice(lane, lane + 1)
            names = ("row", "reset", "valid", "action", "log_prob", "reward", "discount")
            part = replace(rollout, state=None, **{name: getattr(rollout, name)[window, alone] for name in names})
            losses.append(learner.loss(part, advantage[window, alone], target[window, alone]).loss)
    torch.testing.assert_close(torch.stack(losses).mean(), whole.loss)


def test_it_learns_to_remember(recall_env, tmp_path):
    with Logger(tmp_path / "metrics.jsonl") as logger:
        settings = SMALL | {"hidden_size": 32, "n_steps": 16, "batch_size": 128, "seed": 1}
        learner = PPO(recall_env(16), learning_rate=5e-3, logger=logger, **settings).learn(6000)
    assert evaluate_policy(learner, recall_env(8), n_eval_episodes=40)[0] >= 0.95
    lines = list(read_metrics(tmp_path / "metrics.jsonl"))
    keys = {"rollout/ep_rew_mean", "rollout/success_rate", "time/fps", "train/loss", "time/total_timesteps"}
    assert keys <= lines[-1].keys()
    assert lines[-1]["rollout/success_rate"] > lines[0]["rollout/success_rate"]


@pytest.mark.parametrize("env", ["pyagent/GoToLocalS5N2-v0", ["pyagent/GoToLocalS5N2-v0", "pyagent/GoToObj-v0"]])
def test_saving_and_loading_goes_on_as_if_nothing_had_happened(tmp_path, env):
    straight = PPO(env, num_envs=4, n_epochs=1, **SMALL)
    straight.learn(64).save(tmp_path / "half")
    straight.learn(64)
    resumed = PPO.load(tmp_path / "half").learn(64)
    assert resumed.num_timesteps == straight.num_timesteps == 128
    assert resumed.num_updates == straight.num_updates == 4
    for name, weight in straight.agent.state_dict().items():
        assert torch.equal(weight, resumed.agent.state_dict()[name]), name
    assert straight.recent == resumed.recent


def test_a_seed_names_a_run():
    one, other, third = (
        PPO("pyagent/GoToObj-v0", num_envs=4, n_epochs=1, **(SMALL | {"seed": seed})).learn(64) for seed in (0, 0, 1)
    )
    same = [torch.equal(a, b) for a, b in zip(one.agent.parameters(), other.agent.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(one.agent.generation.word_head.weight, third.agent.generation.word_head.weight)


def test_predict_and_callback(recall_env):
    learner = PPO(recall_env(4), **SMALL)
    calls = []
    learner.learn(1000, callback=lambda told: calls.append(told.num_timesteps) or len(calls) < 2)
    assert calls == [32, 64]
    observations, _ = recall_env(4).reset(seed=0)
    actions, state = learner.predict(observations, deterministic=True)
    again, _ = learner.predict(observations, state, np.ones(4, dtype=bool), deterministic=True)
    assert actions.tolist() == again.tolist()


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_other_cells_learn_too(recall_env, cell):
    learner = PPO(recall_env(4), cell=cell, num_layers=2, **SMALL).learn(64)
    assert all(weight.isfinite().all() for weight in learner.agent.parameters())


@pytest.mark.parametrize(
    ("keywords", "name"),
    [({"batch_size": 33}, "batch_size"), ({"gamma": 1.5}, "gamma"), ({"n_epochs": 0}, "n_epochs")],
)
def test_bad_settings_are_named(recall_env, keywords, name):
    with pytest.raises(ValueError, match=name):
        PPO(recall_env(2), **(SMALL | keywords))


@pytest.mark.parametrize("env", ["Pendulum-v1", 3])
def test_other_environments_are_refused(env):
    with pytest.raises(TypeError, match="env"):
        PPO(env, **SMALL)


def test_a_negative_number_of_timesteps_is_refused(recall_env):
    with pytest.raises(ValueError, match="total_timesteps"):
        PPO(recall_env(2), **SMALL).learn(-1)


def test_a_schedule_is_followed_and_given_again_when_loading(recall_env, tmp_path):
    rates = []
    learner = PPO(recall_env(4), learning_rate=lambda remaining: 1e-3 * remaining, schedule_timesteps=128, **SMALL)
    for _ in range(4):
        learner.learn(32, callback=lambda told: rates.append(told.optimizer.param_groups[0]["lr"]))
    assert rates == pytest.approx([0.75e-3, 0.5e-3, 0.25e-3, 0.0])
    learner.save(tmp_path)
    with pytest.raises(ValueError, match="learning_rate"):
        PPO.load(tmp_path, recall_env(4))
    assert PPO.load(tmp_path, recall_env(4), learning_rate=1e-3).num_timesteps == 128
