"""Recurrent deep Q-learning: targets against sums written out, resuming, masks, learning what needs memory."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from pyagent.evaluation import evaluate_policy
from pyagent.learning import RecurrentDQN

SMALL = {
    "hidden_size": 16,
    "net_arch": (8,),
    "seed": 0,
    "buffer_size": 4000,
    "learning_starts": 100,
    "batch_size": 64,
    "sequence_length": 8,
    "burn_in": 2,
    "n_step": 2,
}


class Remember(gym.Env):
    """Shows a number once; pays at the end for naming it."""

    observation_space = gym.spaces.Discrete(3)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, length=4, truncates=False, masked=False):
        self.length, self.truncates, self.masked = length, truncates, masked

    def told(self):
        return {"action_mask": np.arange(2) == self.steps % 2} if self.masked else {}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.wanted = 0, int(self.np_random.integers(2))
        return self.wanted, self.told()

    def step(self, action):
        assert not self.masked or action == self.steps % 2
        self.steps += 1
        over = self.steps == self.length
        reward = float(action == self.wanted) * over
        return 2, reward, over and not self.truncates, over and self.truncates, self.told()


def env_of(lanes=4, mode=AutoresetMode.NEXT_STEP, **keywords):
    return SyncVectorEnv([lambda: Remember(**keywords)] * lanes, autoreset_mode=mode)


def played(learner, steps):
    learner.begin(steps)
    for _ in range(steps):
        learner.observe(learner.act())
    learner.end()


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("truncates", [False, True])
@pytest.mark.parametrize("n_step", [1, 3])
def test_targets_are_the_returns_of_each_episode_alone(mode, truncates, n_step):
    gamma = 0.9
    learner = RecurrentDQN(
        env_of(2, mode, truncates=truncates),
        gamma=gamma,
        rescale_epsilon=1e-2,
        normalize_rewards=False,
        **(SMALL | {"n_step": n_step}),
    )
    with torch.no_grad():
        for weight in learner.target.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    played(learner, 40)
    batch = learner.replay.sample(5, 0.5, 0)
    _, td_error = learner.loss(batch)
    B, L = learner.burn_in, learner.sequence_length
    q, q_target = (x.detach().double() for x in learner.values(batch))

    def h(x):
        return np.sign(x) * (np.sqrt(abs(x) + 1) - 1) + 1e-2 * x

    def inverse(y):
        low, high = -1e3, 1e3
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if h(middle) < y else (low, middle)
        return low

    checked = 0
    for lane in range(5):
        for t in range(L):
            if not batch.valid[B + t, lane]:
                continue
            target, factor, at = 0.0, 1.0, t
            for _ in range(n_step):
                target += factor * float(batch.fields["reward"][B + at, lane])
                if batch.fields["terminated"][B + at, lane]:
                    factor = 0.0
                    break
                factor, at = factor * gamma, at + 1
                if not batch.valid[B + at, lane]:  # the observation at which the episode was cut
                    break
            if factor:
                best = int(q[at, lane].argmax())
                target += factor * inverse(float(q_target[at, lane, best]))
            want = h(target) - float(q[t, lane, batch.fields["action"][B + t, lane]])
            assert float(td_error[t, lane]) == pytest.approx(want, abs=1e-5)
            checked += 1
    assert checked > 20


def test_stored_states_are_those_of_playing():
    learner = RecurrentDQN(env_of(3), **SMALL)
    learner.begin(1)
    for _ in range(30):
        learner.observe(learner.act())
    learner.end()
    batch = learner.replay.sample(8, 0.0, 0)
    states = tuple(torch.from_numpy(part) for part in batch.state)
    observed = torch.from_numpy(batch.fields["observation.0"])[..., 0]
    reset = torch.from_numpy(batch.reset)
    output, _ = learner.agent.state_tracking(observed, states, reset=reset)
    # From any reset on nothing of the stored state is left: both ways must agree there.
    for lane in range(8):
        start = int(reset[:, lane].int().argmax())
        alone, _ = learner.agent.state_tracking(
            observed[start:, lane : lane + 1], None, reset=reset[start:, lane : lane + 1]
        )
        torch.testing.assert_close(alone[:, 0], output[start:, lane])
    assert any(part.abs().sum() > 0 for part in states)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_it_learns_to_remember(mode):
    settings = SMALL | {"hidden_size": 32, "learning_rate": 5e-3}
    learner = RecurrentDQN(env_of(8, mode), exploration_final_eps=0.05, **settings).learn(8000)
    assert evaluate_policy(learner, env_of(4), 40)[0] >= 0.95


def test_it_learns_from_text(recall_env):
    settings = SMALL | {"hidden_size": 32, "learning_rate": 5e-3}
    learner = RecurrentDQN(recall_env(8), exploration_final_eps=0.05, **settings).learn(6000)
    assert evaluate_policy(learner, recall_env(4), 40)[0] >= 0.95


def test_it_is_a_plain_dqn_too():
    plain = {"cell": "none", "sequence_length": 1, "burn_in": 0, "n_step": 1, "prioritized": False, "dueling": False}
    learner = RecurrentDQN("FrozenLake-v1", num_envs=8, **(SMALL | plain)).learn(500)
    assert learner.num_updates > 0
    action, state = learner.predict(3, deterministic=True)
    assert (action in range(4), state) == (True, None)


def test_forbidden_actions_are_neither_taken_nor_counted_on():
    learner = RecurrentDQN(env_of(3, masked=True), **SMALL)
    learner.learn(300)  # the environment asserts
    batch = learner.replay.sample(8, 0.0, 0)
    allowed = np.take_along_axis(batch.fields["mask"], batch.fields["action"][..., None], -1)[..., 0]
    assert allowed[batch.valid].all()


@pytest.mark.parametrize("env", ["CartPole-v1", "pyagent/GoToObj-v0"])
def test_saving_and_loading_goes_on_as_if_nothing_had_happened(tmp_path, env):
    straight = RecurrentDQN(env, num_envs=4, **SMALL)
    straight.learn(400).save(tmp_path)
    straight.learn(400)
    resumed = RecurrentDQN.load(tmp_path).learn(400)
    assert resumed.num_timesteps == straight.num_timesteps == 800
    assert resumed.num_updates == straight.num_updates > 0
    for name, weight in (straight.agent.state_dict() | straight.target.state_dict()).items():
        other = (resumed.agent.state_dict() | resumed.target.state_dict())[name]
        assert torch.equal(weight, other), name


def test_a_second_call_never_joins_episodes_that_were_broken_off():
    learner = RecurrentDQN(env_of(2, length=9), **SMALL)
    played(learner, 5)
    played(learner, 5)
    storage = learner.replay.sample(1, 0.0, 0)
    assert not storage.valid[5].any()
    assert storage.reset[6].all()


@pytest.mark.parametrize(
    ("keywords", "name"),
    [
        ({"batch_size": 65}, "batch_size"),
        ({"gamma": 1.5}, "gamma"),
        ({"train_freq": 0}, "train_freq"),
        ({"buffer_size": 3}, "capacity"),
    ],
)
def test_bad_settings_are_named(keywords, name):
    with pytest.raises(ValueError, match=name):
        RecurrentDQN(env_of(2), **(SMALL | keywords))


def test_other_actions_are_refused():
    with pytest.raises(TypeError, match="env: Q-learning wants Discrete"):
        RecurrentDQN("Pendulum-v1", **SMALL)
