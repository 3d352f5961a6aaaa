"""Where the steps of a replay lie, in memory or in files, and how sequences are gathered from them."""

from __future__ import annotations

import itertools
import math
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyagent import native

Spec = tuple[tuple[int, ...], np.dtype[Any]]
"""shape and dtype"""


class Storage(dict[str, NDArray[Any]]):
    """Arrays of zeros by name; as `.npy` files, mapped, where they take more than `memory_limit` or have a `path`."""

    def __init__(self, specs: Mapping[str, Spec], memory_limit: int | None, path: str | Path | None) -> None:
        bytes_needed = sum(math.prod(shape) * dtype.itemsize for shape, dtype in specs.values())
        if path is None and (memory_limit is None or bytes_needed <= memory_limit):
            super().__init__((name, np.zeros(*spec)) for name, spec in specs.items())
            return
        if path is None:
            path = tempfile.mkdtemp(prefix="pyagent-replay-")
            weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        # Names of fields are the user's and may not be names of files.
        files = (folder / f"{number}.npy" for number in itertools.count())
        for file, (name, (shape, dtype)) in zip(files, specs.items(), strict=False):
            self[name] = np.asarray(np.lib.format.open_memmap(file, "w+", dtype, shape))


def gather(steps: NDArray[Any], lane: NDArray[np.int64], start: NDArray[np.int64], length: int) -> NDArray[Any]:
    """`result[t, i] = steps[lane[i], (start[i] + t) % R]`: sequences `[length, n, …]` from a ring `[B, R, …]`."""
    result = np.empty((length, len(lane), *steps.shape[2:]), steps.dtype)
    native.need_arrays("gather").gather_sequences(steps, lane, start, result)
    return result


def field_spec(name: str, spec: Any) -> Spec:
    """Raises TypeError unless it is a shape and a dtype of numbers; ValueError for a negative size."""
    try:
        shape, dtype = tuple(int(size) for size in spec[0]), np.dtype(spec[1])
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise TypeError(f"field {name!r}: got {spec!r}, want (shape, dtype)") from error
    if dtype.kind not in "biufc":
        raise TypeError(f"field {name!r}: got {dtype}, want a dtype of numbers")
    if any(size < 0 for size in shape):
        raise ValueError(f"field {name!r}: got shape {shape}, want no negative size")
    return shape, dtype


def checked(name: str, value: ArrayLike, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """`value` as an array of this shape and dtype.

    Raises:
        ValueError: another shape, or integers that the dtype does not hold.
        TypeError: a dtype of another kind.
    """
    array = np.asarray(value)
    if array.shape != tuple(shape):
        raise ValueError(f"{name}: got shape {array.shape}, want {tuple(shape)}")
    if array.dtype == dtype:
        return array
    if array.dtype.kind in "iu" and dtype.kind in "iu":
        cast = array.astype(dtype)
        if not np.array_equal(cast, array):
            raise ValueError(f"{name}: got {array.min()} to {array.max()}, want what {dtype} holds")
        return cast
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise TypeError(f"{name}: got {array.dtype}, want {dtype}")
    return array.astype(dtype)
