"""Evaluation, early stopping, best weights and checkpoints during learning."""

import numpy as np
import pytest

from pyagent.evaluation import evaluate_policy
from pyagent.learning import PPO, CheckpointCallback, EvalCallback, Logger, read_metrics

SMALL = {"n_steps": 16, "batch_size": 64, "hidden_size": 16, "seed": 1, "learning_rate": 5e-3}


def test_evaluations_are_logged_and_the_best_is_kept(recall_env, tmp_path):
    with Logger(tmp_path / "metrics.jsonl") as logger:
        learner = PPO(recall_env(8), logger=logger, **SMALL)
        evaluation = EvalCallback(recall_env(4), eval_freq=500, n_eval_episodes=20, best_path=tmp_path / "best")
        learner.learn(2000, evaluation)
    steps = [step for step, *_ in evaluation.evaluations]
    assert len(steps) == 4
    assert all(step // 500 == number + 1 for number, step in enumerate(steps))
    logged = [
        line["eval/mean_reward"] for line in read_metrics(tmp_path / "metrics.jsonl") if "eval/mean_reward" in line
    ]
    means = [mean for _, mean, _ in evaluation.evaluations]
    assert logged == means
    best = PPO.load(tmp_path / "best", recall_env(8))
    assert best.num_timesteps == steps[int(np.argmax(means))]


def test_learning_stops_at_a_mark_and_when_nothing_gets_better(recall_env):
    at_mark = EvalCallback(recall_env(4), eval_freq=64, stop_at=-1.0)
    assert PPO(recall_env(8), **SMALL).learn(10_000, at_mark).num_timesteps == 128
    tired = EvalCallback(recall_env(4), eval_freq=64, patience=2)
    tired.best_mean_reward = 2.0
    assert PPO(recall_env(8), **SMALL).learn(10_000, [tired]).num_timesteps == 256


def test_the_last_checkpoints_survive_a_run_that_fails(recall_env, tmp_path):
    learner = PPO(recall_env(8), **SMALL)
    checkpoints = CheckpointCallback(tmp_path, save_freq=200, keep=2)

    def fail(learner):
        if learner.num_timesteps > 900:
            raise RuntimeError("the environment broke")

    with pytest.raises(RuntimeError, match="broke"):
        learner.learn(2000, [fail, checkpoints])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["640", "896"]
    resumed = PPO.load(tmp_path / "896", recall_env(8))
    assert resumed.num_timesteps == 896
    evaluate_policy(resumed.learn(64), recall_env(4), 4)


@pytest.mark.parametrize("make", [lambda: EvalCallback(None, eval_freq=0), lambda: CheckpointCallback("x", keep=0)])
def test_bad_settings_are_named(make):
    with pytest.raises(ValueError, match=r"eval_freq|keep"):
        make()
