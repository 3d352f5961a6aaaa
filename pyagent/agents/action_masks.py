"""Which actions are allowed: asked of environments, step by step."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from pyagent.agents.choices import Choices


class ActionMasks:
    """Reads masks from `info["action_mask"]`, or from an `action_masks()` method of the environments.

    A mask is True (or not 0) where an action is allowed: [A] of one environment, for `MultiDiscrete` the choices' masks
    one after the other. In a lane whose info holds no mask everything is allowed.

    Args:
        env: the vector environment.
        num_actions: A; None reads no masks.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], num_actions: int | None) -> None:
        self.env, self.num_actions = env, num_actions
        self.current: NDArray[np.bool_] | None = None
        """bool [B, A] of the next actions; None where the environments have no masks"""
        self._in_infos = False
        self._lanes: Any = env.unwrapped  # gymnasium's wrappers of vector environments do not pass `call` on
        self._has_method = hasattr(self._lanes, "call") and any(self._lanes.call("has_wrapper_attr", "action_masks"))

    def begin(self, infos: dict[str, Any]) -> None:
        """After a reset of all lanes."""
        self._in_infos = "action_mask" in infos
        self.current = None
        self.step(infos)

    def step(self, infos: dict[str, Any], lanes: NDArray[np.bool_] | None = None) -> None:
        """After a step, or after a reset of some lanes.

        Args:
            infos: what the environment told.
            lanes: bool [B], those whose masks are read, the others keep theirs; None reads all.

        Raises:
            ValueError: a mask of another length, or one that allows nothing; the environment is named.
        """
        B = self.env.num_envs
        if self.num_actions is None:
            return
        if self._in_infos:
            told = infos.get("action_mask", [None] * B)
            there = infos.get("_action_mask", np.ones(B, dtype=np.bool_))
            masks = [mask if there[lane] else None for lane, mask in enumerate(told)]
        elif self._has_method:
            masks = list(self._lanes.call("action_masks"))
        else:
            return
        current = np.ones((B, self.num_actions), dtype=np.bool_) if self.current is None else self.current.copy()
        for lane in range(B) if lanes is None else np.flatnonzero(lanes).tolist():
            current[lane] = True if masks[lane] is None else checked_mask(masks[lane], self.num_actions, lane)
        self.current = current


def checked_mask(mask: Any, num_actions: int, lane: int) -> NDArray[np.bool_]:
    """The mask that an environment told, bool [A].

    Raises:
        ValueError: a mask of another length, or one that allows nothing; the environment is named.
    """
    allowed = np.concatenate([np.asarray(part, dtype=np.bool_).reshape(-1) for part in _parts(mask)])
    if len(allowed) != num_actions or not allowed.any():
        raise ValueError(
            f"action_mask: environment {lane} gave {mask}, want {num_actions} values of which one is not 0"
        )
    return allowed


def mask_length(action_space: gym.Space[Any]) -> int | None:
    """A; None where the actions are not discrete, which have no masks."""
    try:
        return Choices(action_space).num_scores
    except TypeError:
        return None


def _parts(mask: Any) -> Any:
    return mask if isinstance(mask, (tuple, list)) and mask and np.ndim(mask[0]) else [mask]
