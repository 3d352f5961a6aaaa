"""The linear map against torch's in float64, over sizes around the blocks of the kernel."""

from itertools import product

import pytest
import torch

from pyagent.ops import linear
from pyagent.ops.linear import linear_reference

ops = torch.ops.pyagent
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-12}
# M, K, N: empty, the few rows of an acting step, odd, and beyond every block (64 rows, 256 deep, 256 columns).
CASES = [
    *((0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 1, 1), (1, 64, 256), (4, 33, 7), (5, 33, 7), (6, 2, 40)),
    *((67, 9, 5), (65, 257, 31), (3, 300, 17), (9, 513, 259), (130, 70, 300)),
]


def sample_inputs(M, K, N, dtype=torch.float64, bias=True):
    random = torch.Generator().manual_seed(M + K + N)

    def draw(*shape):
        return torch.randn(shape, generator=random, dtype=torch.float64).to(dtype)

    return draw(M, K), draw(N, K) / max(K, 1) ** 0.5, draw(N) if bias else None


def run(function, inputs, weigh):
    leaves = [None if x is None else x.detach().requires_grad_() for x in inputs]
    output = function(*leaves)
    given = [x for x in leaves if x is not None]
    grads = torch.autograd.grad(output, given, weigh.to(output.dtype), materialize_grads=True)
    return [output.detach(), *grads]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("M", "K", "N"), CASES)
def test_values_and_gradients_equal_torch_in_float64(M, K, N, dtype, bias):
    inputs, weigh = sample_inputs(M, K, N, dtype, bias), torch.randn(M, N, dtype=torch.float64).to(dtype)
    got = run(linear, inputs, weigh)
    wanted = run(linear_reference, [None if x is None else x.double() for x in inputs], weigh)
    for x, y in zip(got, wanted, strict=True):
        assert x.dtype == dtype
        torch.testing.assert_close(x.double(), y, rtol=TOLERANCE[dtype], atol=10 * TOLERANCE[dtype])


def test_leading_dimensions_are_kept():
    input, weight, bias = sample_inputs(12, 5, 3)
    wanted = linear(input, weight, bias)
    assert torch.equal(linear(input.view(2, 3, 2, 5), weight, bias), wanted.view(2, 3, 2, 3))
    assert torch.equal(linear(input[0], weight, bias), linear(input[:1], weight, bias)[0])


def test_a_row_does_not_depend_on_those_around_it():
    input, weight, bias = sample_inputs(70, 300, 19, torch.float32)
    whole = linear(input, weight, bias)
    assert torch.equal(linear(input[11:31].contiguous(), weight, bias), whole[11:31])


def test_memory_layout_does_not_change_a_bit():
    inputs, weigh = sample_inputs(9, 7, 11, torch.float32), torch.randn(9, 11)
    strided = [x.t().contiguous().t() if x.dim() == 2 else torch.stack((x, x), 1)[:, 0] for x in inputs]
    for x, y in zip(run(linear, inputs, weigh), run(linear, strided, weigh.t().contiguous().t()), strict=True):
        assert torch.equal(x, y)


def test_expanded_input_and_gradient():
    input, weight, bias = (x.requires_grad_() for x in sample_inputs(1, 6, 4))
    linear(input.expand(5, 6), weight, bias).sum().backward()
    torch.testing.assert_close(input.grad, 5 * weight.detach().sum(0, keepdim=True))
    torch.testing.assert_close(weight.grad, 5 * input.detach().expand(4, 6))
    assert torch.equal(bias.grad, torch.full((4,), 5.0, dtype=torch.float64))


@pytest.mark.parametrize("chosen", [c for c in product((False, True), repeat=3) if any(c)], ids=str)
def test_gradcheck_of_every_set_of_inputs(chosen):
    inputs = [x.requires_grad_(wanted) for x, wanted in zip(sample_inputs(3, 4, 5), chosen, strict=True)]
    assert torch.autograd.gradcheck(linear, inputs)


@pytest.mark.parametrize("bias", [True, False])
def test_opcheck(bias):
    input, weight, b = sample_inputs(3, 4, 5, torch.float32, bias)
    torch.library.opcheck(ops.linear_forward.default, (input, weight, b))
    for need in ((True, True, bias), (False, False, False)):
        torch.library.opcheck(ops.linear_backward.default, (torch.ones(3, 5), input, weight, *need))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("dynamic", [False, pytest.param(True, marks=pytest.mark.slow_compile)])
def test_compiles_into_one_graph_with_its_gradient(dynamic):
    torch.compiler.reset()
    compiled = torch.compile(linear, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for M in (3, 6) if dynamic else (3,):
        inputs, weigh = sample_inputs(M, 4, 5), torch.randn(M, 5, dtype=torch.float64)
        for got, wanted in zip(run(compiled, inputs, weigh), run(linear, inputs, weigh), strict=True):
            torch.testing.assert_close(got, wanted)


def test_second_derivatives_and_func_transforms_are_refused():
    input, weight, bias = (x.requires_grad_() for x in sample_inputs(3, 4, 5))
    (grad,) = torch.autograd.grad(linear(input, weight, bias).pow(2).sum(), input, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        grad.sum().backward()
    with pytest.raises(NotImplementedError, match="linear"):
        torch.func.grad(lambda x: linear(x, weight, bias).sum())(input)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"input": torch.zeros(3, 5)}, ValueError, r"input: got shape \(3, 5\), want \[…, 4\]"),
        ({"input": torch.zeros(2, 3, 5)}, ValueError, r"input: got shape \(2, 3, 5\), want \[…, …, 4\]"),
        ({"input": torch.tensor(1.0)}, ValueError, "input: got shape"),
        ({"input": torch.zeros(3, 4).double()}, TypeError, "input: got float64, want float32"),
        ({"input": [[0.0]]}, TypeError, "input: got list"),
        ({"input": torch.zeros(3, 4, device="meta")}, ValueError, "input: got a tensor on meta"),
        ({"input": torch.zeros(3, 4).to_sparse()}, ValueError, "input: got a sparse_coo tensor"),
        ({"weight": torch.zeros(5)}, ValueError, "weight: got shape"),
        ({"weight": torch.zeros(5, 4).half()}, TypeError, "weight: got float16, want float32 or float64"),
        ({"weight": None}, TypeError, "weight: got NoneType"),
        ({"weight": torch.zeros(5, 4, device="meta")}, ValueError, "input: got a tensor on cpu, want meta"),
        ({"bias": torch.zeros(4)}, ValueError, r"bias: got shape \(4,\), want \[5\]"),
        ({"bias": torch.zeros(5).int()}, TypeError, "bias: got int32"),
        ({"bias": torch.zeros(5, device="meta")}, ValueError, "bias: got a tensor on meta"),
    ],
)
@pytest.mark.parametrize("grad", [False, True])
def test_bad_input_names_the_argument(changes, error, message, grad):
    good = {"input": torch.zeros(3, 4), "weight": torch.zeros(5, 4, requires_grad=grad), "bias": torch.zeros(5)}
    with pytest.raises(error, match=message):
        linear(**{**good, **changes})
