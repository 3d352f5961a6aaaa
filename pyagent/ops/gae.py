"""Generalised advantage estimation."""

from __future__ import annotations

import torch
from torch import Tensor

from pyagent import native
from pyagent.ops.checks import check_tensor, one_device


def gae(r_t: Tensor, discount_t: Tensor, v: Tensor, lambda_: float) -> Tensor:
    """Advantages `[T, B]` by exponentially weighted temporal differences.

    With δ_t = r_t + discount_t · v_{t+1} − v_t, going backwards from A_T = 0:

        A_t = δ_t + discount_t · λ · A_{t+1}

    so λ = 0 gives the one-step temporal difference and λ = 1 the discounted return minus v_t.

    Args:
        r_t: rewards `[T, B]`, float32 or float64.
        discount_t: `[T, B]`, γ where the episode goes on after r_t and 0 where it terminated there.
        v: values `[T+1, B]`: v[t] before r_t, v[t+1] after it.
        lambda_: in [0, 1].

    Returns:
        `[T, B]` of the arguments' dtype and device. Advantages are targets: no gradient flows through them, whatever
        the inputs require. T = 0 and B = 0 are legal; NaN in an input reaches every advantage before it in its lane.

    Raises:
        TypeError: an argument is no tensor, or its dtype is not float32 or float64, or not that of `r_t`.
        ValueError: a wrong shape, tensors on different devices, or λ outside [0, 1].

    Schulman et al. 2016, "High-dimensional continuous control using generalized advantage estimation",
    https://arxiv.org/abs/1506.02438
    """
    check_tensor("r_t", r_t, ["T", "B"], (torch.float32, torch.float64))
    T, B = r_t.shape
    check_tensor("discount_t", discount_t, [T, B], (r_t.dtype,), r_t.device)
    check_tensor("v", v, [T + 1, B], (r_t.dtype,), r_t.device)
    if not 0.0 <= lambda_ <= 1.0:
        raise ValueError(f"lambda_: got {lambda_}, want a number in [0, 1]")
    arguments = (r_t.detach().contiguous(), discount_t.detach().contiguous(), v.detach().contiguous(), float(lambda_))
    compiled = native.available and (r_t.is_cpu or (r_t.is_cuda and native.cuda_available))
    return torch.ops.pyagent.gae.default(*arguments) if compiled else gae_reference(*arguments)


def gae_reference(r_t: Tensor, discount_t: Tensor, v: Tensor, lambda_: float) -> Tensor:
    """The recursion of `gae` in torch, one step at a time."""
    delta_t = r_t + discount_t * v[1:] - v[:-1]
    advantage_t = torch.empty_like(r_t)
    after = torch.zeros_like(v[0])
    for t in range(r_t.shape[0] - 1, -1, -1):
        after = delta_t[t] + discount_t[t] * lambda_ * after
        advantage_t[t] = after
    return advantage_t


if native.available:

    @torch.library.register_fake("pyagent::gae")
    def _(r_t: Tensor, discount_t: Tensor, v: Tensor, lambda_: float) -> Tensor:
        one_device("gae", (r_t, discount_t, v))
        return r_t.new_empty(r_t.shape)
