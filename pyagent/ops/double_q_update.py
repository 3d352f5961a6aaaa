"""Tabular double Q-learning, a batch of transitions at a time."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from pyagent.ops.table_arguments import Array, flags, in_order, run, table, transitions


def double_q_update(
    q_a: Array,
    q_b: Array,
    update_a: Array,
    state: Array,
    action: Array,
    reward: Array,
    next_state: Array,
    discount: Array | float,
    alpha: Array | float,
) -> None:
    """Q-learning in two tables, in place: one chooses the action in s', the other says what it is worth, so that the
    maximum over noise does not pass for value. For i = 0 … N−1, in this order, with Q the table that learns (Q_A where
    `update_a`, otherwise Q_B) and Q' the other one:

        a* = argmax_a Q(s'_i, a), the first of several
        Q(s_i, a_i) ← Q(s_i, a_i) + alpha_i · (reward_i + discount_i · Q'(s'_i, a*) − Q(s_i, a_i))

    Args:
        q_a, q_b: `[S, A]`, like the table of `q_update`, whose rules on order, rounding, NaN and discounts of 0 hold
            here too; argmax takes NaN for the largest, as numpy does.
        update_a: bool `[N]`: which table learns; usually a fair coin for each transition.
        state, action, reward, next_state, discount, alpha: as in `q_update`.

    Raises:
        TypeError, ValueError, IndexError: as `q_update`; nothing was written.

    van Hasselt 2010, "Double Q-learning", NeurIPS.
    """
    arguments = (q_a, q_b, update_a, state, action, reward, next_state, discount, alpha)
    run("double_q_update", _prepared, double_q_update_reference, arguments, written=2)


def double_q_update_reference(
    q_a: NDArray[Any],
    q_b: NDArray[Any],
    update_a: NDArray[Any],
    state: NDArray[Any],
    action: NDArray[Any],
    reward: NDArray[Any],
    next_state: NDArray[Any],
    discount: NDArray[Any] | float,
    alpha: NDArray[Any] | float,
) -> None:
    """The loop of `double_q_update` in numpy, without its checks."""
    columns = in_order(q_a.dtype, update_a, state, action, reward, next_state, discount, alpha)
    for first, s, a, r_t, next_s, discount_t, alpha_t in columns:
        q, other = (q_a, q_b) if first else (q_b, q_a)
        target = r_t + discount_t * other[next_s, q[next_s].argmax()]
        q[s, a] += alpha_t * (target - q[s, a])


def _prepared(q_a: Array, q_b: Array, update_a: Array, *batch: Any) -> tuple[Any, ...]:
    first = table("q_a", q_a)
    second = table("q_b", q_b, first.shape, first.dtype)
    step = transitions(first, *batch)
    return first, second, flags("update_a", update_a, len(step[0])), *step
