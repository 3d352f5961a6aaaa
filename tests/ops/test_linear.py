"""The linear map against torch's in float64, over sizes around the blocks of the kernel."""

from itertools import product

import pytest
import torch

from pyagent.ops import linear
from pyagent.ops.linear import linear_reference

ops = torch.ops.pyagent
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-12}
# M, K, N: empty, the few rows of an acting step, odd, columns of one vector, and beyond every block (64 rows, 256 deep,
# 256 columns).
CASES = [
    *((0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 1, 1), (1, 64, 256), (4, 33, 7), (5, 33, 7), (6, 2, 40)),
    *((67, 9, 5), (131, 64, 1), (77, 300, 16), (65, 257, 31), (3, 300, 17), (9, 513, 259), (130, 70, 300)),
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


def assert_close_by_magnitude(got, wanted, magnitude):
    """Sums within float32's rounding of their magnitude, and half a unit of the last place of a bfloat16 result."""
    bound = 1e-5 * magnitude + (wanted.abs() * 2**-8 if got.dtype == torch.bfloat16 else 0)
    assert ((got.double() - wanted).abs() <= bound).all()


@pytest.mark.parametrize("bias_dtype", [torch.bfloat16, torch.float32, None], ids=str)
@pytest.mark.parametrize(("M", "K", "N"), [*CASES, (530, 3, 70), (17, 33, 65)])
def test_bfloat16_values_and_gradients_equal_float64_rounded_once(M, K, N, bias_dtype):
    input, weight, bias = sample_inputs(M, K, N, torch.bfloat16)
    bias = None if bias_dtype is None else bias.to(bias_dtype)
    weigh = torch.randn(M, N).bfloat16()
    got = run(linear, (input, weight, bias), weigh)
    assert [x.dtype for x in got] == [torch.bfloat16] * 3 + [bias_dtype] * (bias is not None)
    exact = [None if x is None else x.double() for x in (input, weight, bias)]
    magnitudes = run(linear_reference, [None if x is None else x.abs() for x in exact], weigh.abs())
    for x, y, magnitude in zip(got, run(linear_reference, exact, weigh), magnitudes, strict=True):
        assert_close_by_magnitude(x, y, magnitude)


def test_bfloat16_nan_infinity_and_ties():
    one, weight = torch.tensor([[1.0, 2**-9]]).bfloat16(), torch.tensor([[1.0, 2.0], [1 + 2**-7, 2.0]]).bfloat16()
    assert linear(one.expand(9, 2), weight)[0].tolist() == [1.0, 1 + 2**-6]
    special = torch.tensor([[torch.nan], [torch.inf], [-torch.inf], [3e38], [-0.0]]).bfloat16()
    got = linear(special, torch.full((3, 1), 2.0).bfloat16())
    assert got[0].isnan().all()
    assert got[1:, 0].tolist() == [torch.inf, -torch.inf, torch.inf, 0.0]


def test_autocast_takes_float32_as_bfloat16_and_gives_float32_gradients():
    inputs, weigh = sample_inputs(5, 33, 7, torch.float32), torch.randn(5, 7)
    wanted = run(linear, [x.bfloat16() for x in inputs], weigh)
    with torch.autocast("cpu", torch.bfloat16):
        got = run(linear, inputs, weigh)
        assert linear(*(x.double() for x in inputs)).dtype == torch.float64
        assert torch.equal(linear(inputs[0].view(5, 1, 33), *inputs[1:]).view(5, 7), wanted[0])
    assert [x.dtype for x in got] == [torch.bfloat16] + [torch.float32] * 3
    assert all(torch.equal(x.bfloat16(), y) for x, y in zip(got, wanted, strict=True))
    with torch.autocast("cpu", torch.bfloat16, enabled=False):
        assert linear(*inputs).dtype == torch.float32


def test_leading_dimensions_are_kept():
    input, weight, bias = sample_inputs(12, 5, 3)
    wanted = linear(input, weight, bias)
    assert torch.equal(linear(input.view(2, 3, 2, 5), weight, bias), wanted.view(2, 3, 2, 3))
    assert torch.equal(linear(input[0], weight, bias), linear(input[:1], weight, bias)[0])
    weigh = torch.randn(12, 3, dtype=torch.float64)
    rows, led = (
        run(linear, (input, weight, bias), weigh),
        run(linear, (input.view(2, 6, 5), weight, bias), weigh.view(2, 6, 3)),
    )
    assert all(torch.equal(x.view_as(y), y) for x, y in zip(rows, led, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_row_does_not_depend_on_those_around_it(dtype):
    input, weight, bias = sample_inputs(70, 300, 19, dtype)
    whole = linear(input, weight, bias)
    assert torch.equal(linear(input[11:31].contiguous(), weight, bias), whole[11:31])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_memory_layout_does_not_change_a_bit(dtype):
    inputs, weigh = sample_inputs(9, 7, 11, dtype), torch.randn(9, 11)
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
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_opcheck(dtype, bias):
    input, weight, b = sample_inputs(3, 4, 5, dtype, bias)
    torch.library.opcheck(ops.linear_forward.default, (input, weight, b))
    torch.library.opcheck(ops.linear_forward.default, (input, weight, b, True))
    for need in ((True, True, bias), (False, False, False)):
        arguments = (torch.ones(3, 5, dtype=dtype), input, weight, *need)
        torch.library.opcheck(ops.linear_backward.default, arguments)
        torch.library.opcheck(ops.linear_backward.default, (*arguments, True))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("dynamic", [False, pytest.param(True, marks=pytest.mark.slow_compile)])
def test_compiles_into_one_graph_with_its_gradient(dynamic):
    torch.compiler.reset()
    compiled = torch.compile(linear, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for M in (3, 6) if dynamic else (3,):
        inputs, weigh = sample_inputs(M, 4, 5), torch.randn(M, 5, dtype=torch.float64)
        for got, wanted in zip(run(compiled, inputs, weigh), run(linear, inputs, weigh), strict=True):
            torch.testing.assert_close(got, wanted)
        inputs = [x.float() for x in inputs]
        with torch.autocast("cpu", torch.bfloat16):
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
        ({"weight": torch.zeros(5, 4).bfloat16()}, TypeError, "input: got float32, want bfloat16"),
        ({"weight": None}, TypeError, "weight: got NoneType"),
        ({"weight": torch.zeros(5, 4, device="meta")}, ValueError, "input: got a tensor on cpu, want meta"),
        ({"bias": torch.zeros(4)}, ValueError, r"bias: got shape \(4,\), want \[5\]"),
        ({"bias": torch.zeros(5).int()}, TypeError, "bias: got int32"),
        ({"bias": torch.zeros(5).bfloat16()}, TypeError, "bias: got bfloat16, want float32"),
        ({"bias": torch.zeros(5, device="meta")}, ValueError, "bias: got a tensor on meta"),
    ],
)
@pytest.mark.parametrize("grad", [False, True])
def test_bad_input_names_the_argument(changes, error, message, grad):
    good = {"input": torch.zeros(3, 4), "weight": torch.zeros(5, 4, requires_grad=grad), "bias": torch.zeros(5)}
    with pytest.raises(error, match=message):
        linear(**{**good, **changes})
