"""The learners with their agents on a GPU; `make gpu-test` runs them where there is one."""

import gymnasium
import numpy as np
import pytest
import torch

import pyagent

pytestmark = pytest.mark.gpu
SMALL = dict(hidden_size=16, seed=0, device="cuda")


@pytest.fixture(autouse=True)
def _gpu():
    if not torch.cuda.is_available():
        pytest.skip(f"torch {torch.__version__} sees no GPU")
    yield
    pyagent.cuda.check()


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("learner", ["PPO", "A2C", "Reinforce"])
def test_on_policy_learners_learn_the_same_twice(learner, cell):
    def weights():
        model = getattr(pyagent, learner)("CartPole-v1", cell=cell, **SMALL).learn(256)
        assert all(x.is_cuda for x in model.agent.parameters())
        return [x.detach().cpu() for x in model.agent.parameters()]

    assert all(torch.equal(x, y) for x, y in zip(weights(), weights(), strict=True))


def test_recurrent_dqn_learns_and_is_evaluated():
    model = pyagent.RecurrentDQN("CartPole-v1", learning_starts=128, buffer_size=4096, **SMALL).learn(512)
    mean, _ = pyagent.evaluate_policy(model, gymnasium.make("CartPole-v1"), n_eval_episodes=2)
    assert mean > 0


def test_a_saved_learner_acts_as_before(tmp_path):
    model = pyagent.PPO("CartPole-v1", **SMALL).learn(256)
    model.save(tmp_path / "model")
    again = pyagent.PPO.load(tmp_path / "model")
    assert again.agent.device.type == "cuda"
    observations = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    before, after = (one.predict(observations, deterministic=True)[0] for one in (model, again))
    assert np.array_equal(before, after)
