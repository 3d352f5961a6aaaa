"""λ-returns."""

from __future__ import annotations

from torch import Tensor

from pyagent.ops.linear_scan import check_lambda, check_steps, compiled, cut_reference, evaluate, scan_reference


def lambda_returns(
    r_t: Tensor, discount_t: Tensor, v_t: Tensor, lambda_: float, *, truncated: Tensor | None = None
) -> Tensor:
    """Mixtures `[T, B]` of returns over all numbers of steps, of weights that fall by λ.

    Backwards from G_T = v_{T−1}, where v_t is the value *after* r_t:

        G_t = r_t + discount_t · ((1 − λ) v_t + λ G_{t+1})

    and G_t = r_t + discount_t · v_t where truncated. λ = 0 gives the one-step target r_t + discount_t · v_t, λ = 1 the
    discounted return.

    Args:
        r_t: rewards `[T, B]`, float32 or float64.
        discount_t: `[T, B]`, γ where the episode goes on after r_t (truncated or not) and 0 where it terminated there.
        v_t: `[T, B]`, the value of what follows r_t in its episode: where truncated, of the final observation.
        lambda_: in [0, 1].
        truncated: bool `[T, B]` or None: where the episode was cut after r_t though it had not terminated.

    Returns:
        `[T, B]` of the arguments' dtype and device. No gradient flows through them. T = 0 and B = 0 are legal; NaN in
        an input reaches every return before it in its lane. Bitwise independent of the number of threads.

    Raises:
        TypeError: an argument is no tensor, or its dtype is not float32 or float64, or not that of `r_t`.
        ValueError: a wrong shape, tensors on different devices, or λ outside [0, 1].

    Sutton and Barto 2018, "Reinforcement Learning: An Introduction", eq. 12.20, http://incompleteideas.net/book
    """
    return evaluate(_op, lambda_returns_reference, _check, r_t, discount_t, v_t, check_lambda(lambda_), truncated)


def lambda_returns_reference(
    r_t: Tensor, discount_t: Tensor, v_t: Tensor, lambda_: float, truncated: Tensor | None = None
) -> Tensor:
    """`lambda_returns` in torch."""
    r_t, discount_t = cut_reference(r_t, discount_t, truncated, v_t)
    last = v_t[-1] if len(v_t) else v_t.new_empty(v_t.shape[1:])
    return scan_reference(r_t + discount_t * (1 - lambda_) * v_t, discount_t * lambda_, last)


def _check(r_t: Tensor, discount_t: Tensor, v_t: Tensor, lambda_: float, truncated: Tensor | None) -> None:
    check_steps(r_t, discount_t, truncated, v_t=v_t)


_op = compiled("lambda_returns")
