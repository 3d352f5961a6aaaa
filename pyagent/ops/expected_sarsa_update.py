"""Tabular expected SARSA, a batch of transitions at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyagent.ops.table_arguments import Array, in_order, numbers, run, table, transitions


def expected_sarsa_update(
    q_table: Array,
    state: Array,
    action: Array,
    reward: Array,
    next_state: Array,
    next_probability: Array,
    discount: Array | float,
    alpha: Array | float,
) -> None:
    """Moves the values of the actions taken towards what should follow, in place. For i = 0 … N−1, in this order:

        Q(s_i, a_i) ← Q(s_i, a_i) + alpha_i · (reward_i + discount_i · Σ_a π_i(a) Q(s'_i, a) − Q(s_i, a_i))

    Args:
        q_table, state, action, reward, next_state, discount, alpha: as in `q_update`, whose rules on order, rounding,
            NaN and discounts of 0 hold here too. The sum is made from left to right, as `numpy.add.accumulate` does.
        next_probability: π, `[N, A]` of the table's dtype: the probability of every action in s'. It is not checked to
            be a distribution.

    Raises:
        TypeError, ValueError, IndexError: as `q_update`; nothing was written.

    van Seijen et al. 2009, "A theoretical and empirical analysis of Expected Sarsa", ADPRL.
    """
    arguments = (q_table, state, action, reward, next_state, next_probability, discount, alpha)
    run("expected_sarsa_update", _prepared, expected_sarsa_update_reference, arguments)


def expected_sarsa_update_reference(
    q_table: NDArray[Any],
    state: NDArray[Any],
    action: NDArray[Any],
    reward: NDArray[Any],
    next_state: NDArray[Any],
    next_probability: NDArray[Any],
    discount: NDArray[Any] | float,
    alpha: NDArray[Any] | float,
) -> None:
    """The loop of `expected_sarsa_update` in numpy, without its checks."""
    columns = in_order(q_table.dtype, state, action, reward, next_state, next_probability, discount, alpha)
    for s, a, r_t, next_s, pi_t, discount_t, alpha_t in columns:
        target = r_t + discount_t * np.add.accumulate(pi_t * q_table[next_s])[-1]
        q_table[s, a] += alpha_t * (target - q_table[s, a])


def _prepared(
    q_table: Array,
    state: Array,
    action: Array,
    reward: Array,
    next_state: Array,
    next_probability: Array,
    *rates: Any,
) -> tuple[Any, ...]:
    q = table("q_table", q_table)
    s, a, r, next_s, discount, alpha = transitions(q, state, action, reward, next_state, *rates)
    probability = numbers("next_probability", next_probability, [len(s), q.shape[1]], q.dtype)
    return q, s, a, r, next_s, probability, discount, alpha
