"""What every update of a table of action values asks of its arguments, numpy arrays or CPU tensors, before it writes.

The compiled updates take the arguments as they are and answer False, having written nothing, to whatever is not an
array of the very dtype, shape and layout that they want, or holds an index outside of its table. Only then is anything
looked at here: it is made into such arrays, or it is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from numbers import Real
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyagent import native

Array: TypeAlias = "NDArray[Any] | Tensor"
MOST_ENTRIES = 2**31


def run(
    name: str,
    prepare: Callable[..., tuple[Any, ...]],
    reference: Callable[..., None],
    arguments: tuple[Any, ...],
    written: int = 1,
) -> None:
    """The compiled update of this name on the arguments as they are, otherwise on what `prepare` makes of them; without
    the compiled core the reference. The first `written` arguments are those that it writes."""
    compiled = getattr(native.arrays, name, None)
    if compiled is not None and compiled(*arguments):
        return
    prepared = prepare(*arguments)
    if compiled is None:
        with np.errstate(all="ignore"):
            reference(*prepared)
    elif not compiled(*prepared):
        raise RuntimeError(f"{name}: an argument was changed by another thread while it was checked")
    for table in arguments[:written]:
        if isinstance(table, Tensor):
            torch.autograd.graph.increment_version(table)


def transitions(
    q_table: NDArray[Any],
    state: Array,
    action: Array,
    reward: Array,
    next_state: Array,
    discount: Array | float,
    alpha: Array | float,
) -> tuple[Any, ...]:
    """N transitions of a table, as the compiled updates want them.

    Raises:
        TypeError, ValueError, IndexError: as the functions below, each for its kind of argument.
    """
    S, A = q_table.shape
    N = len(_array("state", state, ["N"]))
    return (
        indices("state", state, N, S),
        indices("action", action, N, A),
        numbers("reward", reward, [N], q_table.dtype),
        indices("next_state", next_state, N, S),
        number_or_numbers("discount", discount, N, q_table.dtype),
        number_or_numbers("alpha", alpha, N, q_table.dtype),
    )


def table(name: str, given: Array, shape: Sequence[int | str] = ("S", "A"), dtype: Any = None) -> NDArray[Any]:
    """An array to be written in place.

    Raises:
        TypeError: no array or tensor, or a dtype other than float32 or float64, or than `dtype`.
        ValueError: another shape, another device, not contiguous, read-only, too large, or it requires grad.
    """
    array = _array(name, given, shape)
    _check_dtype(name, array, (np.float32, np.float64) if dtype is None else (dtype,))
    if isinstance(given, Tensor) and given.requires_grad:
        raise ValueError(f"{name}: got a tensor that requires grad, want one that can be written in place")
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise ValueError(f"{name}: got an array of strides {array.strides}, want a C-contiguous one")
    if not array.flags.writeable:
        raise ValueError(f"{name}: got a read-only array, want one that can be written in place")
    if array.ndim == 2 and array.size > MOST_ENTRIES:
        raise ValueError(f"{name}: got {array.size} entries, want at most {MOST_ENTRIES}")
    return array


def indices(name: str, given: Array, N: int, size: int) -> NDArray[np.int64]:
    """Indices in [0, size).

    Raises:
        TypeError: no array or tensor, or a dtype other than int32 or int64.
        ValueError: another shape or device.
        IndexError: one is out of range.
    """
    array = _array(name, given, [N])
    _check_dtype(name, array, (np.int32, np.int64))
    wrong = np.flatnonzero((array < 0) | (array >= size))
    if wrong.size:
        raise IndexError(f"{name}: got {array[wrong[0]]} at place {wrong[0]}, want 0 to {size - 1}")
    return np.require(array, np.int64, ["C", "A"])


def numbers(name: str, given: Array, shape: Sequence[int | str], dtype: Any) -> NDArray[Any]:
    """Numbers of the table's dtype.

    Raises:
        TypeError: no array or tensor, or another dtype.
        ValueError: another shape or device.
    """
    array = _array(name, given, shape)
    _check_dtype(name, array, (dtype,))
    return np.require(array, None, ["C", "A"])


def number_or_numbers(name: str, given: Array | float, N: int, dtype: Any) -> float | NDArray[Any]:
    """One number for all transitions (an array or tensor without dimensions among them), or one for each.

    Raises:
        TypeError: neither a number nor an array or tensor, or another dtype than the table's.
        ValueError: another shape or device.
    """
    if isinstance(given, Real):
        return float(given)
    if getattr(given, "ndim", None) == 0:
        return float(_array(name, given, []))
    return numbers(name, cast("Array", given), [N], dtype)


def flags(name: str, given: Array, N: int) -> NDArray[np.bool_]:
    """Booleans.

    Raises:
        TypeError: no array or tensor, or another dtype.
        ValueError: another shape or device.
    """
    array = _array(name, given, [N])
    _check_dtype(name, array, (np.bool_,))
    return np.require(array, None, ["C", "A"])


def in_order(dtype: Any, *columns: NDArray[Any] | float) -> Iterator[tuple[Any, ...]]:
    """The transitions one by one, for the references; a number stands in all of them, in the table's dtype."""
    N = len(next(column for column in columns if isinstance(column, np.ndarray)))
    return zip(
        *(column if isinstance(column, np.ndarray) else [dtype.type(column)] * N for column in columns), strict=True
    )


def _array(name: str, given: Any, shape: Sequence[int | str]) -> NDArray[Any]:
    """A view of an array or a tensor; the size of a dimension is named by a letter where any will do."""
    if isinstance(given, Tensor):
        if given.device.type != "cpu" or given.layout is not torch.strided:
            layout = "" if given.layout is torch.strided else f"{str(given.layout).removeprefix('torch.')} "
            raise ValueError(f"{name}: got a {layout}tensor on {given.device}, want a strided one on the CPU")
        if given.dtype is torch.bfloat16:
            raise TypeError(f"{name}: got bfloat16, which numpy does not have")
        array = given.detach().numpy()
    elif isinstance(given, np.ndarray):
        array = given
    else:
        raise TypeError(f"{name}: got {type(given).__name__}, want a numpy array or a CPU tensor")
    if array.ndim != len(shape) or any(isinstance(n, int) and n != m for n, m in zip(shape, array.shape, strict=True)):
        raise ValueError(f"{name}: got shape {array.shape}, want [{', '.join(map(str, shape))}]")
    return array


def _check_dtype(name: str, array: NDArray[Any], dtypes: Sequence[Any]) -> None:
    if array.dtype not in [np.dtype(dtype) for dtype in dtypes]:
        raise TypeError(f"{name}: got {array.dtype}, want {' or '.join(str(np.dtype(dtype)) for dtype in dtypes)}")
