"""TorchRL's vectorised estimates, on tensors laid out as it wants them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchrl.objectives.value import functional

from ..comparison import Call
from ..returns import Steps


def returns(name: str, steps: Steps) -> Call:
    """A call that gives what the op of this name does, `[B, T, 1]`."""
    r, v, v_next, rho = (x.t()[..., None].contiguous() for x in (steps.r_t, steps.v[:-1], steps.v[1:], steps.rho_tm1))
    ends = steps.terminated.t()[..., None].contiguous()
    log_mu = torch.zeros_like(rho)
    log_rho = rho.log()
    gamma, lambda_ = steps.gamma, steps.lambda_
    calls: dict[str, Callable[[], Tensor]] = {
        "gae": lambda: functional.vec_generalized_advantage_estimate(gamma, lambda_, v, v_next, r, ends, ends)[0],
        "lambda_returns": lambda: functional.vec_td_lambda_return_estimate(gamma, lambda_, v_next, r, ends, ends),
        "vtrace": lambda: functional.vtrace_advantage_estimate(gamma, log_rho, log_mu, v, v_next, r, ends, ends)[1],
    }
    if name not in calls:
        raise NotImplementedError("TorchRL has no such estimate")
    return calls[name]
