"""Value rescaling against the paper's formulas in Python's decimals, which have digits to lose."""

from decimal import Decimal, localcontext

import pytest
import torch

from pyagent.ops import signed_hyperbolic, signed_parabolic

VALUES = [0.0, 1e-30, 1e-7, 1e-3, 0.5, 1.0, 7.3, 250.0, 1e5, 1e12]
EPSILONS = [0.0, 1e-3, 1e-2, 0.5]


def hyperbolic(x, epsilon):
    return ((x + 1).sqrt() - 1) + epsilon * x


def parabolic(x, epsilon):
    if epsilon == 0:
        return (x + 1) ** 2 - 1
    return (((1 + 4 * epsilon * (x + 1 + epsilon)).sqrt() - 1) / (2 * epsilon)) ** 2 - 1


def in_decimals(formula, values, epsilon):
    with localcontext() as context:
        context.prec = 80
        return torch.tensor([float(formula(Decimal(x), Decimal(epsilon))) for x in values], dtype=torch.float64)


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("op", "formula"), [(signed_hyperbolic, hyperbolic), (signed_parabolic, parabolic)])
def test_every_digit_of_the_papers_formula(op, formula, dtype, epsilon):
    x = torch.tensor(VALUES, dtype=dtype)
    wanted = in_decimals(formula, x.tolist(), epsilon).to(dtype)
    rtol = 5e-7 if dtype == torch.float32 else 1e-15
    torch.testing.assert_close(op(x, epsilon), wanted, rtol=rtol, atol=0)
    torch.testing.assert_close(op(-x, epsilon), -wanted, rtol=rtol, atol=0)


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_each_undoes_the_other(epsilon):
    x = torch.randn(100, dtype=torch.float64).exp() * torch.randn(100, dtype=torch.float64).sign()
    torch.testing.assert_close(signed_parabolic(signed_hyperbolic(x, epsilon), epsilon), x)
    torch.testing.assert_close(signed_hyperbolic(signed_parabolic(x, epsilon), epsilon), x)


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_gradients_are_exact_at_zero_too(epsilon):
    x = torch.tensor([-300.0, -2.0, -1e-9, 0.0, 0.3, 40.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(signed_hyperbolic(x, epsilon).sum(), x)
    torch.testing.assert_close(slope, 1 / (2 * (x.abs() + 1).sqrt()) + epsilon)
    y = signed_hyperbolic(x, epsilon).detach().requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(signed_parabolic(y, epsilon).sum(), y)[0], 1 / slope)


@pytest.mark.parametrize("op", [signed_hyperbolic, signed_parabolic])
def test_gradcheck_nan_and_compile(op):
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(op, x)
    assert torch.autograd.gradgradcheck(op, x)
    assert op(torch.tensor([float("nan"), 1.0])).isnan().tolist() == [True, False]
    torch.testing.assert_close(torch.compile(op, fullgraph=True, backend="aot_eager")(x), op(x))


@pytest.mark.parametrize("op", [signed_hyperbolic, signed_parabolic])
@pytest.mark.parametrize("epsilon", [-1e-3, float("nan"), float("inf")])
def test_bad_epsilon(op, epsilon):
    with pytest.raises(ValueError, match="epsilon: got"):
        op(torch.zeros(1), epsilon)
