"""Generalised advantage estimation."""

from __future__ import annotations

import torch
from torch import Tensor

from pyagent.ops.checks import check_tensor
from pyagent.ops.linear_scan import (
    check_lambda,
    check_steps,
    check_v_final,
    compiled,
    cut_reference,
    evaluate,
    scan_reference,
)


def gae(
    r_t: Tensor,
    discount_t: Tensor,
    v: Tensor,
    lambda_: float,
    *,
    truncated: Tensor | None = None,
    v_final: Tensor | None = None,
) -> Tensor:
    """Advantages `[T, B]` by exponentially weighted temporal differences.

    With δ_t = r_t + discount_t · v_{t+1} − v_t, going backwards from A_T = 0:

        A_t = δ_t + discount_t · λ · A_{t+1}

    so λ = 0 gives the one-step temporal difference and λ = 1 the discounted return minus v_t. Where truncated,
    A_t = r_t + discount_t · v_final_t − v_t.

    Args:
        r_t: rewards `[T, B]`, float32 or float64.
        discount_t: `[T, B]`, γ where the episode goes on after r_t (truncated or not) and 0 where it terminated there.
        v: values `[T+1, B]`: v[t] before r_t, v[t+1] after it.
        lambda_: in [0, 1].
        truncated: bool `[T, B]` or None: where the episode was cut after r_t though it had not terminated.
        v_final: `[T, B]`, the value of the final observation, read where truncated. None means v[1:]: right where the
            final observation stands in the step after, as with gymnasium's next-step autoreset.

    Returns:
        `[T, B]` of the arguments' dtype and device. Advantages are targets: no gradient flows through them, whatever
        the inputs require. T = 0 and B = 0 are legal; NaN in an input reaches every advantage before it in its lane.
        Bitwise independent of the number of threads.

    Raises:
        TypeError: an argument is no tensor, or its dtype is not float32 or float64, or not that of `r_t`.
        ValueError: a wrong shape, tensors on different devices, `v_final` without `truncated`, or λ outside [0, 1].

    Schulman et al. 2016, "High-dimensional continuous control using generalized advantage estimation",
    https://arxiv.org/abs/1506.02438
    """
    return evaluate(_op, gae_reference, _check, r_t, discount_t, v, check_lambda(lambda_), truncated, v_final)


def gae_reference(
    r_t: Tensor,
    discount_t: Tensor,
    v: Tensor,
    lambda_: float,
    truncated: Tensor | None = None,
    v_final: Tensor | None = None,
) -> Tensor:
    """`gae` in torch."""
    r_t, discount_t = cut_reference(r_t, discount_t, truncated, v[1:] if v_final is None else v_final)
    return scan_reference(r_t + discount_t * v[1:] - v[:-1], discount_t * lambda_, torch.zeros_like(v[0]))


def _check(
    r_t: Tensor, discount_t: Tensor, v: Tensor, lambda_: float, truncated: Tensor | None, v_final: Tensor | None
) -> None:
    check_steps(r_t, discount_t, truncated)
    check_tensor("v", v, [r_t.shape[0] + 1, r_t.shape[1]], (r_t.dtype,), r_t.device)
    check_v_final(r_t, truncated, v_final)


_op = compiled("gae")
