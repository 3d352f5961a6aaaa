"""Draw items in proportion to their priorities, and change priorities, in O(log N) each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyagent import native


class SumTree:
    """Priorities p_0 … p_{capacity−1} ≥ 0 (all 0 at first), and their sums in a tree of 16 children a node.

    Priorities are kept in float32 (one above 0 stays above 0), sums in float64.

    `P(i) = p_i / Σ_k p_k`. An item is drawn by a prefix sum s in [0, Σ p): it is the smallest i with
    `s < p_0 + … + p_i`. An item of priority 0 is never drawn, in spite of rounding.

    Every sum is the sum of its children, made again at each update in a fixed order: the tree is a function of its
    priorities alone, so it does not drift, and one restored from its priorities draws exactly the same.
    The native calls run without the GIL; one tree may be used from several threads, which take turns.

    Schaul et al., Prioritized Experience Replay, 2016, arXiv:1511.05952.

    Args:
        capacity: how many items, at least 1.

    Raises:
        ValueError: `capacity` is below 1; `TypeError`: it is no integer.
        ImportError: there is no compiled core.
    """

    def __init__(self, capacity: int) -> None:
        if isinstance(capacity, bool) or not isinstance(capacity, (int, np.integer)):
            raise TypeError(f"capacity: got {type(capacity).__name__}, want an integer")
        self._tree = native.need_arrays("SumTree").SumTree(int(capacity))

    def __len__(self) -> int:
        return self._tree.capacity

    @property
    def capacity(self) -> int:
        return self._tree.capacity

    @property
    def total(self) -> float:
        """Σ p."""
        return self._tree.total()

    def update(self, index: ArrayLike, priority: ArrayLike) -> None:
        """Set `p[index] = priority`; of equal indices the last one counts.

        Args:
            index: integers `[n]`.
            priority: float `[n]`, or one number for all.

        Raises:
            IndexError: an index outside the tree.
            ValueError: a priority below 0, not finite, or above float32's largest; a wrong shape.
            TypeError: no integers, no real numbers. The tree is unchanged after any of these.
        """
        self._tree.update(index, priority)

    def get(self, index: ArrayLike) -> NDArray[np.float64]:
        """p[index] as it is kept, in float64 `[n]`.

        Raises:
            IndexError: an index outside the tree. ValueError, TypeError: as `update`.
        """
        return self._tree.get(index)

    def find(self, prefix_sums: ArrayLike) -> NDArray[np.int64]:
        """The item of each prefix sum: the smallest i with `s < p_0 + … + p_i`; for s = Σ p the last of priority > 0.

        Args:
            prefix_sums: float `[n]`, each between 0 and the total.

        Returns:
            int64 `[n]`.

        Raises:
            ValueError: a prefix sum that is NaN, negative or above the total; every priority is 0; a wrong shape.
            TypeError: no real numbers.
        """
        return self._tree.find(prefix_sums)[0]

    def sample(
        self,
        draws: int | ArrayLike,
        generator: np.random.Generator | int | None = None,
        *,
        stratified: bool = True,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Draw n items with replacement, each with probability P(i).

        The same generator state (or seed, or uniforms) and priorities give the same items.

        Args:
            draws: n, or the n uniforms in [0, 1] to draw with.
            generator: draws the uniforms where `draws` is a number; an integer seeds a new one.
            stratified: draw k takes its prefix sum from the k-th of n equal parts of [0, Σ p), which spreads a batch
                over all priorities without changing what any item can expect; otherwise from all of it.

        Returns:
            index int64 `[n]` and its priority float64 `[n]`.

        Raises:
            ValueError: every priority is 0; n below 0; a uniform outside [0, 1]; a wrong shape.
            TypeError: no generator for a number of draws; no real numbers.
        """
        if isinstance(draws, (int, np.integer)):
            if generator is None:
                raise TypeError("generator: got None, want a numpy Generator or a seed")
            if draws < 0:
                raise ValueError(f"draws: got {draws}, want at least 0")
            if not isinstance(generator, np.random.Generator):
                generator = np.random.default_rng(generator)
            draws = generator.random(draws)
        return self._tree.sample(draws, bool(stratified))

    def state_dict(self) -> dict[str, Any]:
        """The priorities, float64 `[capacity]`: all there is to know."""
        return {"priority": self.get(np.arange(self.capacity))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the priorities of a tree of the same capacity.

        Raises:
            ValueError: another capacity, or a priority that `update` refuses; KeyError: no priorities in it.
        """
        priority = np.asarray(state["priority"])
        if priority.shape != (self.capacity,):
            raise ValueError(f"priority: got shape {priority.shape}, want [{self.capacity}]")
        self.update(np.arange(self.capacity), priority)

    def __getstate__(self) -> dict[str, Any]:
        return self.state_dict()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(len(state["priority"]))
        self.load_state_dict(state)
