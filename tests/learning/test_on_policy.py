"""What PPO, A2C and REINFORCE share: observations and choices of every kind, masks, scales, bad rewards."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from pyagent.evaluation import evaluate_policy
from pyagent.learning import A2C, PPO, Reinforce

SMALL = {"hidden_size": 16, "net_arch": {"pi": [8], "vf": [8]}, "seed": 0}
KINDS = [(PPO, {"n_steps": 8, "batch_size": 32}), (A2C, {}), (Reinforce, {})]


class Echo(gym.Env):
    """Shows a place and a word; pays for naming them, half for each. Some choices may be forbidden."""

    observation_space = gym.spaces.Dict({"place": gym.spaces.Box(0, 1, (2,)), "word": gym.spaces.Discrete(3)})
    action_space = gym.spaces.MultiDiscrete([2, 3])

    def __init__(self, masked=False, pay=1.0, length=5):
        self.masked, self.pay, self.length = masked, pay, length

    def look(self):
        self.wanted = self.np_random.integers([2, 3])
        place = np.eye(2, dtype=np.float32)[self.wanted[0]]
        info = {"action_mask": np.array([1, 1, self.wanted[1] == 0, self.wanted[1] == 1, 1], dtype=np.int8)}
        return {"place": place, "word": int(self.wanted[1])}, info if self.masked else {}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.look()

    def step(self, action):
        self.steps += 1
        if self.masked:
            assert action[1] in (self.wanted[1], 2)
        reward = self.pay * float((action == self.wanted).mean())
        observation, info = self.look()
        return observation, reward, False, self.steps == self.length, info


def echo_env(lanes=8, mode=AutoresetMode.NEXT_STEP, **keywords):
    return SyncVectorEnv([lambda: Echo(**keywords)] * lanes, autoreset_mode=mode)


@pytest.mark.parametrize(("kind", "keywords"), KINDS)
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_every_learner_plays_dicts_and_several_choices(kind, keywords, mode):
    learner = kind(echo_env(4, mode), normalize_observations=True, normalize_rewards=True, **SMALL, **keywords)
    learner.learn(100)
    assert all(weight.isfinite().all() for weight in learner.agent.parameters())
    observation, _ = Echo().reset(seed=0)
    action, state = learner.predict(observation, deterministic=True)
    assert action.shape == (2,)
    again, _ = learner.predict(observation, state, np.array([True]), deterministic=True)
    assert (action == again).all()


@pytest.mark.parametrize(
    ("kind", "keywords"),
    [
        (PPO, {"n_steps": 16, "batch_size": 128, "learning_rate": 3e-3}),
        (A2C, {"learning_rate": 1e-2}),
        (Reinforce, {"learning_rate": 1e-2}),
    ],
)
def test_every_learner_learns(kind, keywords):
    learner = kind(echo_env(8), **(SMALL | {"hidden_size": 32, "gamma": 0.5}), **keywords).learn(16_000)
    assert evaluate_policy(learner, echo_env(4), 20)[0] >= 4.0  # of 5; at random 2.1


def test_forbidden_choices_are_never_made():
    learner = PPO(echo_env(4, masked=True), n_steps=8, batch_size=32, **SMALL)
    learner.learn(300)  # the environment asserts
    learner.begin(1)
    learner.observe(learner.act())
    mask = learner.interaction.rollout().mask
    assert mask.shape == (1, 4, 5)
    assert not mask.all()


def test_masks_may_come_from_a_method():
    class Method(gym.Wrapper):
        def action_masks(self):
            return np.array([True, True, False, True, True])

    env = SyncVectorEnv([lambda: Method(Echo())] * 3)
    learner = PPO(env, n_steps=8, batch_size=8, **SMALL)
    learner.begin(1)
    for _ in range(20):
        action = learner.act()
        assert (action[:, 1] != 0).all()
        learner.observe(action)


@pytest.mark.parametrize("pay", [np.nan, np.inf])
def test_a_bad_reward_stops_the_run_and_names_the_environment(pay):
    env = SyncVectorEnv([lambda: Echo(), lambda: Echo(), lambda: Echo(pay=pay)])
    learner = A2C(env, **SMALL)
    with pytest.raises(ValueError, match="reward: environment 2 gave"):
        learner.learn(1000)


def test_reinforce_learns_from_whole_episodes_with_the_rewards_that_followed():
    own = {"normalize_advantage": False, "normalize_rewards": False, "vf_coef": 0.0, "gamma": 0.9}
    learner = Reinforce(echo_env(2, length=4), **own, **SMALL)
    seen = []
    learner.actor_critic_step = lambda rollout, advantage, target: seen.append((rollout, advantage, target)) or {}
    learner.learn(8)
    (rollout, _, target), *_ = seen
    assert rollout.valid.sum(0).tolist() == [4, 4]
    for lane in range(2):
        last = rollout.value[4, lane]  # of the observation at which the episode was cut
        want = last
        for t in reversed(range(4)):
            want = rollout.reward[t, lane] + 0.9 * want
            torch.testing.assert_close(target[t, lane], want)


def test_scaled_rewards_are_divided_by_the_spread_of_returns():
    learner = PPO(echo_env(2, pay=100.0), normalize_rewards=True, n_steps=8, batch_size=16, **SMALL)
    learner.begin(1)
    for _ in range(20):
        learner.observe(learner.act())
    rollout = learner.interaction.rollout()
    learner.advantages(rollout)
    sums, returns = np.zeros(2), []
    for t in range(20):
        for lane in range(2):
            if rollout.valid[t, lane]:
                before = 0.0 if rollout.reset[t, lane] else 0.99 * sums[lane]
                sums[lane] = before + float(rollout.reward[t, lane])
                returns.append(sums[lane])
    assert float(learner.reward_scale.returns.variance) == pytest.approx(np.var(returns))


@pytest.mark.parametrize(("kind", "keywords"), KINDS)
def test_saving_and_loading_goes_on_as_if_nothing_had_happened(kind, keywords, tmp_path):
    settings = SMALL | keywords | {"num_envs": 4, "normalize_observations": True, "normalize_rewards": True}
    straight = kind("CartPole-v1", **settings)
    straight.learn(64).save(tmp_path / "new" / "folder")
    straight.learn(64)
    resumed = kind.load(tmp_path / "new" / "folder").learn(64)
    assert resumed.num_timesteps == straight.num_timesteps
    for name, weight in straight.agent.state_dict().items():
        assert torch.equal(weight, resumed.agent.state_dict()[name]), name


def test_bfloat16_learns_with_the_weights_of_now():
    learner = PPO(
        echo_env(8),
        n_steps=16,
        batch_size=128,
        learning_rate=3e-3,
        precision="bfloat16",
        **(SMALL | {"hidden_size": 32, "gamma": 0.5}),
    ).learn(16_000)
    assert evaluate_policy(learner, echo_env(4), 20)[0] >= 4.0


@pytest.mark.parametrize(
    ("kind", "keywords", "name"),
    [
        (PPO, {"precision": "float16"}, "precision"),
        (A2C, {"n_steps": 0}, "n_steps"),
        (Reinforce, {"n_steps": 5}, "n_steps"),
        (Reinforce, {"most_steps": 0}, "most_steps"),
    ],
)
def test_bad_settings_are_named(kind, keywords, name):
    with pytest.raises(ValueError, match=name):
        kind(echo_env(2), **SMALL, **keywords)


@pytest.mark.parametrize(("kind", "keywords"), KINDS)
def test_a_loss_that_is_no_number_leaves_the_weights_alone(kind, keywords):
    learner = kind("CartPole-v1", **SMALL | keywords | {"num_envs": 4}).learn(64)
    before = {name: weight.clone() for name, weight in learner.agent.state_dict().items()}
    with pytest.raises(ValueError, match=r"loss: got nan after \d+ timesteps"):
        learner.descend(sum(weight.sum() for weight in learner.agent.parameters()) * float("nan"))
    assert all(torch.equal(weight, before[name]) for name, weight in learner.agent.state_dict().items())
