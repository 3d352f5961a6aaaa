"""Random draws for level generation: numpy's own stream, drawn faster.

Generating a level takes dozens of small random integers, and `numpy.random.Generator.integers` spends far more time on
its arguments than on the number. `Draws` takes the raw numbers of numpy's PCG64 and reduces them to a range as numpy
does (Lemire 2019, "Fast random integer generation in an interval"), so that the same seed gives the same level. numpy
may change its streams from release to release: where it has, `Draws.of` notices and asks numpy itself.
"""

from __future__ import annotations

from functools import cache

import numpy as np

_LOW_HALF = 0xFFFFFFFF
_DOUBLE = 1.0 / 2**53


class Draws:
    """Uniform integers and floats from one generator, each the very one that the generator would return."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator
        self._raw = generator.bit_generator.random_raw
        self._half = -1  # the upper 32 bits of the last raw number, while they are unused

    @staticmethod
    def of(generator: np.random.Generator, previous: Draws | None = None) -> Draws:
        """Draws from this generator; `previous` goes on if it draws from the same one."""
        if previous is not None and previous.generator is generator:
            return previous
        return (Draws if _follows_numpy(type(generator.bit_generator)) else _NumpyDraws)(generator)

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high)."""
        span = high - low
        if span <= 1:
            if span < 1:
                raise ValueError(f"low must be below high, got {low} and {high}")
            return low
        while True:
            if self._half < 0:
                raw = self._raw()
                self._half = raw >> 32
                product = (raw & _LOW_HALF) * span
            else:
                product = self._half * span
                self._half = -1
            remainder = product & _LOW_HALF
            if remainder >= span or remainder >= (1 << 32) % span:
                return low + (product >> 32)

    def uniform(self, low: float, high: float) -> float:
        """A float in [low, high)."""
        return low + (high - low) * ((self._raw() >> 11) * _DOUBLE)


class _NumpyDraws(Draws):
    """The same through numpy's public functions."""

    def integer(self, low: int, high: int) -> int:
        return int(self.generator.integers(low, high))

    def uniform(self, low: float, high: float) -> float:
        return float(self.generator.uniform(low, high))


@cache
def _follows_numpy(kind: type) -> bool:
    """Whether `Draws` gives the numbers that the installed numpy gives."""
    if kind is not np.random.PCG64:
        return False
    ours = Draws(np.random.Generator(kind(0)))
    numpys = _NumpyDraws(np.random.Generator(kind(0)))
    spans = (2, 6, 1, 3, 7, 22, 3_000_000_000, 5, 8)
    return all(
        ours.integer(-1, span - 1) == numpys.integer(-1, span - 1) and ours.uniform(0, 2) == numpys.uniform(0, 2)
        for span in spans * 20
    )
