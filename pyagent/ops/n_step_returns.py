"""n-step returns."""

from __future__ import annotations

import torch
from torch import Tensor

from pyagent.ops.checks import check_size
from pyagent.ops.linear_scan import check_steps, compiled, cut_reference, evaluate


def n_step_returns(r_t: Tensor, discount_t: Tensor, v_t: Tensor, n: int, *, truncated: Tensor | None = None) -> Tensor:
    """Returns `[T, B]` over n steps, bootstrapped from the value after the last of them.

    With v_t the value *after* r_t, and k = min(t + n, T) − 1 the last step of a window:

        G_t = r_t + discount_t (r_{t+1} + discount_{t+1} (… (r_k + discount_k · v_k)))

    A truncated step ends its window: it stands for r_t + discount_t · v_t, whatever follows. n = 1 gives the one-step
    target, n ≥ T the discounted return. The cost does not depend on n.

    Args:
        r_t: rewards `[T, B]`, float32 or float64.
        discount_t: `[T, B]`, γ where the episode goes on after r_t (truncated or not) and 0 where it terminated there.
        v_t: `[T, B]`, the value of what follows r_t in its episode: where truncated, of the final observation.
        n: at least 1.
        truncated: bool `[T, B]` or None: where the episode was cut after r_t though it had not terminated.

    Returns:
        `[T, B]` of the arguments' dtype and device. No gradient flows through them. T = 0 and B = 0 are legal; NaN in
        an input reaches every return whose window holds it. Bitwise independent of the number of threads.

    Raises:
        TypeError: an argument is no tensor, or its dtype is not float32 or float64, or not that of `r_t`.
        ValueError: a wrong shape, tensors on different devices, or n < 1.

    Sutton and Barto 2018, "Reinforcement Learning: An Introduction", eq. 7.1, http://incompleteideas.net/book
    """
    return evaluate(_op, n_step_returns_reference, _check, r_t, discount_t, v_t, n, truncated)


def n_step_returns_reference(
    r_t: Tensor, discount_t: Tensor, v_t: Tensor, n: int, truncated: Tensor | None = None
) -> Tensor:
    """`n_step_returns` in torch, from the inside of the brackets out."""
    r_t, discount_t = cut_reference(r_t, discount_t, truncated, v_t)
    T = len(r_t)
    first, n = torch.arange(T, device=r_t.device), min(n, T)
    g_t = v_t[(first + n - 1).clamp(max=T - 1)]
    for t in (first + k for k in reversed(range(n))):
        within = t.clamp(max=T - 1)
        g_t = torch.where((t < T)[:, None], r_t[within] + discount_t[within] * g_t, g_t)
    return g_t


def _check(r_t: Tensor, discount_t: Tensor, v_t: Tensor, n: int, truncated: Tensor | None) -> None:
    check_steps(r_t, discount_t, truncated, v_t=v_t)
    check_size("n", n, 1)


_op = compiled("n_step_returns")
