"""Many text environments that step together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from typing import Any

import numpy as np
from gymnasium.error import ClosedEnvironmentError
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from pyagent.envs.babyai import ACTION_WORDS, BabyAIText
from pyagent.envs.lanes import Infos, Lanes
from pyagent.envs.worker import Worker


class TextVectorEnv(VectorEnv[tuple[str, ...], np.ndarray, np.ndarray]):
    """A gymnasium vector environment of BabyAI levels told in words.

    Observations are tuples of `num_envs` strings, rewards float64 ``[num_envs]``, ends bool ``[num_envs]``.
    ``metadata["autoreset_mode"]`` says what happens to an episode that ended:

    - ``NextStep``: the next `step` ignores this lane's action and returns the new episode's first observation, with
      reward 0 and no end;
    - ``SameStep``: the step that ends an episode returns the next one's first observation; the last one of the old
      episode is in ``infos["final_obs"]``, its info in ``infos["final_info"]``;
    - ``Disabled``: call ``reset(options={"reset_mask": ended})``.

    Args:
        level: id of one of minigrid's BabyAI levels.
        seeds: for every lane its level seeds.
        autoreset_mode: one of gymnasium's modes, or its name.
        workers: processes that share the lanes between them; 0 steps all of them in this process. The result is the
            same whatever their number.

    Raises:
        ValueError: `workers` is negative or more than the lanes.
    """

    action_words = ACTION_WORDS

    def __init__(
        self,
        level: str,
        seeds: Sequence[Iterable[int]],
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        workers: int = 0,
    ) -> None:
        mode = AutoresetMode(autoreset_mode)
        self.num_envs = len(seeds)
        if not 0 <= workers <= self.num_envs:
            raise ValueError(f"workers must lie in [0, {self.num_envs}], the number of environments, got {workers}")
        bounds = [round(self.num_envs * part / max(workers, 1)) for part in range(max(workers, 1) + 1)]
        self._chunks = [slice(start, stop) for start, stop in pairwise(bounds)]
        make_lanes = _here if workers == 0 else _elsewhere
        self._lanes = [make_lanes(level, seeds[chunk], mode.value) for chunk in self._chunks]
        single = BabyAIText(level)
        self.metadata = {**BabyAIText.metadata, "autoreset_mode": mode}
        self.single_action_space = single.action_space
        self.single_observation_space = single.observation_space
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Starts an episode in every lane.

        Args:
            seed: lane i starts with level ``seed + i`` (or ``seed[i]``) and then plays its own seeds from their first.
            options: ``{"reset_mask": bool [num_envs]}`` starts only the marked lanes.
        """
        seeds = self._lane_seeds(seed)
        mask = self._reset_mask(options)
        parts = self._call("reset", [(seeds[chunk], None if mask is None else mask[chunk]) for chunk in self._chunks])
        return _joined(parts, 0), self._merge([infos for _, infos in parts])

    def step(self, actions: Any) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Takes one action in every lane: integers ``[num_envs]``.

        Raises:
            ValueError: wrong number of actions, or one outside the action space; no lane has moved then.
        """
        checked = self._checked(actions)
        parts = self._call("step", [(checked[chunk],) for chunk in self._chunks])
        return (
            _joined(parts, 0),
            np.array(_joined(parts, 1), dtype=np.float64),
            np.array(_joined(parts, 2), dtype=np.bool_),
            np.array(_joined(parts, 3), dtype=np.bool_),
            self._merge([infos for *_, infos in parts]),
        )

    def close_extras(self, **kwargs: Any) -> None:
        for lanes in self._lanes:
            lanes.close()

    def _call(self, method: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
        """Calls a method of all chunks of lanes, at the same time where they are elsewhere."""
        if self.closed:
            raise ClosedEnvironmentError(f"{method}() after close()")
        try:
            for lanes, given in zip(self._lanes, arguments, strict=True):
                lanes.send(method, *given)
            return [lanes.receive() for lanes in self._lanes]
        except BaseException:
            # Whatever went wrong, some lanes may have moved and others not: there is no going on.
            self.close()
            raise

    def _checked(self, actions: Any) -> list[int]:
        array = np.asarray(actions)
        if array.shape != (self.num_envs,) or not np.issubdtype(array.dtype, np.integer):
            raise ValueError(
                f"actions must be {self.num_envs} integers, got {array.dtype} of shape {list(array.shape)}"
            )
        if array.min() < 0 or array.max() >= len(ACTION_WORDS):
            raise ValueError(f"actions must lie in [0, {len(ACTION_WORDS)}), got {array.min()} to {array.max()}")
        return array.tolist()

    def _lane_seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            return [int(seed) + lane for lane in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"seed must be one integer or {self.num_envs} of them, got {len(seed)}")
        return list(seed)

    def _reset_mask(self, options: dict[str, Any] | None) -> list[bool] | None:
        if options is None or "reset_mask" not in options:
            return None
        mask = np.asarray(options["reset_mask"])
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ValueError(
                f"options['reset_mask'] must be bool of shape [{self.num_envs}] with at least one True, "
                f"got {mask.dtype} of shape {list(mask.shape)}"
            )
        return mask.tolist()

    def _merge(self, chunks: list[Infos]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for chunk, infos in zip(self._chunks, chunks, strict=True):
            for lane, info in infos:
                merged = self._add_info(merged, info, chunk.start + lane)
        return merged


class _Here:
    """Lanes of this process, spoken to as a worker is."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._result: Any = None

    def send(self, method: str, *arguments: Any) -> None:
        self._result = getattr(self._lanes, method)(*arguments)

    def receive(self) -> Any:
        return self._result

    def close(self) -> None:
        self._lanes.close()


def _here(level: str, seeds: Sequence[Iterable[int]], autoreset: str) -> _Here:
    return _Here(Lanes(level, seeds, autoreset))


def _elsewhere(level: str, seeds: Sequence[Iterable[int]], autoreset: str) -> Worker:
    return Worker("pyagent.envs.lanes:Lanes", level, seeds, autoreset)


def _joined(parts: list[Any], item: int) -> tuple[Any, ...]:
    return tuple(chain.from_iterable(part[item] for part in parts))
