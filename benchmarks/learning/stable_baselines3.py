"""RecurrentPPO of Stable-Baselines3-contrib on a memory task, with the network and settings of our PPO's defaults."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np

from .memory_tasks import LANES, maker


def run(task: str, seed: int, steps: int) -> dict[str, Any]:
    """One run, as `memory.run` tells it: 64 steps a rollout, 8 epochs, minibatches of 1024, one shared LSTM of 128."""
    from sb3_contrib import RecurrentPPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.evaluation import evaluate_policy

    curve: list[tuple[int, float, float]] = []
    began = time.perf_counter()

    class Note(BaseCallback):
        def _on_step(self) -> bool:
            buffer = self.model.ep_info_buffer
            if buffer and (not curve or self.num_timesteps - curve[-1][0] >= steps // 100):
                mean = float(np.mean([episode["r"] for episode in buffer]))
                curve.append((self.num_timesteps, time.perf_counter() - began, mean))
            return True

    network = {"lstm_hidden_size": 128, "net_arch": {"pi": [64, 64], "vf": [64, 64]}}
    network |= {"shared_lstm": True, "enable_critic_lstm": False}

    def make() -> gym.Env[Any, Any]:
        # It has no Tuple, and on MultiDiscrete its LSTM is given a size that this torch refuses.
        one = maker(task)()
        simple = isinstance(one.observation_space, (gym.spaces.Box, gym.spaces.Discrete))
        return one if simple else gym.wrappers.FlattenObservation(one)

    env = make_vec_env(make, n_envs=LANES, seed=seed)
    settings = {"n_steps": 64, "batch_size": 1024, "n_epochs": 8, "learning_rate": 1e-3, "ent_coef": 0.01}
    learner = RecurrentPPO("MlpLstmPolicy", env, policy_kwargs=network, target_kl=0.03, seed=seed, **settings)
    learner.learn(steps, callback=Note())
    seconds = time.perf_counter() - began
    rewards, _ = evaluate_policy(learner, make_vec_env(make, n_envs=30), 30, return_episode_rewards=True)
    told = {"task": task, "learner": "SB3-contrib RecurrentPPO", "seed": seed, "steps": learner.num_timesteps}
    return told | {"seconds": seconds, "rewards": rewards, "curve": curve}
