"""The returns' kernels, interpreted, against their definitions in float64."""

import pytest
import torch

from pyagent.kernels.bad_values import ACTION
from pyagent.kernels.discounted_returns import discounted_returns
from pyagent.kernels.gae import gae
from pyagent.kernels.lambda_returns import lambda_returns
from pyagent.kernels.n_step_returns import n_step_returns
from pyagent.kernels.retrace import retrace
from pyagent.kernels.vtrace import vtrace
from pyagent.ops.discounted_returns import discounted_returns_reference
from pyagent.ops.gae import gae_reference
from pyagent.ops.lambda_returns import lambda_returns_reference
from pyagent.ops.n_step_returns import n_step_returns_reference
from pyagent.ops.retrace import retrace_reference
from pyagent.ops.vtrace import vtrace_reference

SIZES = [(1, 1), (7, 3), (0, 4), (5, 0), (33, 17), (150, 9)]
KERNELS = {
    "discounted_returns": (discounted_returns, discounted_returns_reference),
    "n_step_returns": (n_step_returns, n_step_returns_reference),
    "lambda_returns": (lambda_returns, lambda_returns_reference),
    "gae": (gae, gae_reference),
    "vtrace": (vtrace, vtrace_reference),
    "retrace": (retrace, retrace_reference),
}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}


def sample(name, T, B, *, truncated=False, A=5, n=3):
    """Arguments by name, in float64."""
    random = torch.Generator().manual_seed(T * 1000 + B)

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    def chance(*shape):
        return torch.rand(*shape, generator=random, dtype=torch.float64)

    found = {"r_t": draw(T, B), "discount_t": 0.97 * (chance(T, B) > 0.1).double()}
    found |= {
        "discounted_returns": lambda: {"v_T": draw(B)},
        "n_step_returns": lambda: {"v_t": draw(T, B), "n": n},
        "lambda_returns": lambda: {"v_t": draw(T, B), "lambda_": 0.9},
        "gae": lambda: {"v": draw(T + 1, B), "lambda_": 0.9},
        "vtrace": lambda: {
            "v": draw(T + 1, B),
            "rho_tm1": 2 * chance(T, B),
            "lambda_": 0.9,
            "clip_rho": 1.1,
            "clip_pg_rho": 1.3,
        },
        "retrace": lambda: {
            "q_t": draw(T, B, A),
            "a_t": torch.randint(A, (T, B), generator=random),
            "pi_t": draw(T, B, A).softmax(-1) * (chance(T, B, A) > 0.2),
            "mu_t": 0.05 + chance(T, B),
            "lambda_": 0.9,
        },
    }[name]()
    if truncated:
        found["truncated"] = chance(T, B) < 0.2
        if name in ("discounted_returns", "gae", "vtrace"):
            found["v_final"] = draw(T, B)
    return found


def of_dtype(arguments, dtype):
    def convert(x):
        return x.to(dtype) if isinstance(x, torch.Tensor) and x.is_floating_point() else x

    return {name: convert(x) for name, x in arguments.items()}


def check(name, arguments, dtype):
    kernel, reference = KERNELS[name]
    arguments = of_dtype(arguments, dtype)
    results, wanted = kernel(**arguments), reference(**of_dtype(arguments, torch.float64))
    results, wanted = ((x,) if isinstance(x, torch.Tensor) else x for x in (results, wanted))
    for result, want in zip(results, wanted, strict=True):
        assert result.dtype == dtype
        torch.testing.assert_close(result.double(), want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], equal_nan=True)


@pytest.mark.parametrize(("dtype", "truncated"), [(torch.float32, False), (torch.float64, True)], ids=["", "truncated"])
@pytest.mark.parametrize(("T", "B"), SIZES)
@pytest.mark.parametrize("name", KERNELS)
def test_returns(name, T, B, truncated, dtype):
    check(name, sample(name, T, B, truncated=truncated), dtype)


@pytest.mark.parametrize("n", [1, 2, 4, 32, 70, 149, 150, 1000])
def test_windows_of_every_kind(n):
    check("n_step_returns", sample("n_step_returns", 150, 3, truncated=True, n=n), torch.float64)


@pytest.mark.parametrize("A", [1, 7, 64, 150])
def test_actions_of_every_number(A):
    check("retrace", sample("retrace", 40, 5, truncated=True, A=A), torch.float64)


@pytest.mark.parametrize("name", ["gae", "vtrace"])
def test_final_values_are_those_of_the_next_step_by_default(name):
    arguments = sample(name, 40, 5, truncated=True)
    del arguments["v_final"]
    check(name, arguments, torch.float64)


def test_slices_are_read_where_they_lie():
    arguments = sample("gae", 20, 6)
    results = gae(**{name: x[:, ::2] if isinstance(x, torch.Tensor) else x for name, x in arguments.items()})
    torch.testing.assert_close(results, gae_reference(**arguments)[:, ::2])


@pytest.mark.parametrize("name", KERNELS)
def test_nan_reaches_what_comes_before_it(name):
    arguments = sample(name, 9, 3)
    arguments["discount_t"] = torch.full_like(arguments["discount_t"], 0.9)
    arguments["r_t"][6, 1] = torch.nan
    check(name, arguments, torch.float64)


def test_bad_action_is_reported_and_is_nan(reported):
    arguments = sample("retrace", 12, 3)
    arguments["discount_t"] = torch.full_like(arguments["discount_t"], 0.9)
    wanted = retrace(**arguments)
    assert reported() == 0
    for bad in (-1, 5, 2**40):
        targets = retrace(
            **arguments | {"a_t": arguments["a_t"].index_put((torch.tensor(8), torch.tensor(1)), torch.tensor(bad))}
        )
        assert reported() == ACTION.value
        assert targets[:9, 1].isnan().all()
        torch.testing.assert_close(targets[9:], wanted[9:])
        torch.testing.assert_close(targets[:, [0, 2]], wanted[:, [0, 2]])


def test_wrong_shape_is_refused():
    arguments = sample("gae", 5, 3)
    with pytest.raises(RuntimeError, match=r"v: got .* \[5, 3\].*want .* \[6, 3\]"):
        gae(**arguments | {"v": arguments["v"][1:]})
