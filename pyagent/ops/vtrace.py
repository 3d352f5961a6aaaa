"""V-trace."""

from __future__ import annotations

from typing import NamedTuple

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


class VTrace(NamedTuple):
    """What `vtrace` returns, both `[T, B]`."""

    vs: Tensor
    """targets of the values v[:-1]"""
    pg_advantages: Tensor
    """weights of the policy gradient's log-probabilities"""


def vtrace(
    r_t: Tensor,
    discount_t: Tensor,
    v: Tensor,
    rho_tm1: Tensor,
    *,
    lambda_: float = 1.0,
    clip_rho: float = 1.0,
    clip_pg_rho: float = 1.0,
    truncated: Tensor | None = None,
    v_final: Tensor | None = None,
) -> VTrace:
    """Targets for values and advantages for policies, from actions that another policy drew.

    With ρ_t = π(a_t | x_t) / μ(a_t | x_t), ρ̄_t = min(clip_rho, ρ_t), c_t = λ min(1, ρ_t) and
    δ_t = ρ̄_t (r_t + discount_t · v_{t+1} − v_t), the paper's eq. 1, to the end of the sequence, is

        vs_t = v_t + Σ_{s ≥ t} (Π_{t ≤ i < s} discount_i c_i) δ_s

    which is computed by its remark 1, backwards from vs_T = v_T:

        vs_t = v_t + δ_t + discount_t c_t (vs_{t+1} − v_{t+1})

    The advantages are those of its section 4.2, with ρ's own bound:

        pg_advantage_t = min(clip_pg_rho, ρ_t) (r_t + discount_t · vs_{t+1} − v_t)

    Where truncated, v_final_t stands for both v_{t+1} and vs_{t+1}. With ρ = 1 and λ = 1, vs is the discounted return;
    with ρ = 1 and any λ it is the λ-return.

    Args:
        r_t: rewards `[T, B]`, float32 or float64.
        discount_t: `[T, B]`, γ where the episode goes on after r_t (truncated or not) and 0 where it terminated there.
        v: values `[T+1, B]`: v[t] before r_t, v[t+1] after it.
        rho_tm1: `[T, B]`, the ratio ρ of the action that r_t followed (taken at time t−1 in r_t's count).
        lambda_: in [0, 1].
        clip_rho, clip_pg_rho: positive; infinity does not clip.
        truncated: bool `[T, B]` or None: where the episode was cut after r_t though it had not terminated.
        v_final: `[T, B]`, the value of the final observation, read where truncated. None means v[1:]: right where the
            final observation stands in the step after, as with gymnasium's next-step autoreset.

    Returns:
        vs and pg_advantages, `[T, B]` of the arguments' dtype and device. No gradient flows through them. T = 0 and
        B = 0 are legal; NaN in an input reaches every result before it in its lane. Bitwise independent of the number
        of threads.

    Raises:
        TypeError: an argument is no tensor, or its dtype is not float32 or float64, or not that of `r_t`.
        ValueError: a wrong shape, tensors on different devices, `v_final` without `truncated`, λ outside [0, 1], or a
            bound that is not positive.

    Espeholt et al. 2018, "IMPALA: Scalable distributed deep-RL with importance weighted actor-learner architectures",
    https://arxiv.org/abs/1802.01561
    """
    for name, bound in (("clip_rho", clip_rho), ("clip_pg_rho", clip_pg_rho)):
        if not bound > 0.0:
            raise ValueError(f"{name}: got {bound}, want a positive number")
    numbers = check_lambda(lambda_), float(clip_rho), float(clip_pg_rho)
    return VTrace(*evaluate(_op, vtrace_reference, _check, r_t, discount_t, v, rho_tm1, *numbers, truncated, v_final))


def vtrace_reference(
    r_t: Tensor,
    discount_t: Tensor,
    v: Tensor,
    rho_tm1: Tensor,
    lambda_: float = 1.0,
    clip_rho: float = 1.0,
    clip_pg_rho: float = 1.0,
    truncated: Tensor | None = None,
    v_final: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`vtrace` in torch."""
    r_t, discount_t = cut_reference(r_t, discount_t, truncated, v[1:] if v_final is None else v_final)
    delta_t, nothing = r_t + discount_t * v[1:] - v[:-1], torch.zeros_like(v[:1])
    decay_t = discount_t * lambda_ * rho_tm1.clamp(max=1.0)
    correction = torch.cat((scan_reference(rho_tm1.clamp(max=clip_rho) * delta_t, decay_t, nothing[0]), nothing))
    pg_advantages = rho_tm1.clamp(max=clip_pg_rho) * (delta_t + discount_t * correction[1:])
    return (v + correction)[:-1], pg_advantages


def _check(
    r_t: Tensor,
    discount_t: Tensor,
    v: Tensor,
    rho_tm1: Tensor,
    lambda_: float,
    clip_rho: float,
    clip_pg_rho: float,
    truncated: Tensor | None,
    v_final: Tensor | None,
) -> None:
    check_steps(r_t, discount_t, truncated, rho_tm1=rho_tm1)
    check_tensor("v", v, [r_t.shape[0] + 1, r_t.shape[1]], (r_t.dtype,), r_t.device)
    check_v_final(r_t, truncated, v_final)


_op = compiled("vtrace", results=2)
