"""An agent that reads observations, remembers and decides; each of its parts can be replaced by another module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from pyagent.agents.choices import Choices
from pyagent.agents.heads import NET_ARCH, ActorCritic, NetArch
from pyagent.agents.interaction import Interaction
from pyagent.agents.observations import SpaceReader, as_batch
from pyagent.agents.state_tracking import recurrent_core, token_core
from pyagent.nn.recurrent import State


class Agent(nn.Module):
    """Reads observations, remembers and decides, without a language of its own.

    Its parts are attributes: `understanding` (observations → one vector each), `state_tracking` (the recurrent core
    carried from step to step), `decision` (scores of actions, and the value of the situation), and `interaction` (what
    plays vector environments with the agent). Any of them may be given as a module that keeps the part's interface.

    Args:
        observation_space: of one environment.
        action_space: of one environment, `Discrete` or `MultiDiscrete`.
        cell: core made where none is given: ``"lstm"``, ``"gru"``, ``"rnn"``, or ``"none"`` without memory.
        hidden_size: H of that core.
        num_layers: layers of that core.
        net_arch: widths of the heads' hidden layers, for the policy (``pi``) and the value (``vf``).
        normalize: shift and scale the numbers of observations by those seen in learning.
        understanding, state_tracking, decision, interaction: a part of one's own.

    Raises:
        TypeError: a space that is none of these.
        ValueError: no such cell.
    """

    def __init__(
        self,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        *,
        cell: str = "lstm",
        hidden_size: int = 128,
        num_layers: int = 1,
        net_arch: NetArch = NET_ARCH,
        normalize: bool = False,
        understanding: nn.Module | None = None,
        state_tracking: nn.Module | None = None,
        decision: nn.Module | None = None,
        interaction: type[Interaction] = Interaction,
    ) -> None:
        super().__init__()
        self.observation_space, self.interaction = observation_space, interaction
        self.choices = Choices(action_space)
        self.understanding: Any = understanding or SpaceReader(observation_space, normalize=normalize)
        if state_tracking is None:
            sizes = {"cell": cell, "num_layers": num_layers}
            tokens = getattr(self.understanding, "num_tokens", None)
            if tokens is None:
                state_tracking = recurrent_core(self.understanding.output_size, hidden_size, **sizes)
            else:
                state_tracking = token_core(tokens, self.understanding.output_size, hidden_size, **sizes)
        self.state_tracking: Any = state_tracking
        H = self.state_tracking.hidden_size
        self.decision: Any = decision or ActorCritic(H, self.choices.num_scores, net_arch)

    def decide(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of the actions [..., A] and values [...] of the core's outputs [..., H]."""
        return self.decision(output)

    def forward(self, turns: Tensor, state: State | None, reset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores [T, B, A], values [T, B] and outputs [T, B, H] over sequences of what `understanding` made of turns
        [T, B, D]."""
        output, _ = self.state_tracking(turns, state, reset=reset)
        return (*self.decide(output), output)

    @torch.no_grad()
    def step(
        self, observations: Any, state: State | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, State]:
        """One turn without gradient: scores [B, A], values [B], output [B, H], next state."""
        output, after = self.state_tracking.step(self.understanding.step(observations), state, reset=reset)
        return (*self.decide(output), output, after)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        action_masks: Any = None,
    ) -> tuple[Any, Any]:
        """Actions for a batch of observations (or a single one), as Stable-Baselines3's `predict`.

        Args:
            observation: a batch of B as vector environments give it, or one observation.
            state: what the last call returned; None forgets everything.
            episode_start: bool [B]: lanes whose memory starts anew.
            deterministic: the most probable action, or one drawn by its probability with torch's generator.
            action_masks: bool [B, A], True where an action is allowed; None allows all.

        Returns:
            the batch's actions (one action for one observation), and the state to hand back.
        """
        batch, is_single = as_batch(self.observation_space, observation)
        reset = None
        if episode_start is not None and state is not None:
            starts = np.atleast_1d(np.asarray(episode_start, dtype=np.bool_))
            reset = torch.from_numpy(starts).to(self.device)
        scores, _, _, state = self.step(batch, state, reset)
        mask = None if action_masks is None else torch.from_numpy(np.atleast_2d(np.asarray(action_masks, np.bool_)))
        likely = self.choices.log_probabilities(scores, None if mask is None else mask.to(self.device))
        action = self.choices.best(likely) if deterministic else self.choices.sample(likely)
        actions = self.choices.to_env(action)
        return (actions[0] if is_single else actions), state

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @contextmanager
    def frozen(self) -> Iterator[Agent]:
        """For acting: keeps what the parts derive from their weights, which must not change inside the block."""
        with ExitStack() as stack:
            for part in self._acting_parts():
                stack.enter_context(part.frozen())
            yield self

    def _acting_parts(self) -> tuple[Any, ...]:
        return self.understanding, self.state_tracking
