"""Environment interaction: an agent plays many environments at once and keeps what happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array, iterate
from torch import Tensor

from pyagent.agents.action_masks import ActionMasks
from pyagent.agents.observations import choose, join
from pyagent.nn.recurrent import State


@dataclass(frozen=True)
class Rollout:
    """T turns of B lanes."""

    turns: Any
    """what the understanding prepared of the T·B observations, row t·B+b"""
    state: State | None
    """the core's state before the first turn"""
    reset: Tensor
    """bool [T, B]: an episode starts with this turn"""
    valid: Tensor
    """bool [T, B]: False where the environment ignored the action and only started the next episode"""
    action: Tensor
    """int64 [T, B], of several choices at once [T, B, n]"""
    log_prob: Tensor
    """[T, B], of the action when it was taken"""
    value: Tensor
    """[T+1, B]"""
    reward: Tensor
    """[T, B]"""
    discount: Tensor
    """[T, B]: 0 where nothing that came after counts for what was before"""
    mask: Tensor | None = None
    """bool [T, B, A]: actions that were allowed; None where all always were"""


@dataclass(frozen=True)
class EpisodeEnd:
    """One finished episode."""

    reward: float
    length: int
    success: bool | None
    """None where the environment does not tell"""


class Interaction:
    """Steps a vector environment with an agent's own choices; `act` and `observe` in turn, then `rollout`.

    What follows an end: a terminated episode is worth nothing more; a truncated one is worth the value of its last
    observation. Under next-step autoreset this observation is the next turn, whose action the environment ignores: such
    a turn is not valid, and gets the reward that makes its advantage 0 (its own value) so that no credit crosses it.
    Under the other modes the value is added to the last reward.

    Which actions are allowed is asked of the environments at every step (`ActionMasks`).

    Args:
        agent: an `Agent`.
        env: vector environment.
        gamma: discount of a step.
        generator: draws the actions.
    """

    def __init__(self, agent: Any, env: VectorEnv[Any, Any, Any], gamma: float, generator: torch.Generator) -> None:
        self.agent, self.env, self.gamma, self.generator = agent, env, gamma, generator
        self.mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        self.masks = ActionMasks(env, agent.choices.num_scores)
        self.observations: Any = None
        self.episodes: list[EpisodeEnd] = []
        self.ended = np.zeros(env.num_envs, dtype=np.bool_)  # with the last step
        self.state: State | None = None
        B = env.num_envs
        self._ignored = np.zeros(B, dtype=np.bool_)
        self._reset = torch.ones(B, dtype=torch.bool, device=agent.device)
        self._rewards, self._lengths = np.zeros(B), np.zeros(B, dtype=np.int64)
        self._begin()

    def restart(self, seed: int | None = None) -> None:
        """Starts new episodes in all lanes."""
        self.observations, infos = self.env.reset(seed=seed)
        self.masks.begin(infos)
        self.state = None
        self._ignored[:] = False
        self._reset = torch.ones_like(self._reset)
        self._rewards[:], self._lengths[:] = 0.0, 0
        self._begin()

    def act(self) -> np.ndarray:
        """Draws an action for every lane: int64 [B] or [B, n], as the environment counts them."""
        choices = self.agent.choices
        scores, value, _, self.state = self.agent.step(self.observations, self.state, self._reset)
        mask = self.masks.current
        if mask is not None:
            self._turns["mask"].append(mask := torch.from_numpy(mask).to(value.device))
        likely = choices.log_probabilities(scores, mask)
        action = choices.sample(likely, self.generator)
        self._observations.append(self.observations)
        self._turns["reset"].append(self._reset)
        self._turns["action"].append(action)
        self._turns["log_prob"].append(choices.log_prob(likely, action))
        self._turns["value"].append(value)
        return choices.to_env(action)

    def observe(self, action: np.ndarray) -> int:
        """Takes the actions and keeps what came of them; returns how many of them the environments took.

        Raises:
            ValueError: a reward that is no finite number; the environment is named.
        """
        observations, rewards, terminated, truncated, infos = self.env.step(action)
        rewards = finite_rewards(rewards)
        valid = ~self._ignored
        self.ended = ended = terminated | truncated
        self._rewards += rewards * valid
        self._lengths += valid
        self._note_episodes(ended, infos)
        value = self._turns["value"][-1]
        discount = self.gamma * (valid & ~terminated)
        if self.mode is AutoresetMode.NEXT_STEP:
            start, self._ignored = self._ignored, ended
            rewards = np.where(valid, rewards, value.cpu().numpy())
        else:
            start = ended
            if truncated.any():
                rewards = rewards + self._last_values(observations, infos, truncated & ~terminated)
            discount = discount * ~ended
            if self.mode is AutoresetMode.DISABLED and ended.any():
                observations, infos = self.env.reset(options={"reset_mask": ended})
        self.masks.step(infos)
        self.observations = observations
        self._reset = torch.from_numpy(start.copy()).to(value.device)
        self._turns["valid"].append(torch.from_numpy(valid).to(value.device))
        self._turns["reward"].append(torch.from_numpy(rewards).to(value))
        self._turns["discount"].append(torch.from_numpy(discount).to(value))
        return int(valid.sum())

    def rollout(self) -> Rollout:
        """All turns since the last call, and the value of what comes next."""
        _, value, _, _ = self.agent.step(self.observations, self.state, self._reset)
        self._turns["value"].append(value)
        stacked = {name: torch.stack(turns) for name, turns in self._turns.items() if turns}
        done = Rollout(self.agent.understanding.prepare(join(self._observations)), self._first_state, **stacked)
        self._begin()
        return done

    def _begin(self) -> None:
        self._first_state = self.state
        self._observations: list[Any] = []
        names = ("reset", "valid", "action", "log_prob", "value", "reward", "discount", "mask")
        self._turns: dict[str, list[Tensor]] = {name: [] for name in names}

    def _last_values(self, observations: Any, infos: dict[str, Any], truncated: np.ndarray) -> np.ndarray:
        """γ·V of the last observation of lanes that were cut short, 0 elsewhere; float64 [B]."""
        last = observations
        if self.mode is AutoresetMode.SAME_STEP:
            last = final_observations(self.env, infos["final_obs"], observations)
        _, value, _, _ = self.agent.step(choose(truncated, last, self.observations), self.state)
        return self.gamma * np.where(truncated, value.cpu().numpy(), 0.0)

    def _note_episodes(self, ended: np.ndarray, infos: dict[str, Any]) -> None:
        told = infos.get("final_info", {}) if self.mode is AutoresetMode.SAME_STEP else infos
        there = told.get("_is_success", np.zeros_like(ended))
        for lane in np.flatnonzero(ended):
            success = bool(told["is_success"][lane]) if there[lane] else None
            self.episodes.append(EpisodeEnd(float(self._rewards[lane]), int(self._lengths[lane]), success))
            self._rewards[lane], self._lengths[lane] = 0.0, 0


def finite_rewards(rewards: Any) -> np.ndarray:
    """Rewards as float64 [B].

    Raises:
        ValueError: one that is no finite number; its environment is named.
    """
    rewards = np.asarray(rewards, dtype=np.float64)
    bad = ~np.isfinite(rewards)
    if bad.any():
        raise ValueError(f"reward: environment {int(bad.argmax())} gave {rewards[bad][0]}, want a finite number")
    return rewards


def final_observations(env: VectorEnv[Any, Any, Any], final: Any, observations: Any) -> Any:
    """What same-step autoreset keeps in ``infos["final_obs"]`` (an array with None for lanes that go on), as a batch:
    lanes that go on have their own of `observations`."""
    space = env.single_observation_space
    lanes = list(iterate(env.observation_space, observations))
    values = [lane if last is None else last for last, lane in zip(final, lanes, strict=True)]
    if isinstance(space, gym.spaces.Text):
        return values
    return concatenate(space, values, create_empty_array(space, n=len(values), fn=np.zeros))
