"""What a batch of evaluation episodes says, with intervals, and the comparison of two on the same seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyagent.evaluation.intervals import (
    Estimate,
    mean_interval,
    paired_mean_difference,
    paired_rate_difference,
    wilson_interval,
)


@dataclass(frozen=True, eq=False)
class EpisodeStatistics:
    """One episode a seed, in the order of `seeds`.

    Args:
        seeds: int64 [N], the seed each episode was reset with.
        rewards: float64 [N], undiscounted sum of rewards.
        lengths: int64 [N], steps until the episode ended.
        successes: bool [N], or None where the environment does not say `info["is_success"]` at an episode's end.

    Raises:
        ValueError: no episodes, or fields of different lengths.
    """

    seeds: NDArray[np.int64]
    rewards: NDArray[np.float64]
    lengths: NDArray[np.int64]
    successes: NDArray[np.bool_] | None

    def __post_init__(self) -> None:
        shapes = {field.shape for field in (self.seeds, self.rewards, self.lengths)}
        if self.successes is not None:
            shapes.add(self.successes.shape)
        if len(shapes) != 1 or len(self.seeds.shape) != 1 or self.seeds.size == 0:
            raise ValueError(f"seeds, rewards, lengths, successes: want one shape [N] with N >= 1, got {shapes}")

    def __len__(self) -> int:
        return self.seeds.size

    @property
    def success_rate(self) -> Estimate:
        """Share of successful episodes with Wilson's 95 % interval."""
        return wilson_interval(int(self._known_successes().sum()), len(self))

    @property
    def mean_reward(self) -> Estimate:
        """Mean reward of an episode with Student's 95 % interval."""
        return mean_interval(self.rewards)

    @property
    def mean_length(self) -> Estimate:
        """Mean steps of an episode with Student's 95 % interval."""
        return mean_interval(self.lengths)

    def success_difference(self, other: EpisodeStatistics) -> Estimate:
        """Own success rate minus that of `other`, paired by seed, with Newcombe's 95 % interval."""
        order = self._same_seeds(other)
        return paired_rate_difference(self._known_successes(), other._known_successes()[order])

    def reward_difference(self, other: EpisodeStatistics) -> Estimate:
        """Own mean reward minus that of `other`, paired by seed, with the paired t interval (95 %)."""
        order = self._same_seeds(other)
        return paired_mean_difference(self.rewards, other.rewards[order])

    def seeds_text(self) -> str:
        """The seeds by name: `512 seeds 10000…10511`, or `3 seeds 1, 5, 9` for a few that are not a range."""
        seeds = np.sort(self.seeds)
        noun = "seed" if seeds.size == 1 else "seeds"
        if seeds.size > 2 and np.array_equal(seeds, np.arange(seeds[0], seeds[0] + seeds.size)):
            return f"{seeds.size} {noun} {seeds[0]}…{seeds[-1]}"
        if seeds.size <= 8:
            return f"{seeds.size} {noun} {', '.join(map(str, seeds))}"
        return f"{seeds.size} {noun} between {seeds[0]} and {seeds[-1]}"

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values, one list a field; `from_json` reads it back."""
        return {
            "seeds": self.seeds.tolist(),
            "rewards": self.rewards.tolist(),
            "lengths": self.lengths.tolist(),
            "successes": None if self.successes is None else self.successes.tolist(),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Sequence[Any] | None]) -> EpisodeStatistics:
        """The statistics that `to_json` wrote."""
        successes = fields["successes"]
        return cls(
            np.asarray(fields["seeds"], dtype=np.int64),
            np.asarray(fields["rewards"], dtype=np.float64),
            np.asarray(fields["lengths"], dtype=np.int64),
            None if successes is None else np.asarray(successes, dtype=np.bool_),
        )

    def _known_successes(self) -> NDArray[np.bool_]:
        if self.successes is None:
            raise ValueError('successes: the environment did not say info["is_success"], so there is no success rate')
        return self.successes

    def _same_seeds(self, other: EpisodeStatistics) -> NDArray[np.int64]:
        """Where each of our seeds stands in `other`."""
        ours, theirs = np.argsort(self.seeds, kind="stable"), np.argsort(other.seeds, kind="stable")
        if not np.array_equal(self.seeds[ours], other.seeds[theirs]):
            raise ValueError(
                f"seeds: a paired comparison wants the same, got {self.seeds_text()}; {other.seeds_text()}"
            )
        order = np.empty(len(self), dtype=np.int64)
        order[ours] = theirs
        return order
