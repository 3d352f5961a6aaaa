"""The step against its float64 definition, by both its doors, and what may not pass the dispatcher by."""

from itertools import product
from typing import NamedTuple

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from pyagent import native
from pyagent.ops import StepWeights, pack_step, recurrence_step
from pyagent.ops.recurrence import CELLS, GATES
from pyagent.ops.recurrence_step import recurrence_step_reference

ops = torch.ops.pyagent
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-11}
V = 5


class Case(NamedTuple):
    """Sizes, and which of the options there are."""

    L: int
    B: int
    inputs: int
    H: int
    tokens: bool = False
    bias: bool = True
    state: bool = True
    reset: bool = False

    def __str__(self):
        options = [name for name in self._fields[4:] if getattr(self, name)]
        return "-".join([f"L{self.L}", f"B{self.B}", f"I{self.inputs}", f"H{self.H}", *options])


EVERY_OPTION = [Case(2, 3, 4, 6, *options) for options in product((False, True), repeat=4)]
# None, one, around a vector's width and several blocks wide; lanes in one group, in several, in several parts.
ODD_SIZES = [(1, 0, 3, 4), (1, 1, 0, 1), (1, 1, 33, 17), (2, 5, 1, 130), (3, 9, 8, 8), (1, 23, 17, 65), (2, 131, 5, 33)]
CASES = EVERY_OPTION + [Case(*size, tokens, True, True, True) for size in ODD_SIZES for tokens in (False, True)]


def sample_inputs(cell, case, dtype=torch.float32):
    """input, weights, h, c and reset."""
    random = torch.Generator().manual_seed(0)

    def draw(*shape, scale=1.0):
        return scale * torch.randn(shape, generator=random, dtype=torch.float64).to(dtype)

    L, B, inputs, H, width = *case[:4], GATES[cell] * case.H
    layers = []
    for layer in range(L):
        layers += [draw(width, H if layer else inputs, scale=0.3), draw(width, H, scale=H**-0.5)]
        layers += [draw(width), draw(width)] if case.bias else []
    table = draw(V, inputs) if case.tokens else None
    weights = StepWeights(table, tuple(layers), CELLS.index(cell), H)
    return (
        torch.randint(0, V, (B,), generator=random) if case.tokens else draw(B, inputs),
        weights,
        draw(L, B, H) if case.state else None,
        draw(L, B, H) if case.state and cell == "lstm" else None,
        torch.rand(B, generator=random) < 0.4 if case.reset else None,
    )


def definition(input, weights, h, c, reset):
    """A stack of torch.nn's cells in float64, one after another."""
    cell, H = CELLS[weights.cell], weights.hidden_size
    layers = [tensor.double() for tensor in weights.layers]
    size = 4 if len(layers) > 2 and layers[2].dim() == 1 else 2
    x = input.double() if weights.table is None else weights.table.double()[input.long()]
    zeros = x.new_zeros(len(layers) // size, len(x), H)
    h, c = (zeros if state is None else state.double() for state in (h, c))
    if reset is not None:
        h, c = (state.masked_fill(reset[:, None], 0.0) for state in (h, c))
    h_n, c_n = [], []
    for layer in range(len(h)):
        kind = {"lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}.get(cell, torch.nn.RNNCell)
        extra = {} if cell in ("lstm", "gru") else {"nonlinearity": cell}
        one = kind(x.shape[1], H, bias=size == 4, dtype=torch.float64, **extra)
        for parameter, value in zip(one.parameters(), layers[layer * size : (layer + 1) * size], strict=True):
            parameter.data = value
        result = one(x, (h[layer], c[layer]) if cell == "lstm" else h[layer])
        x, c_last = result if cell == "lstm" else (result, None)
        h_n.append(x.detach())
        c_n.append(c_last)
    return h_n[-1], torch.stack(h_n), torch.stack(c_n).detach() if cell == "lstm" else None


def by_the_op(input, weights, h, c, reset):
    output, h_n, c_n = ops.recurrence_step(input, h, c, reset, *weights)
    return output, h_n, c_n if CELLS[weights.cell] == "lstm" else None


def past_the_dispatcher(input, weights, h, c, reset):
    return native.core.recurrence_step(input, h, c, reset, *weights)


def projected(weights):
    """The same with the table's rows made the first layer's pre-activations."""
    cell, H = CELLS[weights.cell], weights.hidden_size
    weight_ih, _, *biases = weights.layers[: 4 if len(weights.layers) > 2 and weights.layers[2].dim() == 1 else 2]
    rows = weights.table @ weight_ih.t()
    if biases:
        inside = torch.arange(len(biases[1])) >= 2 * H
        rows = rows + biases[0] + (biases[1].masked_fill(inside, 0.0) if cell == "gru" else biases[1])
    return weights._replace(table=rows, projected=True)


def assert_close(got, wanted, dtype):
    for x, y in zip(got, wanted, strict=True):
        assert (x is None) == (y is None)
        if x is not None:
            assert x.dtype == dtype
            assert not x.requires_grad
            torch.testing.assert_close(x.double(), y, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_a_step_is_equal_to_its_definition_in_every_form(cell, dtype, case):
    input, weights, *state = sample_inputs(cell, case, dtype)
    before = [None if x is None else x.clone() for x in (input, *state, weights.table, *weights.layers)]
    wanted = definition(input, weights, *state)
    forms = [weights, projected(weights)] if case.tokens else [weights]
    for form in forms + [pack_step(form) for form in forms]:
        for step in (recurrence_step, by_the_op, past_the_dispatcher):
            assert_close(step(input, form, *state), wanted, dtype)
    for form in forms:
        assert_close(recurrence_step_reference(input, form, *state), wanted, dtype)
    after = (input, *state, weights.table, *weights.layers)
    assert all(x is None or torch.equal(x, y) for x, y in zip(before, after, strict=True))


@pytest.mark.parametrize("cell", CELLS)
def test_a_lane_is_equal_to_itself_alone(cell):
    input, weights, h, c, _ = sample_inputs(cell, Case(2, 71, 9, 37, True))
    for form in (weights, pack_step(weights)):
        together = recurrence_step(input, form, h, c)
        for b in (0, 40, 70):
            lane = [x if x is None else x[:, b : b + 1] for x in (h, c)]
            alone = recurrence_step(input[b : b + 1], form, *lane)
            assert torch.equal(alone[0][0], together[0][b])


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64], ids=str)
def test_tokens_and_resets_of_both_widths_with_strides(dtype, strided):
    input, weights, h, c, reset = sample_inputs("gru", Case(1, 4, 3, 5, True, reset=True))
    wanted = recurrence_step(input, weights, h, c, reset)[0]
    input = input.to(dtype)
    if strided:
        input, reset = (torch.stack((x, x), 1)[:, 1] for x in (input, reset))
        assert not input.is_contiguous()
    for step in (by_the_op, past_the_dispatcher):
        assert torch.equal(step(input, weights, h, c, reset)[0], wanted)


def test_results_are_ordinary_tensors():
    model = sample_inputs("lstm", Case(2, 3, 4, 5))
    for x in past_the_dispatcher(*model):
        assert x.is_contiguous()
        assert x.data_ptr() % 64 == 0
        assert torch.equal(x.clone().add_(1), x + 1)
        x.requires_grad_().sum().backward()
        assert (x.grad == 1).all()
        assert x.detach().numpy().shape == x.shape


class Watch(TorchDispatchMode):
    seen: tuple[str, ...] = ()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen += (str(func),)
        return func(*args, **(kwargs or {}))


class Subclass(torch.Tensor):
    pass


def test_what_watches_or_replaces_calls_is_not_passed_by():
    input, weights, h, c, reset = sample_inputs("lstm", Case(1, 2, 3, 4))
    step = past_the_dispatcher
    assert step(input, weights, h, c, reset) is not None
    with Watch() as watch:
        assert step(input, weights, h, c, reset) is None
        recurrence_step(input, weights, h, c, reset)
    assert "pyagent.recurrence_step.default" in watch.seen
    with torch.device("cpu"):  # a function mode
        assert step(input, weights, h, c, reset) is None
    assert step(input.as_subclass(Subclass), weights, h, c, reset) is None
    assert step(input, weights, h.to("meta"), c, reset) is None
    assert step(input.t().contiguous().t(), weights, h, c, reset) is None
    assert step(torch.nn.Parameter(input), weights, h, c, reset) is not None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tracing_records_the_op():
    input, weights, h, c, reset = sample_inputs("lstm", Case(1, 2, 3, 4))

    def step(x):
        return recurrence_step(x, weights, h, c, reset)[0]

    assert "pyagent::recurrence_step" in str(torch.jit.trace(step, (input,), check_trace=False).graph)
    graph = make_fx(step)(input)
    torch.testing.assert_close(graph(2 * input), step(2 * input))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_functionalized_it_is_the_same():
    input, weights, h, c, reset = sample_inputs("lstm", Case(1, 2, 3, 4))
    wanted = recurrence_step(2 * input, weights, h, c, reset)[0]
    got = torch.func.functionalize(lambda x: recurrence_step(x.mul_(2), weights, h, c, reset)[0])(input.clone())
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("cell", CELLS)
def test_opcheck(cell):
    input, weights, *state = sample_inputs(cell, Case(2, 3, 4, 5, True, True, True, True))
    for form in (weights, pack_step(weights), projected(weights)):
        torch.library.opcheck(ops.recurrence_step.default, (input, *state, *form))
    torch.library.opcheck(ops.recurrence_step_pack.default, (*weights.layers[:4], weights.cell))
    torch.library.opcheck(ops.recurrence_step_pack.default, (None, weights.layers[1], None, None, weights.cell))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize(("cell", "backend"), [("lstm", "inductor"), ("gru", "aot_eager")])
def test_compiles_into_one_graph(cell, backend):
    torch.compiler.reset()
    input, weights, *state = sample_inputs(cell, Case(2, 3, 4, 5, True, reset=True))
    for form in (weights, pack_step(weights)):
        compiled = torch.compile(recurrence_step, fullgraph=True, backend=backend)
        for got, wanted in zip(compiled(input, form, *state), recurrence_step(input, form, *state), strict=True):
            assert (got is None) == (wanted is None)
            torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("cell", CELLS)
def test_nan_stays_in_its_lane_and_a_reset_forgets_it(cell):
    input, weights, h, c, _ = sample_inputs(cell, Case(2, 4, 3, 5))
    input[0, 0], h[:, 1:3] = float("nan"), float("nan")
    reset = torch.tensor([False, False, True, False])
    for form in (weights, pack_step(weights)):
        output, _, _ = recurrence_step(input, form, h, c, reset)
        assert torch.equal(output.isnan().any(1), torch.tensor([True, True, False, False]))


STATE = torch.zeros(2, 3, 5)


@pytest.mark.parametrize("packed", [False, True], ids=["as they are", "packed"])
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"input": torch.tensor([0, V, 1])}, IndexError, f"input: got {V}, want 0 to {V - 1}"),
        ({"input": torch.tensor([0, -1, 1]).int()}, IndexError, "input: got -1"),
        ({"input": torch.zeros(3)}, TypeError, "input: got float32, want int32 or int64"),
        ({"input": torch.zeros(3, 1, dtype=torch.int64)}, ValueError, "input: got shape"),
        ({"input": None}, TypeError, "input: got NoneType"),
        ({"h": STATE[:1]}, ValueError, r"h: got shape \(1, 3, 5\), want \[2, 3, 5\]"),
        ({"h": STATE.double()}, TypeError, "h: got float64, want float32"),
        ({"c": STATE}, ValueError, "c: got a tensor, want None for cell 'gru'"),
        ({"reset": torch.zeros(2, dtype=torch.bool)}, ValueError, "reset: got shape"),
        ({"reset": torch.zeros(3)}, TypeError, "reset: got float32"),
    ],
)
def test_bad_input_names_the_argument(packed, changes, error, message):
    input, weights, h, c, reset = sample_inputs("gru", Case(2, 3, 4, 5, True))
    arguments = {"input": input, "h": h, "c": c, "reset": reset, **changes}
    with pytest.raises(error, match=message):
        recurrence_step(weights=pack_step(weights) if packed else weights, **arguments)


def test_bad_weights_are_named():
    input, weights, h, c, reset = sample_inputs("gru", Case(1, 3, 4, 5))
    for number, name in enumerate(("weight_ih", "weight_hh", "bias", "bias")):
        layers = list(weights.layers)
        layers[number] = layers[number][:-1]
        with pytest.raises(ValueError, match=f"{name}: got shape"):
            recurrence_step(input, weights._replace(layers=tuple(layers)), h, c, reset)
