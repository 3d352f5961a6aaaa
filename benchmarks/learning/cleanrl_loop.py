"""Recurrent PPO as users of CleanRL write it: one file's loop, `nn.LSTM` stepped over time in Python so that it can be
reset where episodes end. Written from the description of the algorithm for the comparison in throughput.py."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv
from torch import Tensor, nn


class Network(nn.Module):
    """One-hot observations → LSTM 128 → two tanh layers of 64 for policy and value each."""

    def __init__(self, observations: int, actions: int) -> None:
        super().__init__()
        self.observations = observations
        self.lstm = nn.LSTM(observations, 128)
        self.actor = _head(actions)
        self.critic = _head(1)

    def states(self, x: Tensor, state: tuple[Tensor, Tensor], done: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Outputs [T, B, 128]; the state is zeroed before steps that begin episodes."""
        one_hot = nn.functional.one_hot(x, self.observations).float()
        outputs = []
        for input, starts in zip(one_hot, done, strict=True):
            keep = (1.0 - starts)[None, :, None]
            output, state = self.lstm(input[None], (keep * state[0], keep * state[1]))
            outputs.append(output)
        return torch.cat(outputs), state


def _head(outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(128, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))


class CleanRLLoop:
    """Rollout, advantages by a loop over time, minibatches of whole environments."""

    def __init__(self, env: SyncVectorEnv, steps: int, epochs: int, lanes: int, learning_rate: float) -> None:
        self.env, self.steps, self.epochs, self.lanes = env, steps, epochs, lanes
        torch.manual_seed(0)
        self.network = Network(int(env.single_observation_space.n), int(env.single_action_space.n))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=learning_rate, eps=1e-5)
        observation, _ = env.reset(seed=0)
        self.observation, self.done = torch.as_tensor(observation), torch.ones(env.num_envs)
        self.state = (torch.zeros(1, env.num_envs, 128), torch.zeros(1, env.num_envs, 128))
        self.returns, self.recent = np.zeros(env.num_envs), deque[float](maxlen=100)

    def learn(self, timesteps: int, reached: Callable[[float], bool]) -> None:
        for _ in range(-(-timesteps // (self.steps * self.env.num_envs))):
            self._update(*self._rollout())
            if self.recent and reached(float(np.mean(self.recent))):
                return

    @torch.no_grad()
    def _rollout(self) -> tuple[Any, ...]:
        T, B = self.steps, self.env.num_envs
        observations, actions = torch.zeros(T, B, dtype=torch.int64), torch.zeros(T, B, dtype=torch.int64)
        dones, log_probs, rewards, values = (torch.zeros(T, B) for _ in range(4))
        first = self.state
        for t in range(T):
            observations[t], dones[t] = self.observation, self.done
            output, self.state = self.network.states(self.observation[None], self.state, self.done[None])
            choice = torch.distributions.Categorical(logits=self.network.actor(output[0]))
            action = choice.sample()
            actions[t], log_probs[t] = action, choice.log_prob(action)
            values[t] = self.network.critic(output[0])[:, 0]
            observation, reward, terminated, truncated, _ = self.env.step(action.numpy())
            rewards[t] = torch.as_tensor(reward, dtype=torch.float32)
            self.observation = torch.as_tensor(observation)
            ended = terminated | truncated
            self.done = torch.as_tensor(ended, dtype=torch.float32)
            self.returns += reward
            self.recent.extend(self.returns[ended])
            self.returns[ended] = 0
        output, _ = self.network.states(self.observation[None], self.state, self.done[None])
        value, advantages, last = self.network.critic(output[0])[:, 0], torch.zeros(T, B), torch.zeros(B)
        for t in reversed(range(T)):
            goes_on = 1.0 - (self.done if t == T - 1 else dones[t + 1])
            after = value if t == T - 1 else values[t + 1]
            last = rewards[t] + 0.99 * after * goes_on - values[t] + 0.99 * 0.95 * goes_on * last
            advantages[t] = last
        return first, observations, dones, actions, log_probs, values, advantages

    def _update(self, first: Any, observations: Tensor, dones: Tensor, actions: Tensor, *rest: Tensor) -> None:
        log_probs, values, advantages = rest
        returns = advantages + values
        for _ in range(self.epochs):
            for lanes in torch.randperm(self.env.num_envs).split(self.lanes):
                state = (first[0][:, lanes], first[1][:, lanes])
                output, _ = self.network.states(observations[:, lanes], state, dones[:, lanes])
                choice = torch.distributions.Categorical(logits=self.network.actor(output))
                ratio = (choice.log_prob(actions[:, lanes]) - log_probs[:, lanes]).exp()
                advantage = advantages[:, lanes]
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                policy = torch.max(-advantage * ratio, -advantage * ratio.clamp(0.8, 1.2)).mean()
                value = (self.network.critic(output)[..., 0] - returns[:, lanes]).square().mean()
                loss = policy - 0.01 * choice.entropy().mean() + 0.5 * value
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.network.parameters(), 0.5)
                self.optimizer.step()
