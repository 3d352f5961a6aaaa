"""Which actions are allowed: asked of vector environments, step by step."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv


class ActionMasks:
    """Reads masks from `info["action_mask"]`, or from an `action_masks()` method of the environments.

    A mask is True (or not 0) where an action is allowed: [A] of one environment, for `MultiDiscrete` the choices' masks
    one after the other. In a lane whose info holds no mask everything is allowed.

    Args:
        env: the vector environment.
        num_actions: A.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], num_actions: int) -> None:
        self.env, self.num_actions = env, num_actions
        self.current: np.ndarray | None = None
        """bool [B, A] of the next actions; None where the environments have no masks"""
        self._in_infos = False
        envs = getattr(env, "envs", ())
        self._has_method = any(isinstance(one, gym.Env) and one.has_wrapper_attr("action_masks") for one in envs)

    def begin(self, infos: dict[str, Any]) -> None:
        """After a reset of all lanes."""
        self._in_infos = "action_mask" in infos
        self.current = None
        self.step(infos)

    def step(self, infos: dict[str, Any]) -> None:
        """After a step.

        Raises:
            ValueError: a mask of another length, or one that allows nothing; the environment is named.
        """
        if self._in_infos:
            told = infos.get("action_mask", [None] * self.env.num_envs)
            there = infos.get("_action_mask", np.ones(self.env.num_envs, dtype=np.bool_))
            masks = [mask if there[lane] else None for lane, mask in enumerate(told)]
        elif self._has_method:
            masks = list(self.env.call("action_masks"))  # type: ignore[attr-defined]
        else:
            return
        current = np.ones((self.env.num_envs, self.num_actions), dtype=np.bool_)
        for lane, mask in enumerate(masks):
            if mask is not None:
                current[lane] = self._checked(lane, mask)
        self.current = current

    def _checked(self, lane: int, mask: Any) -> np.ndarray:
        allowed = np.concatenate([np.asarray(part, dtype=np.bool_).reshape(-1) for part in _parts(mask)])
        if len(allowed) != self.num_actions or not allowed.any():
            raise ValueError(
                f"action_mask: environment {lane} gave {mask}, want {self.num_actions} values of which one is not 0"
            )
        return allowed


def _parts(mask: Any) -> Any:
    return mask if isinstance(mask, (tuple, list)) and mask and np.ndim(mask[0]) else [mask]
