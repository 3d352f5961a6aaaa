"""numba: the loop of tabular Q-learning as its users write it, with the same checks of every index as ours."""

from __future__ import annotations

import numba

NAME = "numba"


@numba.njit(nogil=True)
def q_update(q_table, state, action, reward, next_state, discount, alpha):
    S, A = q_table.shape
    for i in range(len(state)):
        s, a, next_s = state[i], action[i], next_state[i]
        if s < 0 or s >= S or a < 0 or a >= A or next_s < 0 or next_s >= S:
            raise IndexError("a state or action outside of the table")
        best = q_table[next_s, 0]
        for b in range(1, A):
            best = max(best, q_table[next_s, b])
        q_table[s, a] += alpha * (reward[i] + discount[i] * best - q_table[s, a])
