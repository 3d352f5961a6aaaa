"""How exact exp, tanh and σ are, seen through the ops that use them."""

import math

import pytest
import torch

from pyagent.ops import linear_cross_entropy, recurrence

DTYPES = (torch.float32, torch.float64)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def points(dtype):
    """Every scale from the smallest denormal to the largest number, densely where the functions bend, both signs."""
    info = torch.finfo(dtype)
    scales = torch.logspace(math.log10(info.smallest_normal) - 6, math.log10(info.max), 4000, dtype=torch.float64)
    near = torch.cat((torch.linspace(0, 1, 20_000), torch.linspace(1, 100, 20_000), torch.linspace(100, 800, 4000)))
    x = torch.cat((scales, near.double())).to(dtype)
    x = torch.cat((x, torch.tensor([0.0, info.smallest_normal, info.max], dtype=dtype)))
    return torch.cat((x, -x))


def tanh(x):
    return recurrence(x.view(1, -1, 1), None, x.new_zeros(1, 1), cell="tanh")[0].flatten()


def sigmoid(x):
    """A GRU whose candidate is 0 and whose state is 1 outputs its update gate."""
    rows = torch.zeros(1, len(x), 3, dtype=x.dtype)
    rows[0, :, 1] = x
    return recurrence(rows, None, x.new_zeros(3, 1), h_0=x.new_ones(len(x), 1), cell="gru")[0].flatten()


def softmax_of_two(x):
    """The probability of the class whose logit is x, beside a logit of 0: σ(x), by the exponential of -|x|."""
    logits = torch.stack((torch.zeros_like(x), x), 1).requires_grad_()
    linear_cross_entropy(
        logits, torch.eye(2, dtype=x.dtype), torch.zeros(len(x), dtype=torch.int64), reduction="sum"
    ).backward()
    return logits.grad[:, 1]


def exact(function, x):
    """In float64 for float32; for float64 through the standard library, itself within 1 ulp."""
    if x.dtype == torch.float32:
        return function(x.double())
    one = math.tanh if function is torch.tanh else logistic
    return torch.tensor([one(value) for value in x.tolist()], dtype=torch.float64)


def logistic(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def ulps(got, wanted):
    """Distance in units of the last place of the wanted value, which is of higher or equal precision."""
    magnitude = wanted.to(got.dtype).abs()
    unit = torch.nextafter(magnitude, torch.full_like(magnitude, math.inf)) - magnitude
    return ((got.double() - wanted).abs() / unit.double()).max().item()


@dtypes
def test_tanh_is_within_a_few_ulp(dtype):
    x = points(dtype)
    error = ulps(tanh(x), exact(torch.tanh, x))
    assert error <= 4


@dtypes
@pytest.mark.parametrize("through", [sigmoid, softmax_of_two])
def test_sigmoid_and_exp_are_within_a_few_ulp_wherever_they_are_normal_numbers(dtype, through):
    x, tiny = points(dtype), torch.finfo(dtype).smallest_normal
    x = x[x.isfinite()]  # the softmax of an infinity is NaN
    got, wanted = through(x), exact(torch.sigmoid, x)
    normal = wanted > 4 * tiny
    assert ulps(got[normal], wanted[normal]) <= 4
    assert (got[~normal].double() - wanted[~normal]).abs().max() <= 4 * tiny


@dtypes
def test_special_values(dtype):
    x = torch.tensor([math.inf, -math.inf, 0.0, -0.0, math.nan], dtype=dtype)
    assert torch.equal(tanh(x)[:4], torch.tensor([1.0, -1.0, 0.0, 0.0], dtype=dtype))
    saturated = sigmoid(x)
    assert saturated[0] == 1
    assert 0 <= saturated[1] <= 4 * torch.finfo(dtype).smallest_normal
    assert saturated[2] == saturated[3] == 0.5
    assert tanh(x)[4].isnan()
    assert saturated[4].isnan()


@dtypes
def test_relu_passes_nan_and_infinity_as_torch_does(dtype):
    x = torch.tensor([math.nan, math.inf, -math.inf, -0.0, 0.0, -1.0, 2.0], dtype=dtype, requires_grad=True)
    results = []
    for function in (
        lambda x: recurrence(x.view(1, -1, 1), None, x.new_zeros(1, 1), cell="relu")[0].flatten(),
        torch.relu,
    ):
        output = function(x)
        (grad,) = torch.autograd.grad(output.sum(), x)
        results.append((output, grad))
    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted, equal_nan=True, rtol=0, atol=0)


@dtypes
@pytest.mark.parametrize("cell", ["tanh", "relu", "gru", "lstm"])
def test_nan_in_any_gate_is_nan_out(cell, dtype):
    H, width = 5, 5 * {"tanh": 1, "relu": 1, "gru": 3, "lstm": 4}[cell]
    for gate in range(width // H):
        rows = torch.ones(1, 2, width, dtype=dtype)
        rows[0, 0, gate * H + 1] = math.nan
        h_0 = torch.ones(2, H, dtype=dtype)
        output = recurrence(rows, None, rows.new_zeros(width, H), h_0=h_0, cell=cell)[0][0]
        assert output.isnan().nonzero().tolist() == [[0, 1]]
