"""Environment interaction: an agent plays many environments at once and keeps what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor

from pyagent.agents.observations import choose, join
from pyagent.agents.play import Outcome, Play
from pyagent.nn.recurrent import State


@dataclass(frozen=True)
class Rollout:
    """T turns of B lanes."""

    turns: Any
    """what the understanding prepared of observations, in rows; or, where it has no weights, what it read of them"""
    row: Tensor
    """int64 [T, B]: where in `turns` each is"""
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

    def split(self, order: Tensor, lanes: int) -> list[Rollout]:
        """Rollouts of at most so many lanes each, in this order (int64 [B])."""
        parts = (split_lanes(getattr(self, field.name), order, lanes) for field in fields(self)[1:])
        return [Rollout(self.turns, *values) for values in zip(*parts, strict=True)]


def split_lanes(whole: Any, order: Tensor, lanes: int) -> Sequence[Any]:
    """Parts of at most so many lanes, in this order, of a tensor whose second dimension they are, or of a tuple of
    such; of None as many Nones."""
    if whole is None:
        return [None] * -(-len(order) // lanes)
    if isinstance(whole, tuple):
        return list(zip(*(split_lanes(tensor, order, lanes) for tensor in whole), strict=True))
    return [part.contiguous() for part in whole.index_select(1, order).split(lanes, 1)]


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
        self.agent, self.gamma, self.generator = agent, gamma, generator
        self.play = Play(env, agent.choices.num_scores)
        self.state: State | None = None
        self._begin()

    def restart(self, seed: int | None = None) -> None:
        """Starts new episodes in all lanes."""
        self.play.restart(seed)
        self.state = None
        self._begin()

    def act(self) -> np.ndarray:
        """Draws an action for every lane: int64 [B] or [B, n], as the environment counts them."""
        choices, observations = self.agent.choices, self.play.observations
        reset = torch.from_numpy(self.play.reset).to(self.agent.device)
        scores, value, _, self.state = self.agent.step(observations, self.state, reset)
        mask = self.play.masks.current
        if mask is not None:
            self._turns["mask"].append(mask := torch.from_numpy(mask).to(value.device))
        likely = choices.log_probabilities(scores, mask)
        action = choices.sample(likely, self.generator)
        self._observations.append(observations)
        self._turns["reset"].append(reset)
        self._turns["action"].append(action)
        self._turns["log_prob"].append(choices.log_prob(likely, action))
        self._turns["value"].append(value)
        return choices.to_env(action)

    def observe(self, action: np.ndarray) -> Outcome:
        """Takes the actions and keeps what came of them.

        Raises:
            ValueError: a reward that is no finite number; the environment is named.
        """
        before = self.play.observations
        outcome = self.play.step(action)
        value = self._turns["value"][-1]
        if self.play.mode is AutoresetMode.NEXT_STEP:
            reward = np.where(outcome.valid, outcome.reward, value.cpu().numpy())
            discount = self.gamma * (outcome.valid & ~outcome.terminated)
        else:
            cut = outcome.truncated & ~outcome.terminated
            reward = outcome.reward
            if cut.any():
                # Lanes that go on read what they have read before: their values are not looked at.
                _, last, _, _ = self.agent.step(choose(cut, outcome.final, before), self.state)
                reward = reward + self.gamma * np.where(cut, last.cpu().numpy(), 0.0)
            discount = self.gamma * ~outcome.ended
        self._turns["valid"].append(torch.from_numpy(outcome.valid).to(value.device))
        self._turns["reward"].append(torch.from_numpy(reward).to(value))
        self._turns["discount"].append(torch.from_numpy(discount).to(value))
        return outcome

    def rollout(self) -> Rollout:
        """All turns since the last call, and the value of what comes next."""
        reset = torch.from_numpy(self.play.reset).to(self.agent.device)
        _, value, _, _ = self.agent.step(self.play.observations, self.state, reset)
        self._turns["value"].append(value)
        stacked = {name: torch.stack(turns) for name, turns in self._turns.items() if turns}
        valid = stacked["valid"]
        row = torch.arange(valid.numel(), device=valid.device).view(valid.shape)
        turns = self.agent.understanding.prepare(join(self._observations))
        done = Rollout(turns, row, self._first_state, **stacked)
        self._begin()
        return done

    def _begin(self) -> None:
        self._first_state = self.state
        self._observations: list[Any] = []
        names = ("reset", "valid", "action", "log_prob", "value", "reward", "discount", "mask")
        self._turns: dict[str, list[Tensor]] = {name: [] for name in names}
