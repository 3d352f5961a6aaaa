"""Discounted returns."""

from __future__ import annotations

from torch import Tensor

from pyagent.ops.checks import check_tensor
from pyagent.ops.linear_scan import check_steps, check_v_final, compiled, cut_reference, evaluate, scan_reference


def discounted_returns(
    r_t: Tensor, discount_t: Tensor, v_T: Tensor, *, truncated: Tensor | None = None, v_final: Tensor | None = None
) -> Tensor:
    """Discounted sums `[T, B]` of the rewards to come, and of what the last step leads to.

    Backwards from G_T = v_T:

        G_t = r_t + discount_t · G_{t+1}

    and G_t = r_t + discount_t · v_final_t where truncated.

    Args:
        r_t: rewards `[T, B]`, float32 or float64.
        discount_t: `[T, B]`, γ where the episode goes on after r_t (truncated or not) and 0 where it terminated there.
        v_T: `[B]`, the value after the last reward.
        truncated: bool `[T, B]` or None: where the episode was cut after r_t though it had not terminated.
        v_final: `[T, B]`, wanted with `truncated` alone: the value of the final observation, read where truncated.

    Returns:
        `[T, B]` of the arguments' dtype and device. No gradient flows through them. T = 0 and B = 0 are legal; NaN in
        an input reaches every return before it in its lane. Bitwise independent of the number of threads.

    Raises:
        TypeError: an argument is no tensor, or its dtype is not float32 or float64, or not that of `r_t`.
        ValueError: a wrong shape, tensors on different devices, or one of `truncated` and `v_final` without the other.

    Sutton and Barto 2018, "Reinforcement Learning: An Introduction", eq. 3.8, http://incompleteideas.net/book
    """
    return evaluate(_op, discounted_returns_reference, _check, r_t, discount_t, v_T, truncated, v_final)


def discounted_returns_reference(
    r_t: Tensor, discount_t: Tensor, v_T: Tensor, truncated: Tensor | None = None, v_final: Tensor | None = None
) -> Tensor:
    """`discounted_returns` in torch."""
    return scan_reference(*cut_reference(r_t, discount_t, truncated, v_final), v_T)


def _check(r_t: Tensor, discount_t: Tensor, v_T: Tensor, truncated: Tensor | None, v_final: Tensor | None) -> None:
    check_steps(r_t, discount_t, truncated)
    check_tensor("v_T", v_T, r_t.shape[1:], (r_t.dtype,), r_t.device)
    check_v_final(r_t, truncated, v_final)
    if truncated is not None and v_final is None:
        raise ValueError("v_final: got None, want a tensor with truncated")


_op = compiled("discounted_returns")
