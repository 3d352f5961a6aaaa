"""Watkins's Q(λ) with eligibility traces, a batch of transitions at a time."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from pyagent.ops.table_arguments import Array, in_order, indices, number_or_numbers, run, table, transitions


def q_lambda_update(
    q_table: Array,
    trace: Array,
    state: Array,
    action: Array,
    reward: Array,
    next_state: Array,
    next_action: Array,
    discount: Array | float,
    alpha: Array | float,
    lambda_: Array | float,
    replacing: bool = True,
) -> None:
    """Q-learning that teaches the pairs that led here as well, in place. For i = 0 … N−1, in this order:

        δ = reward_i + discount_i · max_a Q(s'_i, a) − Q(s_i, a_i)
        greedy = Q(s'_i, a'_i) is that maximum
        e(s_i, a_i) ← 1, or e(s_i, a_i) + 1 where traces accumulate
        for all pairs with e ≠ 0:
            Q ← Q + (alpha_i · δ) · e
            e ← (discount_i · λ_i) · e if greedy, otherwise 0

    A discount of 0 ends a trace, and so does an action that explores; whoever cuts an episode short while its discount
    is not 0 sets the trace to 0. λ = 0 is `q_update`.

    Args:
        q_table, state, action, reward, next_state, discount, alpha: as in `q_update`, whose rules on order, rounding,
            NaN and discounts of 0 hold here too.
        trace: e, of the table's dtype, C-contiguous, written in place: `[S, A]` where the transitions follow on one
            another in one lane, or `[N, S, A]` where each is a step of its own lane. Zeros where an episode starts.
        next_action: a', `[N]`, int32 or int64: what is done in s'.
        lambda_: λ, like `discount`.
        replacing: traces of 1 at every visit (Singh and Sutton); False adds 1 (Watkins).

    Raises:
        TypeError, ValueError, IndexError: as `q_update`; nothing was written.

    Watkins 1989, "Learning from delayed rewards", PhD thesis, Cambridge; Singh and Sutton 1996, "Reinforcement learning
    with replacing eligibility traces", Machine Learning 22, 123–158.
    """
    arguments = (q_table, trace, state, action, reward, next_state, next_action, discount, alpha, lambda_, replacing)
    run("q_lambda_update", _prepared, q_lambda_update_reference, arguments, written=2)


def q_lambda_update_reference(
    q_table: NDArray[Any],
    trace: NDArray[Any],
    state: NDArray[Any],
    action: NDArray[Any],
    reward: NDArray[Any],
    next_state: NDArray[Any],
    next_action: NDArray[Any],
    discount: NDArray[Any] | float,
    alpha: NDArray[Any] | float,
    lambda_: NDArray[Any] | float,
    replacing: bool = True,
) -> None:
    """The loop of `q_lambda_update` in numpy, without its checks."""
    traces = trace if trace.ndim == 3 else [trace] * len(state)
    columns = in_order(q_table.dtype, state, action, reward, next_state, next_action, discount, alpha, lambda_)
    for e, (s, a, r_t, next_s, next_a, discount_t, alpha_t, lambda_t) in zip(traces, columns, strict=True):
        best = q_table[next_s].max()
        delta = r_t + discount_t * best - q_table[s, a]
        greedy = q_table[next_s, next_a] == best
        e[s, a] = 1 if replacing else e[s, a] + 1
        visited = e != 0
        q_table[visited] += (alpha_t * delta) * e[visited]
        e[visited] = (discount_t * lambda_t) * e[visited] if greedy else 0


def _prepared(
    q_table: Array,
    trace: Array,
    state: Array,
    action: Array,
    reward: Array,
    next_state: Array,
    next_action: Array,
    discount: Array | float,
    alpha: Array | float,
    lambda_: Array | float,
    replacing: bool,
) -> tuple[Any, ...]:
    q = table("q_table", q_table)
    s, a, r, next_s, discount, alpha = transitions(q, state, action, reward, next_state, discount, alpha)
    shape = q.shape if getattr(trace, "ndim", 2) == 2 else (len(s), *q.shape)
    return (
        *(q, table("trace", trace, shape, q.dtype), s, a, r, next_s),
        indices("next_action", next_action, len(s), q.shape[1]),
        *(discount, alpha, number_or_numbers("lambda_", lambda_, len(s), q.dtype), bool(replacing)),
    )
