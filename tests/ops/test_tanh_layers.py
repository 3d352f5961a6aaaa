"""Linear maps with tanh between against torch in float64, over sizes around the blocks of the kernels."""

from itertools import pairwise

import pytest
import torch

from pyagent.ops import tanh_layers
from pyagent.ops.tanh_layers import tanh_layers_reference

ops = torch.ops.pyagent
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-12}
# Rows, then the sizes of the layers: one layer, empty, odd, few outputs, beyond a vector and a block.
CASES = [
    *((7, 5, 3), (0, 3, 4, 2), (3, 0, 4, 2), (3, 4, 0, 2), (3, 4, 2, 0), (1, 1, 1, 1), (3, 33, 17, 5)),
    *((67, 128, 64, 64, 4), (130, 70, 300, 1), (65, 9, 33, 31, 7, 2)),
]


def sample_inputs(rows, sizes, dtype=torch.float64, bias_dtype=None):
    random = torch.Generator().manual_seed(rows + sum(sizes))

    def draw(*shape):
        return torch.randn(shape, generator=random, dtype=torch.float64)

    weights = [(draw(b, a) / max(a, 1) ** 0.5).to(dtype) for a, b in pairwise(sizes)]
    biases = [draw(size).to(bias_dtype or dtype) for size in sizes[1:]]
    return [draw(rows, sizes[0]).to(dtype), *weights, *biases]


def apply(function, inputs):
    input, *parameters = inputs
    return function(input, parameters[: len(parameters) // 2], parameters[len(parameters) // 2 :])


def run(function, inputs, weigh):
    leaves = [x.detach().requires_grad_() for x in inputs]
    output = apply(function, leaves)
    return [output.detach(), *torch.autograd.grad(output, leaves, weigh.to(output.dtype), materialize_grads=True)]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("rows", "sizes"), [(rows, sizes) for rows, *sizes in CASES])
def test_values_and_gradients_equal_torch_in_float64(rows, sizes, dtype):
    inputs, weigh = sample_inputs(rows, sizes, dtype), torch.randn(rows, sizes[-1], dtype=torch.float64).to(dtype)
    wanted = run(tanh_layers_reference, [x.double() for x in inputs], weigh.double())
    for x, y in zip(run(tanh_layers, inputs, weigh), wanted, strict=True):
        assert x.dtype == dtype
        torch.testing.assert_close(x.double(), y, rtol=TOLERANCE[dtype], atol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("bias_dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize(("rows", "sizes"), [(rows, sizes) for rows, *sizes in CASES])
def test_bfloat16_is_near_float64(rows, sizes, bias_dtype):
    inputs, weigh = sample_inputs(rows, sizes, torch.bfloat16, bias_dtype), torch.randn(rows, sizes[-1]).bfloat16()
    wanted = run(tanh_layers_reference, [x.double() for x in inputs], weigh.double())
    for x, y, given in zip(run(tanh_layers, inputs, weigh), wanted, [inputs[0], *inputs], strict=True):
        assert x.dtype == given.dtype
        assert (x.double() - y).norm() <= 0.02 * y.norm() + 0.005 * y.numel() ** 0.5


def test_large_infinite_and_missing_numbers():
    input = torch.tensor([[30.0], [-1e30], [torch.inf], [torch.nan]], dtype=torch.float64)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        one, none = torch.ones(1, 1, dtype=dtype), torch.zeros(1, dtype=dtype)
        got = tanh_layers(input.to(dtype), [one, one], [none, none])
        assert got[:3, 0].tolist() == [1.0, -1.0, 1.0]
        assert got[3].isnan()


def test_autocast_takes_float32_as_bfloat16_and_gives_float32_gradients():
    inputs, weigh = sample_inputs(5, [33, 40, 7], torch.float32), torch.randn(5, 7)
    wanted = run(tanh_layers, [x.bfloat16() for x in inputs], weigh)
    with torch.autocast("cpu", torch.bfloat16):
        got = run(tanh_layers, inputs, weigh)
    assert [x.dtype for x in got] == [torch.bfloat16] + [torch.float32] * 5
    assert all(torch.equal(x.bfloat16(), y) for x, y in zip(got, wanted, strict=True))


def test_leading_dimensions_are_kept():
    inputs, weigh = sample_inputs(12, [5, 4, 3]), torch.randn(12, 3, dtype=torch.float64)
    rows = run(tanh_layers, inputs, weigh)
    led = run(tanh_layers, [inputs[0].view(2, 6, 5), *inputs[1:]], weigh.view(2, 6, 3))
    assert all(torch.equal(x.view_as(y), y) for x, y in zip(rows, led, strict=True))
    assert torch.equal(
        apply(tanh_layers, [inputs[0][0], *inputs[1:]]), apply(tanh_layers, [inputs[0][:1], *inputs[1:]])[0]
    )


@pytest.mark.parametrize("chosen", range(5))
def test_gradcheck_of_single_inputs(chosen):
    inputs = [x.requires_grad_(i == chosen) for i, x in enumerate(sample_inputs(3, [4, 5, 2]))]
    assert torch.autograd.gradcheck(lambda *inputs: apply(tanh_layers, inputs), inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_opcheck(dtype):
    input, *parameters = sample_inputs(3, [4, 5, 2], dtype)
    weights, hidden, grad = parameters[:2], [torch.ones(3, 5, dtype=dtype) / 2], torch.ones(3, 2, dtype=dtype)
    torch.library.opcheck(ops.tanh_layers_forward.default, (input, weights, parameters[2:]))
    torch.library.opcheck(ops.tanh_layers_forward.default, (input, weights, parameters[2:], True))
    for need_input in (True, False):
        torch.library.opcheck(ops.tanh_layers_backward.default, (grad, input, weights, hidden, need_input))
        torch.library.opcheck(ops.tanh_layers_backward.default, (grad, input, weights, hidden, need_input, True))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_compiles_into_one_graph_with_its_gradient():
    torch.compiler.reset()
    compiled = torch.compile(tanh_layers, fullgraph=True, backend="aot_eager", dynamic=False)
    inputs, weigh = sample_inputs(3, [4, 5, 2]), torch.randn(3, 2, dtype=torch.float64)
    for got, wanted in zip(run(compiled, inputs, weigh), run(tanh_layers, inputs, weigh), strict=True):
        torch.testing.assert_close(got, wanted)


def test_second_derivatives_and_func_transforms_are_refused():
    inputs = [x.requires_grad_() for x in sample_inputs(3, [4, 5, 2])]
    (grad,) = torch.autograd.grad(apply(tanh_layers, inputs).pow(2).sum(), inputs[0], create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        grad.sum().backward()
    with pytest.raises(NotImplementedError, match="tanh_layers"):
        torch.func.grad(lambda x: apply(tanh_layers, [x, *inputs[1:]]).sum())(inputs[0])


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({0: torch.zeros(3, 5)}, ValueError, r"input: got shape \(3, 5\), want \[…, 4\]"),
        ({0: torch.tensor(1.0)}, ValueError, "input: got shape"),
        ({0: torch.zeros(3, 4).double()}, TypeError, "input: got float64, want float32"),
        ({0: [[0.0]]}, TypeError, "input: got list"),
        ({1: torch.zeros(5)}, ValueError, r"weights\[0\]: got shape"),
        ({2: torch.zeros(2, 4)}, ValueError, r"weights\[1\]: got shape \(2, 4\), want \[N, 5\]"),
        ({2: torch.zeros(2, 5).double()}, TypeError, r"weights\[1\]: got float64, want float32"),
        ({3: torch.zeros(4)}, ValueError, r"biases\[0\]: got shape \(4,\), want \[5\]"),
        ({4: None}, TypeError, r"biases\[1\]: got NoneType"),
        ({4: torch.zeros(2, device="meta")}, ValueError, r"biases\[1\]: got a tensor on meta"),
    ],
)
def test_bad_input_names_the_argument(changes, error, message, grad):
    good = sample_inputs(3, [4, 5, 2], torch.float32)
    good[1].requires_grad_(grad)
    with pytest.raises(error, match=message):
        apply(tanh_layers, [changes.get(i, x) for i, x in enumerate(good)])


@pytest.mark.parametrize("count", [0, 1])
def test_every_weight_has_a_bias(count):
    with pytest.raises(ValueError, match=f"biases: got {count}"):
        tanh_layers(torch.zeros(3, 4), [torch.zeros(5, 4), torch.zeros(2, 5)][: 2 * count], [torch.zeros(5)] * count)
