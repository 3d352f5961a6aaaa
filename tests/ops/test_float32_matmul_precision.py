"""torch.set_float32_matmul_precision: which ops are told to split products of float32, and what becomes of the results.

What a split product is worth is tested on emulated tiles, in tests/core.
"""

from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pyagent import native
from pyagent.ops import linear, recurrence, recurrent_layer
from pyagent.ops.linear import may_split

T, B, E, H, V = 9, 7, 33, 40, 11


def draw(*shape):
    return torch.randn(*shape)


OPS = {
    "linear": (linear, lambda: (draw(T * B, E), draw(H, E), draw(H))),
    "recurrence": (partial(recurrence, cell="lstm"), lambda: (draw(T, B, 4 * H), None, draw(4 * H, H) / H**0.5)),
    "dense layer": (
        partial(recurrent_layer, cell="gru"),
        lambda: (draw(T, B, E), None, draw(3 * H, E), draw(3 * H, H) / H**0.5, draw(3 * H), draw(3 * H)),
    ),
    "layer of tokens": (
        partial(recurrent_layer, cell="tanh", checkpoint_every=4),
        lambda: (torch.randint(0, V, (T, B)), draw(V, E), draw(H, E), draw(H, H) / H**0.5),
    ),
}
every_op = pytest.mark.parametrize("name", OPS)


@pytest.fixture
def set_precision(monkeypatch):
    """torch's, as if there were AMX."""
    monkeypatch.setitem(may_split.__globals__, "SPLITS", True)
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision("highest")


class Splits(TorchDispatchMode):
    """What our ops are told, by the name of the op."""

    def __init__(self):
        super().__init__()
        self.told = {}

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        if op.namespace == "pyagent":
            # An argument that has its default value is not passed.
            self.told[op._schema.name] = op._schema.arguments[len(args) - 1].name == "split" and args[-1]
        return op(*args, **(kwargs or {}))


def forward(name, change=lambda x: x):
    """The first result, weighed and summed, and what it can be differentiated in."""
    op, sample_inputs = OPS[name]
    inputs = [change(x).requires_grad_() if x is not None and x.is_floating_point() else x for x in sample_inputs()]
    result = op(*inputs)
    output = result if isinstance(result, torch.Tensor) else result[0]
    return output, (output * draw(*output.shape)).sum(), [x for x in inputs if x is not None and x.requires_grad]


@every_op
@pytest.mark.parametrize("precision", ["high", "medium"])
def test_the_ops_are_told_and_a_backward_pass_does_as_its_forward_pass(name, precision, set_precision):
    set_precision(precision)
    with Splits() as splits:
        _, loss, _ = forward(name)
        set_precision("highest")
        loss.backward()
    assert len(splits.told) == 2
    assert all(splits.told.values())


@every_op
def test_an_op_without_gradient_is_told(name, set_precision):
    set_precision("high")
    op, sample_inputs = OPS[name]
    with Splits() as splits, torch.no_grad():
        op(*sample_inputs())
    assert list(splits.told.values()) == [True]


@every_op
@pytest.mark.parametrize(
    ("precision", "change"),
    [("highest", torch.Tensor.float), ("high", torch.Tensor.double), ("high", torch.Tensor.bfloat16)],
    ids=["highest", "float64", "bfloat16"],
)
def test_nothing_else_is_split(name, precision, change, set_precision):
    if name == "recurrence" and change is torch.Tensor.bfloat16:
        pytest.skip("takes no bfloat16")
    set_precision(precision)
    with Splits() as splits:
        forward(name, change)[1].backward()
    assert not any(splits.told.values())


def test_autocast_goes_before(set_precision):
    set_precision("high")
    with torch.autocast("cpu", torch.bfloat16), Splits() as splits:
        output, loss, _ = forward("dense layer")
        loss.backward()
    assert output.dtype == torch.bfloat16
    assert not any(splits.told.values())


def test_settings_that_torch_finds_contradictory_split_nothing(set_precision, monkeypatch):
    def refuse():
        raise RuntimeError("mix of the legacy and new APIs")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", refuse)
    assert not may_split(torch.float32)


@every_op
def test_results_are_as_near_as_promised(name, set_precision):
    results = []
    for precision in ("highest", "high"):
        set_precision(precision)
        torch.manual_seed(1)
        output, loss, leaves = forward(name)
        results.append([output, *torch.autograd.grad(loss, leaves)])
    for plain, split in zip(*results, strict=True):
        assert (split - plain).norm() <= 1e-4 * plain.norm()
        assert native.isa() == "amx" or torch.equal(split, plain)


@every_op
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_compiles_into_one_graph_anew_for_another_precision(name, set_precision):
    op, sample_inputs = OPS[name]
    inputs, graphs = sample_inputs(), []

    def keep(graph, _):
        graphs.append([node.args[-1] for node in graph.graph.nodes if "pyagent" in str(node.target)])
        return graph

    torch.compiler.reset()
    compiled = torch.compile(op, fullgraph=True, backend=keep)
    for precision in ("high", "highest", "high"):
        set_precision(precision)
        compiled(*inputs)
    assert graphs == [[True], [False]]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_compiles_with_its_gradient(set_precision):
    set_precision("high")
    torch.compiler.reset()
    op, sample_inputs = OPS["dense layer"]
    inputs = [x if x is None else x.requires_grad_() for x in sample_inputs()]
    results = []
    for function in (op, torch.compile(op, fullgraph=True, backend="aot_eager")):
        output = function(*inputs)[0]
        results.append([output, *torch.autograd.grad(output.square().sum(), [x for x in inputs if x is not None])])
    assert all(torch.equal(x, y) for x, y in zip(*results, strict=True))
