"""Tabular Q-learning, a batch of transitions at a time."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from pyagent.ops.q_update_cuda import q_update_cuda
from pyagent.ops.table_arguments import Array, in_order, run, table, transitions


def q_update(
    q_table: Array,
    state: Array,
    action: Array,
    reward: Array,
    next_state: Array,
    discount: Array | float,
    alpha: Array | float,
) -> None:
    """Moves the values of the actions taken towards what followed, in place. For i = 0 … N−1, in this order:

        Q(s_i, a_i) ← Q(s_i, a_i) + alpha_i · (reward_i + discount_i · max_a Q(s'_i, a) − Q(s_i, a_i))

    Every transition sees what those before it wrote, so a pair that occurs several times moves several times. The
    result is that of this loop in numpy in the table's dtype, bit for bit: rounded after each operation.

    Args:
        q_table: Q, `[S, A]`, float32 or float64, C-contiguous, at most 2³¹ entries; written in place.
        state, action, next_state: `[N]`, int32 or int64.
        reward: `[N]`, of the table's dtype.
        discount: γ · (1 − terminated): `[N]` of the table's dtype, or one number for all, which is rounded to it. The
            row of s'_i is read even where this is 0, as the loop does: s'_i has to be a state, and NaN or an infinity
            there reaches Q(s_i, a_i).
        alpha: the learning rate, like `discount`.

    Arrays are numpy arrays or CPU tensors, in any mix; tensors share their memory with numpy, and no gradient flows.
    Other threads run Python meanwhile. NaN in, NaN out. Or all are CUDA tensors: then nothing waits for the device, and
    a state or action outside of the table leaves it unchanged and is raised by `pyagent.cuda.check()`.

    Raises:
        TypeError: an argument is neither an array nor a tensor, or has another dtype.
        ValueError: a wrong shape, a tensor that is not on the CPU, or a table that cannot be written in place
            (read-only, not C-contiguous, requires grad) or has more than 2³¹ entries.
        IndexError: a state or action outside of the table.
        Nothing was written where one is raised.

    Watkins and Dayan 1992, "Q-learning", Machine Learning 8, 279–292.
    """
    if isinstance(q_table, Tensor) and q_table.is_cuda:
        return q_update_cuda(q_table, state, action, reward, next_state, discount, alpha)  # type: ignore[arg-type]
    run("q_update", _prepared, q_update_reference, (q_table, state, action, reward, next_state, discount, alpha))


def q_update_reference(
    q_table: NDArray[Any],
    state: NDArray[Any],
    action: NDArray[Any],
    reward: NDArray[Any],
    next_state: NDArray[Any],
    discount: NDArray[Any] | float,
    alpha: NDArray[Any] | float,
) -> None:
    """The loop of `q_update` in numpy, without its checks."""
    columns = in_order(q_table.dtype, state, action, reward, next_state, discount, alpha)
    for s, a, r_t, next_s, discount_t, alpha_t in columns:
        target = r_t + discount_t * q_table[next_s].max()
        q_table[s, a] += alpha_t * (target - q_table[s, a])


def _prepared(q_table: Array, *batch: Any) -> tuple[Any, ...]:
    q = table("q_table", q_table)
    return q, *transitions(q, *batch)
