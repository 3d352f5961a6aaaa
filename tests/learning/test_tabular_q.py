"""TabularQ: what it learns is what the environments said, in every autoreset mode; resuming, interface, errors."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from pyagent import TabularQ, evaluate_policy
from pyagent.learning import Logger, read_metrics

ALGORITHMS = ["q", "sarsa", "expected_sarsa", "double_q", "q_lambda"]
MODES = list(AutoresetMode)


class Walk(gym.Env):
    """Six states in a row; right moves on, left may slip. The last one ends the episode; a few steps cut it short."""

    observation_space = gym.spaces.Discrete(6, start=2)
    action_space = gym.spaces.Discrete(2, start=5)

    def __init__(self, lane=0, log=None, longest=9, reward_at=None):
        self.lane, self.log, self.longest, self.reward_at = lane, [] if log is None else log, longest, reward_at

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state, self.steps = int(self.np_random.integers(3)), 0
        return self.state + 2, {}

    def step(self, action):
        before, slips = self.state, self.np_random.random() < 0.2
        self.state = max(before - 1, 0) if action == 5 or slips else before + 1
        self.steps += 1
        reward = float(self.np_random.normal()) if self.reward_at is None else self.reward_at
        terminated, truncated = self.state == 5, self.steps == self.longest
        self.log.append((self.lane, before, action - 5, reward, self.state, terminated, truncated))
        return self.state + 2, reward, terminated, truncated, {"is_success": terminated}


def walks(mode, log=None, lanes=4, **settings):
    makers = [lambda lane=lane: Walk(lane, log, **settings) for lane in range(lanes)]
    return SyncVectorEnv(makers, autoreset_mode=mode)


@pytest.mark.parametrize("mode", MODES)
def test_it_learns_from_every_transition_once_and_in_order(mode):
    log = []
    learner = TabularQ(walks(mode, log), learning_rate=0.3, gamma=0.9, seed=1).learn(2000)
    assert any(truncated and not terminated for *_, terminated, truncated in log)
    q = np.zeros((6, 2))
    for _, s, a, reward, next_s, terminated, _ in log:
        q[s, a] += 0.3 * (reward + (0.0 if terminated else 0.9) * q[next_s].max() - q[s, a])
    np.testing.assert_array_equal(learner.q_table, q)
    assert not learner.q_table[5].any()


def following(log, chosen):
    """The action each lane took after each transition, in the log's order; after the last one what it has chosen."""
    following, later = [], dict(enumerate(chosen))
    for lane, _, action, *_ in reversed(log):
        following.append(later[lane])
        later[lane] = action
    return following[::-1]


@pytest.mark.parametrize("mode", MODES)
def test_sarsa_learns_from_the_action_that_is_taken_next(mode):
    log = []
    learner = TabularQ(walks(mode, log, longest=None), algorithm="sarsa", learning_rate=0.3, gamma=0.9).learn(1000)
    q = np.zeros((6, 2))
    for (_, s, a, reward, next_s, terminated, _), next_a in zip(log, following(log, learner._chosen), strict=True):
        q[s, a] += 0.3 * (reward + (0.0 if terminated else 0.9) * q[next_s, next_a] - q[s, a])
    np.testing.assert_array_equal(learner.q_table, q)


@pytest.mark.parametrize("mode", MODES)
def test_traces_end_with_their_episode(mode):
    log = []
    settings = {"algorithm": "q_lambda", "learning_rate": 0.1, "gamma": 0.9, "lambda_": 0.8}
    learner = TabularQ(walks(mode, log, lanes=1, longest=4), exploration_fraction=0.0, **settings).learn(400)
    q, trace = np.zeros((6, 2)), np.zeros((6, 2))
    for (_, s, a, reward, next_s, terminated, truncated), next_a in zip(
        log, following(log, learner._chosen), strict=True
    ):
        delta = reward + (0.0 if terminated else 0.9) * q[next_s].max() - q[s, a]
        greedy = q[next_s, next_a] == q[next_s].max()
        trace[s, a] = 1
        q += (0.1 * delta) * trace
        trace *= 0.9 * 0.8 if greedy and not (terminated or truncated) else 0.0
    np.testing.assert_allclose(learner.q_table, q, rtol=1e-12)


@pytest.mark.parametrize("algorithm", ["q", "expected_sarsa", "double_q", "q_lambda"])
def test_values_are_those_of_value_iteration(algorithm):
    """Where nothing is random but the action, ε-greedy or not, all four learn the optimal values (without exploration
    expected SARSA is Q-learning)."""
    settings = {"exploration_initial_eps": 1.0, "exploration_final_eps": 0.0 if algorithm == "expected_sarsa" else 1.0}
    env = gym.make("FrozenLake-v1", is_slippery=False)
    model = env.unwrapped.P
    learner = TabularQ(
        SyncVectorEnv([lambda: gym.make("FrozenLake-v1", is_slippery=False)] * 16),
        algorithm=algorithm,
        learning_rate=0.5,
        gamma=0.9,
        lambda_=0.3,
        **settings,
    ).learn(60_000)
    value = np.zeros(16)
    for _ in range(100):
        q = np.array(
            [
                [r + 0.9 * value[n] * (not over) for _, n, r, over in (model[s][a][0] for a in range(4))]
                for s in range(16)
            ]
        )
        value = q.max(1)
    ends = [s for s in range(16) if all(n == s for _, n, _, _ in model[s][0])]
    got = learner.action_values(np.arange(16)) / (2 if algorithm == "double_q" else 1)
    tolerance = 0.02
    if algorithm == "expected_sarsa":  # on policy: only where its final policy goes are values right
        got, q = got[[0, 4, 8, 9, 13, 14]].max(1), q[[0, 4, 8, 9, 13, 14]].max(1)
    else:
        got[ends] = q[ends] = 0
    np.testing.assert_allclose(got, q, atol=tolerance)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_saving_and_loading_goes_on_as_if_nothing_had_happened(tmp_path, algorithm):
    settings = {"algorithm": algorithm, "num_envs": 3, "seed": 5}
    straight = TabularQ("FrozenLake-v1", **settings)
    straight.learn(700).save(tmp_path / "half")
    straight.learn(500)
    resumed = TabularQ.load(tmp_path / "half").learn(500)
    for name in ("q_table", "q_table_b"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(straight, name))
    assert resumed.recent == straight.recent
    assert len(straight.recent) > 0
    assert (resumed.num_timesteps, resumed.num_updates) == (straight.num_timesteps, straight.num_updates)
    assert resumed.exploration_rate == straight.exploration_rate


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_seed_names_a_run(algorithm):
    one, other, third = (
        TabularQ(walks(MODES[0]), algorithm=algorithm, seed=seed).learn(500).q_table for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, other)
    assert (one != third).any()


def test_figures_are_logged_under_the_usual_keys(tmp_path):
    with Logger(tmp_path / "metrics.jsonl") as logger:
        TabularQ(walks(MODES[0]), logger=logger, learning_rate=lambda remaining: 0.5 * remaining).learn(30_000)
    lines = list(read_metrics(tmp_path / "metrics.jsonl"))
    assert len(lines) == 3
    keys = {"rollout/ep_rew_mean", "rollout/ep_len_mean", "rollout/success_rate", "rollout/exploration_rate"}
    assert keys | {"time/fps", "time/total_timesteps", "train/learning_rate", "train/n_updates"} <= lines[0].keys()
    assert [line["rollout/exploration_rate"] for line in lines] == pytest.approx([0.4, 0.1, 0.1], abs=1e-3)
    assert [line["train/learning_rate"] for line in lines] == pytest.approx([1 / 3, 1 / 6, 0], abs=1e-3)
    assert lines[-1]["rollout/ep_len_mean"] <= 9


def test_a_callback_ends_learning_and_a_second_call_goes_on():
    learner = TabularQ(walks(MODES[0]))
    calls = []
    learner.learn(1000, callback=lambda told: calls.append(told.num_timesteps) or len(calls) < 2)
    assert calls == [4, 8]
    assert learner.learn(100).num_timesteps == 108
    assert learner.learn(0).num_timesteps == 108
    with pytest.raises(ValueError, match="total_timesteps"):
        learner.learn(-1)


def test_predict_and_evaluate():
    env = gym.make("CliffWalking-v1")
    learner = TabularQ("CliffWalking-v1").learn(40_000)
    action, state = learner.predict(36, state="kept", deterministic=True)
    assert (action, state) == (0, "kept")
    assert learner.predict(np.array([36, 24]), deterministic=True)[0].tolist() == [0, 1]
    assert evaluate_policy(learner, env, n_eval_episodes=2) == (-13.0, 0.0)
    vector = SyncVectorEnv([lambda: gym.make("CliffWalking-v1")] * 2)
    assert evaluate_policy(learner, vector, n_eval_episodes=4) == (-13.0, 0.0)
    learner.exploration_rate = 1.0
    assert len(set(learner.predict(np.full(50, 36))[0].tolist())) == 4
    with pytest.raises(ValueError, match="environment 1 gave the observation 48"):
        learner.predict(np.array([0, 48]))


def test_actions_and_states_may_start_anywhere():
    learner = TabularQ(Walk(), exploration_final_eps=0.0, seed=3).learn(300)
    assert set(learner.predict(np.arange(2, 8))[0].tolist()) <= {5, 6}
    assert isinstance(learner.predict(4, deterministic=True)[0], np.integer)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reward", [np.nan, np.inf])
def test_a_reward_that_is_no_number_stops_and_names_the_environment(mode, reward):
    env = walks(mode)
    learner = TabularQ(env).learn(40)
    before = learner.q_table.copy()
    env.envs[2].reward_at = reward
    with pytest.raises(ValueError, match=f"environment 2 gave the reward {reward}"):
        learner.learn(40)
    np.testing.assert_array_equal(learner.q_table, before)
    env.envs[2].reward_at = None
    assert learner.learn(40).num_timesteps == 80


@pytest.mark.parametrize(
    ("keywords", "name"),
    [
        ({"gamma": 1.5}, "gamma"),
        ({"learning_rate": -0.1}, "learning_rate"),
        ({"learning_rate": None}, "learning_rate"),
        ({"exploration_fraction": float("nan")}, "exploration_fraction"),
        ({"exploration_initial_eps": 2}, "exploration_initial_eps"),
        ({"exploration_final_eps": -1}, "exploration_final_eps"),
        ({"lambda_": 2.0}, "lambda_"),
        ({"num_envs": 0}, "num_envs"),
        ({"algorithm": "dqn"}, "algorithm"),
    ],
)
def test_bad_settings_are_named(keywords, name):
    with pytest.raises(ValueError, match=name):
        TabularQ("FrozenLake-v1", **keywords)


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", 3])
def test_other_environments_are_refused(env):
    with pytest.raises(TypeError, match="env"):
        TabularQ(env)


def test_a_table_or_traces_without_end_are_refused():
    class Wide(Walk):
        observation_space = gym.spaces.MultiDiscrete([100_000, 100_000])

    with pytest.raises(ValueError, match="10000000000 states of 2 actions"):
        TabularQ(Wide())

    class Long(Walk):
        observation_space = gym.spaces.Discrete(2**28)

    with pytest.raises(ValueError, match="num_envs: 1 traces"):
        TabularQ(Long(), algorithm="q_lambda")


def test_loading_something_else_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        TabularQ.load(tmp_path)
    TabularQ(walks(MODES[0])).save(tmp_path / "walk")
    with pytest.raises(ValueError, match="env"):
        TabularQ.load(tmp_path / "walk")
    with pytest.raises(ValueError, match=r"q_table: got a table of shape \(6, 2\), want \(16, 4\)"):
        TabularQ.load(tmp_path / "walk", "FrozenLake-v1")
    with pytest.raises(ValueError, match="q_table_b"):
        TabularQ.load(tmp_path / "walk", walks(MODES[0]), algorithm="double_q")
    TabularQ("FrozenLake-v1", learning_rate=lambda remaining: 0.1).save(tmp_path / "rate")
    with pytest.raises(ValueError, match="learning_rate"):
        TabularQ.load(tmp_path / "rate")
    assert TabularQ.load(tmp_path / "rate", learning_rate=0.1).num_timesteps == 0
