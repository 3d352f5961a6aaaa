"""A whole layer against the references of its parts: values, gradients, checkpoints, and what torch asks of an op."""

from itertools import product
from typing import NamedTuple

import pytest
import torch

from pyagent.ops import recurrent_layer
from pyagent.ops.recurrence import CELLS, GATES
from pyagent.ops.recurrent_layer import recurrent_layer_reference

ops = torch.ops.pyagent
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-11}


class Case(NamedTuple):
    """Sizes, and which of the optional arguments there are; V = 0 is a dense input."""

    T: int
    B: int
    E: int
    H: int
    V: int = 0
    reset: bool = False
    lengths: bool = False
    state: bool = True
    bias: bool = True

    def __str__(self):
        options = [name for name in self._fields[5:] if getattr(self, name)]
        return "-".join(["T{}-B{}-E{}-H{}-V{}".format(*self), *options])


# Dense; a vocabulary smaller and one larger than the batch.
EVERY_OPTION = [Case(7, 3, 5, 9, V, *options) for V in (0, 6, 200) for options in product((False, True), repeat=4)]
# Empty, single, around a vector's width, several panels wide.
ODD_SIZES = [(0, 2, 3, 4), (5, 0, 3, 4), (1, 1, 1, 1), (3, 2, 0, 5), (4, 3, 17, 33), (2, 29, 16, 64), (3, 2, 5, 130)]
CASES = EVERY_OPTION + [Case(*size, V, True, True) for size in ODD_SIZES for V in (0, 7)]
SMALL = [Case(3, 2, 3, 2), Case(3, 3, 2, 2, 4, True, True)]


def sample_inputs(cell, case, dtype=torch.float64, seed=0):
    """Arguments of `recurrent_layer`, by name."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape, scale=1.0):
        return scale * torch.randn(shape, generator=random, dtype=torch.float64).to(dtype)

    T, B, E, H, V = case[:5]
    width, scale = GATES[cell] * H, max(H, 1) ** -0.5
    return {
        "input": torch.randint(0, V, (T, B), generator=random) if V else draw(T, B, E),
        "embedding": draw(V, E) if V else None,
        "weight_ih": draw(width, E, scale=scale),
        "weight_hh": draw(width, H, scale=scale),
        "bias_ih": draw(width) if case.bias else None,
        "bias_hh": draw(width) if case.bias else None,
        "h_0": draw(B, H) if case.state else None,
        "c_0": draw(B, H) if case.state and cell == "lstm" else None,
        "reset": torch.rand(T, B, generator=random) < 0.3 if case.reset else None,
        "lengths": torch.randint(0, T + 1, (B,), generator=random) if case.lengths else None,
    }


def run(function, inputs, cell, passes=1, **options):
    """Results and the gradients of a random linear function of them, from one or more backward passes, by name."""
    leaves = {k: x.detach().requires_grad_() for k, x in inputs.items() if x is not None and x.is_floating_point()}
    results = [x for x in function(**{**inputs, **leaves}, cell=cell, **options) if x is not None]
    random = torch.Generator().manual_seed(1)
    loss = sum((torch.randn(x.shape, generator=random, dtype=torch.float64).to(x.dtype) * x).sum() for x in results)
    for left in reversed(range(passes)):
        grads = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True, retain_graph=left > 0)
    return [x.detach() for x in results] + list(grads)


def in_float64(inputs):
    return {name: x.double() if x is not None and x.is_floating_point() else x for name, x in inputs.items()}


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_values_and_gradients_equal_the_reference_in_float64(cell, dtype, case):
    inputs = sample_inputs(cell, case, dtype)
    got = run(recurrent_layer, inputs, cell)
    for x, wanted in zip(got, run(recurrent_layer_reference, in_float64(inputs), cell), strict=True):
        assert x.dtype == dtype
        torch.testing.assert_close(x.double(), wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


# Of ReLU the gradient is left out: rounding decides which units are on.
@pytest.mark.parametrize("case", [Case(17, 9, 37, 70, V, True, True) for V in (0, 20, 200)], ids=str)
@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
def test_values_and_gradients_in_bfloat16(cell, every, case):
    inputs = sample_inputs(cell, case, torch.bfloat16)
    got = run(recurrent_layer, inputs, cell, checkpoint_every=every)
    for x, wanted in zip(got, run(recurrent_layer_reference, in_float64(inputs), cell), strict=True):
        assert x.dtype == torch.bfloat16
        assert (x.double() - wanted).norm() <= 1e-2 * wanted.norm()


def test_relu_in_bfloat16():
    inputs = sample_inputs("relu", Case(17, 9, 37, 70, 20), torch.bfloat16)
    got, wanted = (
        recurrent_layer(**inputs, cell="relu")[0],
        recurrent_layer_reference(**in_float64(inputs), cell="relu"),
    )
    assert (got.double() - wanted[0]).norm() <= 1e-2 * wanted[0].norm()


@pytest.mark.parametrize("V", [0, 20, 200])
@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
def test_autocast_takes_float32_as_bfloat16(cell, V):
    inputs = sample_inputs(cell, Case(17, 9, 37, 70, V, True, True), torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        got = run(recurrent_layer, inputs, cell)
    results = 3 if cell == "lstm" else 2
    assert {x.dtype for x in got[:results]} == {torch.bfloat16}
    assert {x.dtype for x in got[results:]} == {torch.float32}
    for x, wanted in zip(got, run(recurrent_layer_reference, in_float64(inputs), cell), strict=True):
        assert (x.double() - wanted).norm() <= 2e-2 * wanted.norm()


@pytest.mark.parametrize("every", [2, 3, 100])
@pytest.mark.parametrize("V", [0, 6], ids=["dense", "tokens"])
@pytest.mark.parametrize("cell", CELLS)
def test_checkpoints_change_no_value_and_no_gradient(cell, V, every):
    inputs = sample_inputs(cell, Case(7, 4, 5, 9, V, True, True))
    wanted = run(recurrent_layer, inputs, cell)
    got = run(recurrent_layer, inputs, cell, checkpoint_every=every)
    for x, y in zip(got, wanted, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("V", [0, 6], ids=["dense", "tokens"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_second_backward_pass_equals_the_first(cell, V, every):
    inputs = sample_inputs(cell, Case(7, 4, 5, 9, V, True, True), torch.float32)
    once, twice = (run(recurrent_layer, inputs, cell, passes, checkpoint_every=every) for passes in (1, 2))
    assert all(torch.equal(x, y) for x, y in zip(once, twice, strict=True))


@pytest.mark.parametrize("V", [0, 6], ids=["dense", "tokens"])
@pytest.mark.parametrize("cell", CELLS)
def test_values_do_not_depend_on_whether_gradients_are_wanted(cell, V):
    # Wide enough that without gradients the rows of a dense input are made in several segments.
    inputs = sample_inputs(cell, Case(40, 9, 5, 70, V, True, True), torch.float32)
    with_gradient = run(recurrent_layer, inputs, cell)
    without = [x for x in recurrent_layer(**inputs, cell=cell) if x is not None]
    assert all(torch.equal(x, y) for x, y in zip(without, with_gradient, strict=False))


@pytest.mark.parametrize("cell", CELLS)
def test_padding_gets_no_gradient(cell):
    inputs = sample_inputs(cell, Case(6, 4, 3, 5, 4))
    results = [run(f, inputs, cell, padding_idx=2) for f in (recurrent_layer, recurrent_layer_reference)]
    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted)
    grad_embedding = results[0][3 if cell == "lstm" else 2]
    assert (grad_embedding[2] == 0).all()
    assert (grad_embedding[0] != 0).any()


@pytest.mark.parametrize("wanted", ["input", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "h_0"])
@pytest.mark.parametrize("cell", CELLS)
def test_gradient_of_one_argument_alone(cell, wanted):
    inputs = sample_inputs(cell, Case(5, 3, 4, 6, reset=True))
    grads = []
    for function in (recurrent_layer, recurrent_layer_reference):
        leaf = inputs[wanted].clone().requires_grad_()
        output = function(**{**inputs, wanted: leaf}, cell=cell)[0]
        grads += torch.autograd.grad(output.square().sum(), leaf)
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("cell", "case", "every"), [("lstm", SMALL[1], 1), ("gru", SMALL[0], 1), ("lstm", SMALL[0], 2)]
)
def test_opcheck(cell, case, every, dtype):
    inputs, number = sample_inputs(cell, case, dtype), CELLS.index(cell)
    for options in ((every,), (every, True)):
        torch.library.opcheck(ops.recurrent_layer_forward.default, (*inputs.values(), number, *options))
    output, _, c_n, gates, cells = ops.recurrent_layer_forward(*inputs.values(), number, every)
    grads = (torch.ones_like(output), None, c_n if cell == "lstm" else None)
    # The comparison with the traced op calls twice with the same gates, which the first call overwrites: see the
    # compiled case below instead.
    of_gates = ("test_schema", "test_autograd_registration", "test_faketensor")
    for saved, tests in ((gates, of_gates), (None, (*of_gates, "test_aot_dispatch_dynamic")))[every > 1 :]:
        arguments = (*grads, *inputs.values(), output, saved, cells, number, every, -1)
        for options in ((True,) * 5, (False,) * 5, (True,) * 6):  # the last: split too
            torch.library.opcheck(ops.recurrent_layer_backward.default, (*arguments, *options), test_utils=tests)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize(
    ("cell", "case"),
    [("lstm", SMALL[1]), pytest.param("gru", SMALL[0], marks=pytest.mark.slow_compile)],
    ids=str,
)
def test_compiles_into_one_graph_with_its_gradient(cell, case):
    torch.compiler.reset()
    compiled = torch.compile(recurrent_layer, fullgraph=True, backend="aot_eager")
    inputs = sample_inputs(cell, case)
    for got, wanted in zip(run(compiled, inputs, cell), run(recurrent_layer, inputs, cell), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"cell": "elman"}, ValueError, "cell: got 'elman'"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every: got 0"),
        ({"weight_ih": torch.zeros(8, 4)}, ValueError, "input: got shape"),
        ({"weight_hh": torch.zeros(9, 2)}, ValueError, "weight_hh: got shape"),
        ({"bias_ih": torch.zeros(7)}, ValueError, "bias_ih: got shape"),
        ({"h_0": torch.zeros(2, 2, dtype=torch.float64)}, TypeError, "h_0: got float64"),
        ({"lengths": torch.tensor([4, 0])}, IndexError, "lengths: got 4, want 0 to 3"),
        ({"reset": torch.zeros(3, 2)}, TypeError, "reset: got float32"),
        ({"input": torch.full((3, 2), 5), "embedding": torch.zeros(5, 3)}, IndexError, "input: got 5, want 0 to 4"),
        (
            {"input": torch.zeros(3, 2, dtype=torch.int64), "embedding": torch.zeros(5, 3), "padding_idx": 5},
            IndexError,
            "padding_idx: got 5",
        ),
    ],
)
def test_what_is_wrong_is_named(changes, error, message):
    inputs = sample_inputs("lstm", SMALL[0], torch.float32)
    with pytest.raises(error, match=message):
        recurrent_layer(**{"cell": "lstm", **inputs, **changes})
