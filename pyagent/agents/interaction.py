"""Environment interaction: an agent plays many environments at once and keeps what happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor

from pyagent.nn.recurrent import State


@dataclass(frozen=True)
class Rollout:
    """T turns of B lanes."""

    turns: Any
    """what the understanding prepared of the T·B texts, row t·B+b"""
    state: State | None
    """the core's state before the first turn"""
    reset: Tensor
    """bool [T, B]: an episode starts with this turn"""
    valid: Tensor
    """bool [T, B]: False where the environment ignored the action and only started the next episode"""
    action: Tensor
    """int64 [T, B]"""
    log_prob: Tensor
    """[T, B], of the action when it was taken"""
    value: Tensor
    """[T+1, B]"""
    reward: Tensor
    """[T, B]"""
    discount: Tensor
    """[T, B]: 0 where nothing that came after counts for what was before"""


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

    Args:
        agent: a `LanguageAgent`.
        env: vector environment with text observations and discrete actions.
        gamma: discount of a step.
        generator: draws the actions.
    """

    def __init__(self, agent: Any, env: VectorEnv[Any, Any, Any], gamma: float, generator: torch.Generator) -> None:
        self.agent, self.env, self.gamma, self.generator = agent, env, gamma, generator
        self.mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
        self.texts: tuple[str, ...] = ()
        self.episodes: list[EpisodeEnd] = []
        self.state: State | None = None
        B = env.num_envs
        self._ignored = np.zeros(B, dtype=np.bool_)
        self._reset = torch.ones(B, dtype=torch.bool, device=agent.device)
        self._rewards, self._lengths = np.zeros(B), np.zeros(B, dtype=np.int64)
        self._begin()

    def restart(self, seed: int | None = None) -> None:
        """Starts new episodes in all lanes."""
        observations, _ = self.env.reset(seed=seed)
        self.texts = tuple(observations)
        self.state = None
        self._ignored[:] = False
        self._reset = torch.ones_like(self._reset)
        self._rewards[:], self._lengths[:] = 0.0, 0
        self._begin()

    def act(self) -> np.ndarray:
        """Draws an action for every lane, int64 [B]."""
        log_probabilities, value, _, self.state = self.agent.step(self.texts, self.state, self._reset)
        action = torch.multinomial(log_probabilities.exp().cpu(), 1, generator=self.generator).to(value.device)
        self._texts.extend(self.texts)
        self._turns["reset"].append(self._reset)
        self._turns["action"].append(action[:, 0])
        self._turns["log_prob"].append(log_probabilities.gather(1, action)[:, 0])
        self._turns["value"].append(value)
        return action[:, 0].cpu().numpy()

    def observe(self, action: np.ndarray) -> int:
        """Takes the actions and keeps what came of them; returns how many of them the environments took."""
        observations, rewards, terminated, truncated, infos = self.env.step(action)
        valid = ~self._ignored
        ended = terminated | truncated
        rewards = np.asarray(rewards, dtype=np.float64)
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
                observations, _ = self.env.reset(options={"reset_mask": ended})
        self.texts = tuple(observations)
        self._reset = torch.from_numpy(start.copy()).to(value.device)
        self._turns["valid"].append(torch.from_numpy(valid).to(value.device))
        self._turns["reward"].append(torch.from_numpy(rewards).to(value))
        self._turns["discount"].append(torch.from_numpy(discount).to(value))
        return int(valid.sum())

    def rollout(self) -> Rollout:
        """All turns since the last call, and the value of what comes next."""
        _, value, _, _ = self.agent.step(self.texts, self.state, self._reset)
        self._turns["value"].append(value)
        stacked = {name: torch.stack(turns) for name, turns in self._turns.items()}
        done = Rollout(self.agent.understanding.prepare(self._texts), self._first_state, **stacked)
        self._begin()
        return done

    def _begin(self) -> None:
        self._first_state = self.state
        self._texts: list[str] = []
        names = ("reset", "valid", "action", "log_prob", "value", "reward", "discount")
        self._turns: dict[str, list[Tensor]] = {name: [] for name in names}

    def _last_values(self, observations: Any, infos: dict[str, Any], truncated: np.ndarray) -> np.ndarray:
        """γ·V of the last observation of lanes that were cut short, 0 elsewhere; float64 [B]."""
        last = infos["final_obs"] if self.mode is AutoresetMode.SAME_STEP else observations
        texts = [last[lane] if truncated[lane] else self.texts[lane] for lane in range(self.env.num_envs)]
        _, value, _, _ = self.agent.step(texts, self.state)
        return self.gamma * np.where(truncated, value.cpu().numpy(), 0.0)

    def _note_episodes(self, ended: np.ndarray, infos: dict[str, Any]) -> None:
        told = infos.get("final_info", {}) if self.mode is AutoresetMode.SAME_STEP else infos
        there = told.get("_is_success", np.zeros_like(ended))
        for lane in np.flatnonzero(ended):
            success = bool(told["is_success"][lane]) if there[lane] else None
            self.episodes.append(EpisodeEnd(float(self._rewards[lane]), int(self._lengths[lane]), success))
            self._rewards[lane], self._lengths[lane] = 0.0, 0
