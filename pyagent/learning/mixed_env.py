"""Several vector environments side by side as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Text
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space

from pyagent.agents.observations import join


class MixedVectorEnv(VectorEnv[Any, np.ndarray, np.ndarray]):
    """The lanes of several vector environments one after the other, so that one agent learns all tasks at once.

    Args:
        envs: with the same action space, the same autoreset mode, and the same observations, or texts of any kind.

    Raises:
        ValueError: no environments, or they differ in actions, observations or mode.
    """

    def __init__(self, envs: Sequence[VectorEnv[Any, Any, Any]]) -> None:
        if not envs:
            raise ValueError("envs: want at least one, got none")
        first = envs[0]
        for env in envs:
            if env.single_action_space != first.single_action_space:
                raise ValueError(f"envs: want one action space, got {env.single_action_space} too")
            if _kind(env) != _kind(first):
                raise ValueError(f"envs: want one observation space, got {env.single_observation_space} too")
            if env.metadata.get("autoreset_mode") != first.metadata.get("autoreset_mode"):
                raise ValueError("envs: want one autoreset mode")
        self.envs = list(envs)
        self.num_envs = sum(env.num_envs for env in envs)
        self.metadata = first.metadata
        self.single_action_space = first.single_action_space
        self.single_observation_space = first.single_observation_space
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_words: Any = getattr(first, "action_words", None)
        self._observations: list[Any] = [None] * len(envs)
        if all(hasattr(env.unwrapped, "call") for env in envs):  # whoever looks for it finds it only where it works
            self.call = self._call
        self._starts = np.cumsum([0, *(env.num_envs for env in envs)]).tolist()

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts all lanes; `seed` and ``options["reset_mask"]`` are split as lanes are."""
        mask = None if options is None else options.get("reset_mask")
        infos: list[dict[str, Any]] = [{} for _ in self.envs]
        for number, (env, start, stop) in enumerate(self._parts()):
            if mask is not None and not mask[start:stop].any():
                continue
            own = options if mask is None else {**(options or {}), "reset_mask": mask[start:stop]}
            lane_seed = None if seed is None else seed + start if isinstance(seed, int) else seed[start:stop]
            self._observations[number], infos[number] = env.reset(seed=lane_seed, options=own)
        return self._joined(), self._merge(infos)

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One action in every lane."""
        results = [env.step(actions[start:stop]) for env, start, stop in self._parts()]
        observations, rewards, terminated, truncated, infos = zip(*results, strict=True)
        self._observations = list(observations)
        return (
            self._joined(),
            np.concatenate(rewards),
            np.concatenate(terminated),
            np.concatenate(truncated),
            self._merge(infos),
        )

    def close_extras(self, **kwargs: Any) -> None:
        for env in self.envs:
            env.close(**kwargs)

    def _parts(self) -> list[tuple[VectorEnv[Any, Any, Any], int, int]]:
        return list(zip(self.envs, self._starts[:-1], self._starts[1:], strict=True))

    def _call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """What every lane's environment answers."""
        answers: list[Any] = [env.unwrapped.call(name, *args, **kwargs) for env in self.envs]  # type: ignore[attr-defined]
        return tuple(answer for part in answers for answer in part)

    def _joined(self) -> Any:
        """The lanes' observations as one batch."""
        batch = join(self._observations)
        return tuple(batch) if isinstance(batch, list) else batch

    def _merge(self, infos: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Every array over all lanes, with zeros for lanes whose environment told nothing."""
        merged: dict[str, Any] = {}
        for info, (_, start, stop) in zip(infos, self._parts(), strict=True):
            for key, value in info.items():
                if isinstance(value, dict):
                    nested = [other.get(key, {}) for other in infos]
                    merged.setdefault(key, self._merge(nested))
                elif isinstance(value, np.ndarray):
                    merged.setdefault(key, np.zeros((self.num_envs, *value.shape[1:]), dtype=value.dtype))[
                        start:stop
                    ] = value
        return merged


def _kind(env: VectorEnv[Any, Any, Any]) -> Any:
    """What observations must have in common: all texts are alike, whatever their length and characters."""
    space = env.single_observation_space
    return Text if isinstance(space, Text) else space
