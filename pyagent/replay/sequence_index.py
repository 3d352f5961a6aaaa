"""Which sequences a ring of steps holds, where they are, and how likely each is to be drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyagent.replay.sum_tree import SumTree

Integers = NDArray[np.int64]


class SequenceIndex:
    """Sequences of `num_steps` steps that start every `period` steps of a lane which keeps its last `rows` steps.

    Steps and starts of a lane are counted from its first. Start k is step `k · period`; it takes slot `k % slots` of
    its lane, and by the time that start k + slots takes it over, the first step of k is overwritten. A sequence has a
    priority above 0 from its last step on until its first step is overwritten. Its id is `k · B + lane`.
    """

    def __init__(self, num_lanes: int, rows: int, period: int, num_steps: int) -> None:
        self.num_lanes, self.rows, self.period, self.num_steps = num_lanes, rows, period, num_steps
        self.slots = -(-rows // period)
        self.written = np.zeros(num_lanes, np.int64)
        """steps of each lane so far"""
        self.largest = 1.0
        """the largest priority that any sequence had; what new ones get"""
        self._tree = SumTree(num_lanes * self.slots)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def starting(self) -> NDArray[np.bool_]:
        """bool `[B]`: the next step of the lane starts a sequence."""
        return self.written % self.period == 0

    @property
    def filled_rows(self) -> int:
        """Rows that any lane has reached; the rest were never written."""
        return min(int(self.written.max()), self.rows)

    @property
    def filled_slots(self) -> int:
        return min(-(-int(self.written.max()) // self.period), self.slots)

    def advance(self, lane: Integers) -> tuple[Integers, Integers]:
        """Count one more step of these lanes and drop what it overwrites.

        Returns:
            lanes and first steps of the sequences that are complete now; `enter` them.
        """
        step = self.written[lane]
        dropped = (step >= self.rows) & ((step - self.rows) % self.period == 0)
        if dropped.any():
            leaf = self._leaf(lane[dropped], (step[dropped] - self.rows) // self.period)
            self._count -= int(np.count_nonzero(self._tree.get(leaf)))
            self._tree.update(leaf, 0.0)
        self.written[lane] += 1
        start = step + 1 - self.num_steps
        complete = (start >= 0) & (start % self.period == 0)
        return lane[complete], start[complete]

    def enter(self, lane: Integers, start: Integers, wanted: NDArray[np.bool_]) -> None:
        """Give complete sequences the largest priority, or, where not `wanted`, none."""
        if len(lane):
            self._tree.update(self._leaf(lane, start // self.period), np.where(wanted, self.largest, 0.0))
            self._count += int(np.count_nonzero(wanted))

    def sample(
        self, draws: int, generator: np.random.Generator | int
    ) -> tuple[Integers, Integers, NDArray[np.float64]]:
        """Lane, number of its start and priority of sequences drawn in proportion to it."""
        leaf, priority = self._tree.sample(draws, generator)
        lane, slot = np.divmod(leaf, self.slots)
        return lane, self._number_at(lane, slot), priority

    def ids(self, lane: Integers, number: Integers) -> Integers:
        return number * self.num_lanes + lane

    def update(self, ids: Integers, priority: NDArray[np.float64]) -> None:
        """Set priorities, all above 0; sequences that were dropped are passed over.

        Raises:
            IndexError: an id of a sequence that was never complete; ValueError: a priority that the tree refuses.
        """
        number, lane = np.divmod(ids, self.num_lanes)
        unknown = (number < 0) | (number > (self.written[lane] - self.num_steps) // self.period)
        if unknown.any():
            raise IndexError(f"ids: got {ids[unknown][0]}, which no sample of this replay holds")
        leaf = self._leaf(lane, number)
        # A priority of 0: dropped and not yet replaced, or never to be drawn.
        there = (self._number_at(lane, number % self.slots) == number) & (self._tree.get(leaf) > 0.0)
        self._tree.update(leaf[there], priority[there])
        self.largest = max(self.largest, float(priority[there].max(initial=0.0)))

    def priorities(self) -> NDArray[np.float64]:
        return self._tree.state_dict()["priority"]

    def restore(self, written: Integers, priority: NDArray[np.float64], largest: float) -> None:
        """Take over another index of the same sizes.

        Raises:
            ValueError: negative counts, or priorities that the tree refuses; nothing is changed.
        """
        if written.min() < 0 or not 0.0 < largest < np.inf:
            raise ValueError(f"written, largest: got {written.min()} and {largest}, want at least 0 and above 0")
        self._tree.load_state_dict({"priority": priority})
        self.written[:], self.largest = written, largest
        self._count = int(np.count_nonzero(priority))

    def _leaf(self, lane: Integers, number: Integers) -> Integers:
        return lane * self.slots + number % self.slots

    def _number_at(self, lane: Integers, slot: Integers) -> Integers:
        """The last start of the lane that took the slot."""
        newest = (self.written[lane] - 1) // self.period
        return newest - (newest - slot) % self.slots
