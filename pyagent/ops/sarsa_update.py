"""Tabular SARSA, a batch of transitions at a time."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from pyagent.ops.table_arguments import Array, in_order, indices, run, table, transitions


def sarsa_update(
    q_table: Array,
    state: Array,
    action: Array,
    reward: Array,
    next_state: Array,
    next_action: Array,
    discount: Array | float,
    alpha: Array | float,
) -> None:
    """Moves the values of the actions taken towards what followed, in place. For i = 0 … N−1, in this order:

        Q(s_i, a_i) ← Q(s_i, a_i) + alpha_i · (reward_i + discount_i · Q(s'_i, a'_i) − Q(s_i, a_i))

    Args:
        q_table, state, action, reward, next_state, discount, alpha: as in `q_update`, whose rules on order, rounding,
            NaN and discounts of 0 hold here too.
        next_action: a', `[N]`, int32 or int64: what is done in s' (any action, where the discount is 0).

    Raises:
        TypeError, ValueError, IndexError: as `q_update`; nothing was written.

    Rummery and Niranjan 1994, "On-line Q-learning using connectionist systems", CUED/F-INFENG/TR 166.
    """
    arguments = (q_table, state, action, reward, next_state, next_action, discount, alpha)
    run("sarsa_update", _prepared, sarsa_update_reference, arguments)


def sarsa_update_reference(
    q_table: NDArray[Any],
    state: NDArray[Any],
    action: NDArray[Any],
    reward: NDArray[Any],
    next_state: NDArray[Any],
    next_action: NDArray[Any],
    discount: NDArray[Any] | float,
    alpha: NDArray[Any] | float,
) -> None:
    """The loop of `sarsa_update` in numpy, without its checks."""
    columns = in_order(q_table.dtype, state, action, reward, next_state, next_action, discount, alpha)
    for s, a, r_t, next_s, next_a, discount_t, alpha_t in columns:
        target = r_t + discount_t * q_table[next_s, next_a]
        q_table[s, a] += alpha_t * (target - q_table[s, a])


def _prepared(
    q_table: Array,
    state: Array,
    action: Array,
    reward: Array,
    next_state: Array,
    next_action: Array,
    *rates: Any,
) -> tuple[Any, ...]:
    q = table("q_table", q_table)
    s, a, r, next_s, discount, alpha = transitions(q, state, action, reward, next_state, *rates)
    return q, s, a, r, next_s, indices("next_action", next_action, len(s), q.shape[1]), discount, alpha
