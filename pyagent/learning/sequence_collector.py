"""Plays with action values and keeps every step for replay."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from pyagent.agents import Agent, EpisodeEnd, Outcome, Play
from pyagent.learning.stored_observations import StoredObservations
from pyagent.nn.recurrent import State
from pyagent.ops import epsilon_greedy
from pyagent.replay import SequenceReplay


class SequenceCollector:
    """Steps a vector environment ε-greedily, `act` and `observe` in turn; stores rows as `SequenceReplay` wants them.

    Args:
        agent: whose scores are action values.
        env: the environment whose lanes are stored; `restart` may give another one like it.
        capacity, replay_settings: of the replay.
    """

    def __init__(
        self, agent: Agent, env: VectorEnv[Any, Any, Any], capacity: int, replay_settings: dict[str, Any]
    ) -> None:
        self.agent = agent
        self.stored = StoredObservations(env.single_observation_space, agent.understanding)
        self.play = Play(env, agent.choices.num_scores)
        self.play.restart(0)
        fields = self.stored.specs(self.play.observations)
        fields |= {"action": ((), np.dtype(np.int64)), "reward": ((), np.dtype(np.float32))}
        fields["terminated"] = ((), np.dtype(np.bool_))
        if self.play.masks.current is not None:
            fields["mask"] = (self.play.masks.current.shape[1:], np.dtype(np.bool_))
        self._fields = fields
        *_, state = agent.step(self.play.observations)
        shapes = [(part.shape[0], part.shape[2]) for part in _parts(state)]
        self.replay = SequenceReplay(capacity, env.num_envs, fields, state=shapes, **replay_settings)
        self.state: State | None = None
        self.is_playing = False

    @property
    def episodes(self) -> list[EpisodeEnd]:
        """Finished ones since the caller last cleared them."""
        return self.play.episodes

    def restart(self, env: VectorEnv[Any, Any, Any], seed: int | None) -> None:
        """Starts new episodes in all lanes of an environment."""
        self.play = Play(env, self.agent.choices.num_scores)
        self.play.restart(seed)
        self.state, self.is_playing = None, True

    def stop(self) -> None:
        """Breaks the episodes off: what is stored of them bootstraps from their present observations."""
        if self.is_playing:
            nobody = np.zeros(self.play.num_lanes, dtype=np.bool_)
            self._store(self.play.observations, self.play.reset, nobody, {}, self.state)
        self.is_playing = False

    def act(self, epsilon: float, generator: torch.Generator) -> Tensor:
        """Actions of all lanes, int64 [B]."""
        reset = torch.from_numpy(self.play.reset).to(self.agent.device)
        self._before = self.state
        q, _, _, self.state = self.agent.step(self.play.observations, self.state, reset)
        mask = self.play.masks.current
        allowed = None if mask is None else torch.from_numpy(mask).to(q.device)
        return epsilon_greedy(q, epsilon, mask=allowed, generator=generator)

    def observe(self, action: Tensor) -> Outcome:
        """Takes the actions, and stores and returns what came of them."""
        play = self.play
        observations, reset, mask = play.observations, play.reset, play.masks.current
        outcome = play.step(self.agent.choices.to_env(action))
        row = {"action": action.cpu().numpy(), "reward": outcome.reward, "terminated": outcome.terminated}
        if mask is not None:
            row["mask"] = mask
        self._store(observations, reset, outcome.valid, row, self._before)
        if outcome.final is not None:
            nobody = np.zeros_like(reset)
            self._store(outcome.final, nobody, nobody, {}, self.state, lanes=np.flatnonzero(outcome.ended))
        return outcome

    def _store(
        self,
        observations: Any,
        reset: np.ndarray,
        valid: np.ndarray,
        row: dict[str, np.ndarray],
        state: State | None,
        lanes: np.ndarray | None = None,
    ) -> None:
        fields = self.stored.fields(observations) | row
        for name, (shape, dtype) in self._fields.items():
            if name not in fields:  # of a step without an action
                fields[name] = (np.ones if name == "mask" else np.zeros)((len(reset), *shape), dtype)
        states = None
        if state is not None and self.replay.needs_state.any():
            states = [part.float().cpu().numpy() for part in _parts(state)]
        if lanes is not None:
            fields, reset, valid = {name: value[lanes] for name, value in fields.items()}, reset[lanes], valid[lanes]
            states = None if states is None else [part[:, lanes] for part in states]
        self.replay.add(fields, states, reset, valid, lanes=lanes)
        if self.stored.is_crowded:
            self.stored.keep_only(self.replay)


def _parts(state: State | None) -> tuple[Tensor, ...]:
    return () if state is None else state if isinstance(state, tuple) else (state,)
