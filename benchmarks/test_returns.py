"""Returns against the loop over time in torch, TorchRL, and the memory bandwidth that torch.add reaches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch

from pyagent import ops
from pyagent.ops.discounted_returns import discounted_returns_reference
from pyagent.ops.gae import gae_reference
from pyagent.ops.lambda_returns import lambda_returns_reference
from pyagent.ops.n_step_returns import n_step_returns_reference
from pyagent.ops.retrace import retrace_reference
from pyagent.ops.vtrace import vtrace_reference

from .returns import N_STEPS, A, Steps

LOOP = "loop over T in torch"
REPEATS = 20  # calls in a round, since one takes a few microseconds


class Case(NamedTuple):
    """The op, the same in torch, what both take, and the arrays of one float32 a step that are read or written."""

    ours: Callable[..., Any]
    torch: Callable[..., Any]
    arguments: tuple[Any, ...]
    arrays: int


def case_of(name: str, steps: Steps) -> Case:
    rewards, v, v_t, lambda_ = (steps.r_t, steps.discount_t), steps.v, steps.v[1:], steps.lambda_
    if name == "discounted_returns":
        return Case(ops.discounted_returns, discounted_returns_reference, (*rewards, v[-1]), 3)
    if name == "n_step_returns":
        return Case(ops.n_step_returns, n_step_returns_reference, (*rewards, v_t, N_STEPS), 4)
    if name == "lambda_returns":
        return Case(ops.lambda_returns, lambda_returns_reference, (*rewards, v_t, lambda_), 4)
    if name == "gae":
        return Case(ops.gae, gae_reference, (*rewards, v, lambda_), 4)
    if name == "vtrace":
        return Case(ops.vtrace, vtrace_reference, (*rewards, v, steps.rho_tm1), 6)
    q_t, a_t, pi_t, mu_t = steps.actions()

    def ours(*arguments: Any) -> torch.Tensor:
        return ops.retrace(q_t, a_t, *arguments)

    return Case(ours, retrace_reference, (*rewards, q_t, a_t, pi_t, mu_t, lambda_), 6 + 2 * A)


def repeated(call: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(REPEATS):
            call()

    return run


def first(results: Any) -> torch.Tensor:
    return results[0] if isinstance(results, tuple) else results


NAMES = ["discounted_returns", "n_step_returns", "lambda_returns", "gae", "vtrace"]


@pytest.mark.benchmark(group="returns")
@pytest.mark.parametrize("name", [*NAMES, "retrace"])
def test_returns(compare, other_peers, name: str) -> None:
    T, B = 128, 64
    steps = Steps(T, B)
    case = case_of(name, steps)
    wanted = first(case.torch(*case.arguments))
    torch.testing.assert_close(first(case.ours(*case.arguments)), wanted, rtol=1e-4, atol=1e-4)
    others = other_peers.returns(name, steps, wanted)
    compare(
        repeated(lambda: case.ours(*case.arguments)),
        repeated(lambda: case.torch(*case.arguments)),
        "loop over n in torch" if name == "n_step_returns" else LOOP,
        peers={peer: repeated(call) for peer, call in others.calls.items()},
        absent=others.absent,
        bytes=REPEATS * case.arrays * steps.size,
        repeats=REPEATS,
    )


@pytest.mark.benchmark(group="returns bandwidth")
@pytest.mark.parametrize("name", [*NAMES, pytest.param("retrace", marks=pytest.mark.full)])
def test_bandwidth(compare, name: str) -> None:
    steps = Steps(1024, 4096)
    case = case_of(name, steps)
    some = [0, 1023, 2048, 4095]
    few = tuple(x[..., some] if isinstance(x, torch.Tensor) and x.dim() < 3 else x for x in case.arguments)
    few = tuple(x[:, some] if isinstance(x, torch.Tensor) and x.dim() == 3 else x for x in few)
    got = first(case.ours(*case.arguments))[:, some]
    torch.testing.assert_close(got, first(case.torch(*few)), rtol=1e-4, atol=1e-4)
    out = torch.empty_like(steps.r_t)
    compare(
        lambda: case.ours(*case.arguments),
        lambda: torch.add(steps.r_t, steps.discount_t, out=out),
        "torch.add",
        bytes=case.arrays * steps.size,
        peer_bytes=3 * steps.size,
    )
