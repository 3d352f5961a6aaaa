"""Retrace(λ)."""

from __future__ import annotations

import torch
from torch import Tensor

from pyagent.ops.checks import check_range, check_tensor
from pyagent.ops.linear_scan import (
    FLOATS,
    check_lambda,
    check_steps,
    compiled,
    cut_reference,
    evaluate,
    scan_reference,
)


def retrace(
    q_tm1: Tensor,
    a_tm1: Tensor,
    r_t: Tensor,
    discount_t: Tensor,
    q_t: Tensor,
    a_t: Tensor,
    pi_t: Tensor,
    mu_t: Tensor,
    lambda_: float,
    *,
    truncated: Tensor | None = None,
) -> Tensor:
    """Targets `[T, B]` of the Q-values of actions that another policy drew.

    Step t takes a_tm1[t] in x_{t−1} and leads, with r_t, to x_t, where a_t follows. With E_t = Σ_a π(a | x_t) q_t[a]
    and c_t = λ min(1, π(a_t | x_t) / μ(a_t | x_t)), which is 0 where π is, whatever μ, the paper's eq. 3 and 4, to the
    end of the sequence, are

        G_t = q_tm1[a_tm1] + Σ_{s ≥ t} (Π_{t ≤ i < s} discount_i c_i) (r_s + discount_s E_s − q_{s−1}[a_{s−1}])

    in which the first step's own value cancels, so that q_tm1 and a_tm1 have no part in it (they are only checked: it
    is q_tm1[a_tm1] that learns G), while those of the steps between are read from q_t and a_t. Backwards, with nothing
    after the last step:

        G_t = r_t + discount_t (E_t + c_t (G_{t+1} − q_t[a_t])),     G_{T−1} = r_{T−1} + discount_{T−1} E_{T−1}

    Where truncated, G_t = r_t + discount_t E_t. λ = 0 gives the one-step expected target.

    Args:
        q_tm1: Q-values `[T, B, A]` of x_{t−1}, float32 or float64.
        a_tm1: int64 `[T, B]`, the action taken there.
        r_t: rewards `[T, B]`.
        discount_t: `[T, B]`, γ where the episode goes on after r_t (truncated or not) and 0 where it terminated there.
        q_t: Q-values `[T, B, A]` of x_t, what follows r_t in its episode: where truncated, the final observation.
        a_t: int64 `[T, B]` in [0, A), the action taken in x_t; where truncated and in the last step it plays no part.
        pi_t: `[T, B, A]`, the target policy's probabilities in x_t.
        mu_t: `[T, B]`, the behaviour policy's probability of a_t.
        lambda_: in [0, 1].
        truncated: bool `[T, B]` or None: where the episode was cut after r_t though it had not terminated.

    Returns:
        `[T, B]` of `r_t`'s dtype and device. No gradient flows through them. T = 0 and B = 0 are legal; NaN in an
        input reaches every target before it in its lane. Bitwise independent of the number of threads.

    Raises:
        TypeError: an argument is no tensor, or its dtype is wrong: float32 or float64 as `r_t` has it, int64, bool.
        ValueError: a wrong shape, tensors on different devices, or λ outside [0, 1].
        IndexError: an a_t outside [0, A).

    Munos et al. 2016, "Safe and efficient off-policy reinforcement learning", https://arxiv.org/abs/1606.02647
    """
    arguments = r_t, discount_t, q_t, a_t, pi_t, mu_t, check_lambda(lambda_), truncated
    _check_tm1(q_tm1, a_tm1, q_t, a_t)
    return evaluate(_op, retrace_reference, _check, *arguments)


def retrace_reference(
    r_t: Tensor,
    discount_t: Tensor,
    q_t: Tensor,
    a_t: Tensor,
    pi_t: Tensor,
    mu_t: Tensor,
    lambda_: float,
    truncated: Tensor | None = None,
) -> Tensor:
    """`retrace` in torch, without the arguments that take no part."""
    expected = (pi_t * q_t).sum(-1)
    r_t, discount_t = cut_reference(r_t, discount_t, truncated, expected)
    q_a, pi_a = (x.gather(-1, a_t[..., None])[..., 0] for x in (q_t, pi_t))
    c_t = torch.where(pi_a == 0.0, 0.0, lambda_ * (pi_a / mu_t).clamp(max=1.0))
    c_t[-1:] = 0.0
    if truncated is not None:
        c_t = c_t.masked_fill(truncated, 0.0)
    return scan_reference(r_t + discount_t * (expected - c_t * q_a), discount_t * c_t, torch.zeros_like(r_t[:1].sum(0)))


def _check_tm1(q_tm1: Tensor, a_tm1: Tensor, q_t: Tensor, a_t: Tensor) -> None:
    """Of what the op does not see."""
    try:
        right = q_tm1.shape == q_t.shape and q_tm1.dtype == q_t.dtype
        right = right and a_tm1.shape == a_t.shape and a_tm1.dtype == a_t.dtype
    except AttributeError:
        right = False
    if not right:
        check_tensor("q_t", q_t, ["T", "B", "A"], FLOATS)
        check_tensor("q_tm1", q_tm1, q_t.shape, (q_t.dtype,), q_t.device)
        check_tensor("a_tm1", a_tm1, q_t.shape[:2], (torch.int64,), q_t.device)
        check_tensor("a_t", a_t, q_t.shape[:2], (torch.int64,), q_t.device)


def _check(
    r_t: Tensor,
    discount_t: Tensor,
    q_t: Tensor,
    a_t: Tensor,
    pi_t: Tensor,
    mu_t: Tensor,
    lambda_: float,
    truncated: Tensor | None,
) -> None:
    check_steps(r_t, discount_t, truncated, mu_t=mu_t)
    check_tensor("q_t", q_t, [*r_t.shape, "A"], (r_t.dtype,), r_t.device)
    check_tensor("pi_t", pi_t, q_t.shape, (r_t.dtype,), r_t.device)
    check_tensor("a_t", a_t, r_t.shape, (torch.int64,), r_t.device)
    if a_t.is_cpu:
        check_range("a_t", a_t, 0, q_t.shape[2])


_op = compiled("retrace")
