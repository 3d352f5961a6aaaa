"""Texts in a replay: kept once, and no longer than the replay needs them."""

import gymnasium as gym
from gymnasium.vector import SyncVectorEnv

from pyagent import RecurrentDQN
from pyagent.learning import stored_observations


class Counting(gym.Env):
    """Every turn has a text of its own, and the reward for the last one is its number."""

    action_words = ("on", "further")
    action_space = gym.spaces.Discrete(2)
    observation_space = gym.spaces.Text(64, charset="abcdefghijklmnopqrstuvwxyz0123456789 .")
    number = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.text(), {}

    def step(self, action):
        reward = float(self.number)
        Counting.number += 1
        return self.text(), reward, Counting.number % 7 == 0, False, {}

    def text(self):
        self.number = Counting.number
        return f"number {self.number} ."


def test_texts_leave_with_the_steps_that_had_them(monkeypatch, tmp_path):
    monkeypatch.setattr(stored_observations, "_FEW_TEXTS", 32)
    env = SyncVectorEnv([Counting] * 2)
    env.action_words = Counting.action_words
    sizes = {"buffer_size": 64, "burn_in": 0, "sequence_length": 4, "n_step": 1, "batch_size": 8, "hidden_size": 8}
    learner = RecurrentDQN(env, num_envs=2, learning_starts=10**9, normalize_rewards=False, **sizes)
    learner.learn(1000)
    for one in (learner, reloaded(learner, env, tmp_path)):
        texts = one.collector.stored.texts
        assert len(texts) < 200
        batch = one.replay.sample(16, 0.0, 0)
        numbers, rewards = batch.fields["observation.0"], batch.fields["reward"]
        checked = 0
        for number, reward, valid in zip(numbers.flat, rewards.flat, batch.valid.flat, strict=True):
            if valid:
                checked += 1
                assert texts[number] == f"number {reward:.0f} ."
        assert checked > 30


def reloaded(learner, env, folder):
    learner.save(folder)
    return RecurrentDQN.load(folder, env)
