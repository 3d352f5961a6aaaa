"""The recurrence against its reference: values, gradients, and what torch asks of an op."""

from itertools import combinations, product
from typing import NamedTuple

import pytest
import torch

from pyagent.ops import recurrence
from pyagent.ops.recurrence import CELLS, GATES, recurrence_reference

ops = torch.ops.pyagent
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-11}
DTYPES = tuple(TOLERANCE)


class Case(NamedTuple):
    """Sizes, and which of the optional arguments there are."""

    T: int
    B: int
    H: int
    row_index: bool = False
    reset: bool = False
    lengths: bool = False
    state: bool = True

    def __str__(self):
        options = [name for name in self._fields[3:] if getattr(self, name)]
        return "-".join([f"T{self.T}", f"B{self.B}", f"H{self.H}", *options])


EVERY_OPTION = [Case(6, 5, 7, *options) for options in product((False, True), repeat=4)]
# Empty, single, around a vector's width, several panels wide, many groups of lanes.
ODD_SIZES = [
    (0, 3, 4),
    (4, 0, 5),
    (0, 0, 2),
    (1, 1, 1),
    (5, 2, 1),
    (3, 2, 8),
    (4, 3, 17),
    (3, 29, 33),
    (2, 3, 130),
    (3, 2, 0),
]
CASES = EVERY_OPTION + [
    Case(*size, *options) for size in ODD_SIZES for options in ((False, False, False, True), (True,) * 4)
]
SMALL = [Case(3, 2, 3), Case(3, 3, 2, True, True, True), Case(2, 2, 2, True, False, True, False)]


def sample_inputs(cell, case, dtype=torch.float64, seed=0):
    """Arguments of `recurrence`, by name; a table shorter than the sequence, so that rows repeat and some go unread."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape, scale=1.0):
        return scale * torch.randn(shape, generator=random, dtype=torch.float64).to(dtype)

    T, B, H, width = *case[:3], GATES[cell] * case.H
    R = T * B // 2 + 1
    lengths = torch.randint(0, T + 1, (B,), generator=random)
    lengths[: min(B, 2)] = torch.tensor([0, T])[: min(B, 2)]
    return {
        "rows": draw(R, width) if case.row_index else draw(T, B, width),
        "row_index": torch.randint(0, R, (T, B), generator=random) if case.row_index else None,
        "weight_hh": draw(width, H, scale=max(H, 1) ** -0.5),
        "bias_hn": draw(H) if cell == "gru" and case.state else None,
        "h_0": draw(B, H) if case.state else None,
        "c_0": draw(B, H) if cell == "lstm" and case.state else None,
        "reset": torch.rand(T, B, generator=random) < 0.3 if case.reset else None,
        "lengths": lengths if case.lengths else None,
    }


def differentiable(inputs):
    return [name for name, x in inputs.items() if x is not None and x.is_floating_point()]


def run(function, inputs, cell, seed=1):
    """Results of a recurrence and the gradients of a random linear function of them, by name."""
    leaves = {name: inputs[name].detach().requires_grad_() for name in differentiable(inputs)}
    output, h_n, c_n = function(**{**inputs, **leaves}, cell=cell)
    results = {"output": output, "h_n": h_n} | ({} if c_n is None else {"c_n": c_n})
    random = torch.Generator().manual_seed(seed)
    weights = {k: torch.randn(x.shape, generator=random, dtype=torch.float64).to(x.dtype) for k, x in results.items()}
    loss = sum((weights[k] * x).sum() for k, x in results.items())
    grads = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    return {k: x.detach() for k, x in results.items()} | dict(zip([f"grad_{k}" for k in leaves], grads, strict=True))


def in_float64(inputs):
    return {name: x.double() if x is not None and x.is_floating_point() else x for name, x in inputs.items()}


def assert_same(got, wanted, tolerance):
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(
            got[name].double(), value, rtol=tolerance, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_values_and_gradients_equal_the_reference_in_float64(cell, dtype, case):
    inputs = sample_inputs(cell, case, dtype)
    got = run(recurrence, inputs, cell)
    assert all(x.dtype == dtype for x in got.values())
    assert_same(got, run(recurrence_reference, in_float64(inputs), cell), TOLERANCE[dtype])


@pytest.mark.parametrize("cell", CELLS)
def test_values_do_not_depend_on_whether_gradients_are_wanted(cell):
    inputs = sample_inputs(cell, Case(6, 5, 19, True, True, True), torch.float32)
    with_gradient = run(recurrence, inputs, cell)
    for got, name in zip(recurrence(**inputs, cell=cell), ("output", "h_n", "c_n"), strict=True):
        assert got is None or torch.equal(got, with_gradient[name])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("case", [Case(4, 3, 5, False, True, True), Case(4, 3, 5, True, True, True)], ids=str)
def test_memory_layout_does_not_change_a_bit(cell, case):
    inputs = sample_inputs(cell, case, torch.float32)
    wanted = run(recurrence, inputs, cell)

    def scattered(x):
        """The same values with every axis reversed in memory, behind an offset."""
        axes = tuple(reversed(range(x.dim())))
        room = x.new_zeros(*(x.shape[axis] for axis in axes), 2)
        room[..., 1] = x.permute(axes)
        return room[..., 1].permute(axes)

    strided = {name: None if x is None else scattered(x) for name, x in inputs.items()}
    assert not strided["weight_hh"].is_contiguous()
    got = run(recurrence, strided, cell)
    assert all(torch.equal(got[name], value) for name, value in wanted.items())


@pytest.mark.parametrize("cell", CELLS)
def test_expanded_inputs_and_gradients(cell):
    inputs = sample_inputs(cell, Case(5, 4, 6))
    inputs["rows"] = inputs["rows"][:, :1].expand(-1, 4, -1)
    inputs["h_0"] = inputs["h_0"][:1].expand(4, -1)
    results = []
    for function in (recurrence, recurrence_reference):
        weight = inputs["weight_hh"].clone().requires_grad_()
        function(**{**inputs, "weight_hh": weight}, cell=cell)[0].sum().backward()
        results.append(weight.grad)
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("used", ["output", "h_n", "c_n"])
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_gradient_of_one_result_alone(used, case):
    inputs = sample_inputs("lstm", case)

    def only(**arguments):
        results = dict(zip(("output", "h_n", "c_n"), recurrence(**arguments), strict=True))
        return [x if name == used else x.detach() for name, x in results.items()]

    def only_reference(**arguments):
        results = dict(zip(("output", "h_n", "c_n"), recurrence_reference(**arguments), strict=True))
        return [x if name == used else x.detach() for name, x in results.items()]

    assert_same(run(only, inputs, "lstm"), run(only_reference, inputs, "lstm"), 1e-11)


@pytest.mark.parametrize("row_index", [False, True], ids=["dense", "indexed"])
@pytest.mark.parametrize("cell", CELLS)
def test_gradcheck_of_every_set_of_inputs(cell, row_index):
    inputs = sample_inputs(cell, Case(2, 2, 2, row_index, True, True))
    inputs["lengths"] = torch.tensor([1, 2])
    names = differentiable(inputs)
    for count in range(1, len(names) + 1):
        for chosen in combinations(names, count):
            leaves = [inputs[name].clone().requires_grad_() for name in chosen]

            def f(*tensors, chosen=chosen):
                results = recurrence(**{**inputs, **dict(zip(chosen, tensors, strict=True))}, cell=cell)
                return tuple(x for x in results if x is not None)

            assert torch.autograd.gradcheck(f, leaves), chosen


@pytest.mark.parametrize(
    ("cell", "case"), [("relu", SMALL[1]), ("gru", SMALL[1]), ("lstm", SMALL[0]), ("lstm", SMALL[1])], ids=str
)
def test_opcheck(cell, case):
    inputs, number = sample_inputs(cell, case, torch.float32), CELLS.index(cell)
    for options in ((False,), (False, True)):
        torch.library.opcheck(ops.recurrence_forward.default, (*inputs.values(), number, *options))
    output, _, c_n, gates, cells = ops.recurrence_forward(*inputs.values(), number, True)
    rows, row_index, weight_hh, _, h_0, c_0, reset, lengths = inputs.values()
    grads = (torch.ones_like(output), None, c_n if cell == "lstm" else None)
    num_rows = rows.shape[0] if case.row_index else 0
    saved = (h_0, c_0, reset, lengths, output, gates, cells, number)
    for need in ((True, True, True), (False, False, False), (True, True, True, True)):  # the last: split too
        arguments = (*grads, num_rows, row_index, weight_hh, *saved, *need)
        torch.library.opcheck(ops.recurrence_backward.default, arguments)


def every_compiled_case():
    for cell, case, backend, dynamic in product(CELLS, SMALL, ("aot_eager", "inductor"), (False, True)):
        if backend == "inductor" and cell in ("tanh", "relu"):
            continue  # what the compiler sees of them is the same
        representative = (cell, case, backend, dynamic) == ("lstm", SMALL[1], "inductor", False)
        mark = () if representative else pytest.mark.slow_compile
        yield pytest.param(cell, case, backend, dynamic, marks=mark, id=f"{cell}-{case}-{backend}-{dynamic}")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize(("cell", "case", "backend", "dynamic"), list(every_compiled_case()))
def test_compiles_into_one_graph_with_its_gradient(cell, case, backend, dynamic):
    torch.compiler.reset()
    compiled = torch.compile(recurrence, fullgraph=True, backend=backend, dynamic=dynamic)
    for T in (case.T, case.T + 2) if dynamic else (case.T,):
        inputs = sample_inputs(cell, case._replace(T=T))
        assert_same(run(compiled, inputs, cell), run(recurrence, inputs, cell), 1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_nan_stays_in_its_lane(cell):
    inputs = sample_inputs(cell, Case(4, 3, 9))
    inputs["rows"][1, 1] = float("nan")
    output, h_n, _ = recurrence(**inputs, cell=cell)
    assert torch.equal(output.isnan().any(2), torch.tensor([[False] * 3] + [[False, True, False]] * 3))
    assert torch.equal(h_n.isnan().all(1), torch.tensor([False, True, False]))


@pytest.mark.parametrize("cell", CELLS)
def test_a_reset_forgets_nan_and_infinity(cell):
    inputs = sample_inputs(cell, Case(4, 2, 5, reset=True))
    inputs["reset"][:] = torch.tensor([[False], [False], [True], [False]])
    inputs["rows"][1, 0] = float("nan")
    inputs["h_0"][1] = float("inf")
    got = run(recurrence, inputs, cell)
    assert torch.isfinite(got["output"][2:]).all()
    assert torch.isfinite(got["h_n"]).all()


def test_differentiating_twice_is_refused():
    inputs = sample_inputs("gru", Case(2, 2, 3))
    rows = inputs["rows"].requires_grad_()
    (grad,) = torch.autograd.grad(recurrence(**inputs, cell="gru")[0].pow(2).sum(), rows, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        grad.sum().backward()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_func_transforms_and_forward_mode_are_refused():
    inputs = sample_inputs("gru", Case(2, 2, 3))

    def f(rows):
        return recurrence(**{**inputs, "rows": rows}, cell="gru")[0].sum()

    rows = inputs["rows"]
    for transform in (
        lambda: torch.func.grad(f)(rows),
        lambda: torch.func.vmap(f)(torch.stack((rows, rows))),
        lambda: torch.func.jvp(f, (rows,), (rows,)),
    ):
        with pytest.raises(NotImplementedError, match="func transforms"):
            transform()
    with torch.autograd.forward_ad.dual_level(), pytest.raises(NotImplementedError, match="forward-mode"):
        f(torch.autograd.forward_ad.make_dual(rows, rows))
