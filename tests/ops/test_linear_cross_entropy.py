"""The language-model head against torch's linear and cross_entropy in float64, around its chunks and blocks."""

import math
from itertools import product

import pytest
import torch

from pyagent.ops import linear_cross_entropy
from pyagent.ops.linear_cross_entropy import REDUCTIONS, linear_cross_entropy_reference

ops = torch.ops.pyagent
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-11}
IGNORED = -100
# N, V, H: empty, single, few classes, odd, and beyond a chunk (192 rows) and a block (512 classes).
CASES = [
    *((0, 5, 3), (3, 5, 0), (1, 1, 1), (2, 4, 3), (17, 33, 9), (33, 17, 16)),
    *((193, 7, 5), (5, 513, 20), (200, 1100, 33), (400, 530, 65)),
]


def sample_inputs(N, V, H, dtype=torch.float64, bias=True, ignored=0.2, seed=0):
    """Arguments of `linear_cross_entropy`, by name; logits of standard deviation about 1.5."""
    random = torch.Generator().manual_seed(seed + N + V + H)

    def draw(*shape):
        return torch.randn(shape, generator=random, dtype=torch.float64).to(dtype)

    target = torch.randint(0, V, (N,), generator=random)
    target[torch.rand(N, generator=random) < ignored] = IGNORED
    return {
        "input": draw(N, H),
        "linear_weight": draw(V, H) / max(H, 1) ** 0.5,
        "target": target,
        "linear_bias": draw(V) if bias else None,
    }


def in_float64(inputs):
    return {name: x.double() if x is not None and x.is_floating_point() else x for name, x in inputs.items()}


def run(function, inputs, reduction, grad_loss=None, **settings):
    """The loss, and its gradients by all that is differentiable."""
    leaves = {k: x.detach().requires_grad_() for k, x in inputs.items() if x is not None and x.is_floating_point()}
    loss = function(**{**inputs, **leaves}, reduction=reduction, **settings)
    grad_loss = torch.ones_like(loss) if grad_loss is None else grad_loss.to(loss.dtype)
    return [loss.detach(), *torch.autograd.grad(loss, list(leaves.values()), grad_loss, materialize_grads=True)]


def weights(N, reduction):
    shape = (N,) if reduction == "none" else ()
    return torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def assert_same(got, wanted, tolerance):
    for x, y in zip(got, wanted, strict=True):
        torch.testing.assert_close(x.double(), y.double(), rtol=tolerance, atol=tolerance, equal_nan=True)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_equal_torch_in_float64(case, dtype, reduction, bias):
    inputs = sample_inputs(*case, dtype, bias)
    grad_loss = weights(case[0], reduction)
    got = run(linear_cross_entropy, inputs, reduction, grad_loss)
    assert all(x.dtype == dtype for x in got)
    assert_same(got, run(linear_cross_entropy_reference, in_float64(inputs), reduction, grad_loss), TOLERANCE[dtype])


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_the_reference_is_torch_own_function(reduction):
    inputs = sample_inputs(9, 7, 5)
    wanted = run(torch.nn.functional.linear_cross_entropy, inputs, reduction, ignore_index=IGNORED)
    assert_same(run(linear_cross_entropy_reference, inputs, reduction), wanted, 1e-13)
    assert_same(run(linear_cross_entropy, inputs, reduction), wanted, 1e-11)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_values_do_not_depend_on_whether_gradients_are_wanted(reduction):
    inputs = sample_inputs(200, 600, 19, torch.float32)
    assert torch.equal(
        linear_cross_entropy(**inputs, reduction=reduction), run(linear_cross_entropy, inputs, reduction)[0]
    )


def test_the_reductions_agree():
    inputs = sample_inputs(300, 20, 8, torch.float32)
    none, mean, total = (run(linear_cross_entropy, inputs, reduction) for reduction in REDUCTIONS)
    counted = (inputs["target"] != IGNORED).sum()
    torch.testing.assert_close(none[0].sum(), total[0])
    torch.testing.assert_close(mean[0], total[0] / counted)
    for x, y, z in zip(none[1:], mean[1:], total[1:], strict=True):
        assert torch.equal(x, z)
        torch.testing.assert_close(y, z / counted)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_leading_dimensions_are_those_of_the_target(reduction):
    inputs = sample_inputs(12, 5, 3, torch.float32)
    loss, grad, *others = run(linear_cross_entropy, inputs, reduction)
    shaped = {**inputs, "input": inputs["input"].view(2, 3, 2, 3), "target": inputs["target"].view(2, 3, 2)}
    got_loss, got_grad, *got_others = run(linear_cross_entropy, shaped, reduction)
    assert torch.equal(got_loss, loss.view(2, 3, 2) if reduction == "none" else loss)
    assert torch.equal(got_grad, grad.view(2, 3, 2, 3))
    assert all(torch.equal(x, y) for x, y in zip(got_others, others, strict=True))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_single_row_without_leading_dimensions(reduction):
    inputs = sample_inputs(1, 5, 3, ignored=0)
    single = {**inputs, "input": inputs["input"][0], "target": inputs["target"][0]}
    loss = linear_cross_entropy(**single, reduction=reduction)
    assert loss.shape == ()
    torch.testing.assert_close(loss, linear_cross_entropy(**inputs, reduction="sum"))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_ignored_rows_contribute_nothing_whatever_they_hold(reduction, poison):
    inputs = sample_inputs(400, 30, 8, torch.float32, ignored=0.5)
    counted = inputs["target"] != IGNORED
    alone = {**inputs, "input": inputs["input"][counted], "target": inputs["target"][counted]}
    wanted = run(linear_cross_entropy, alone, reduction)
    inputs["input"][~counted] = poison
    got = run(linear_cross_entropy, inputs, reduction)
    if reduction == "none":
        assert (got[0][~counted] == 0).all()
        got[0] = got[0][counted]
    assert (got[1][~counted] == 0).all()
    got[1] = got[1][counted]
    assert all(torch.equal(x, y) for x, y in zip(got, wanted, strict=True))


@pytest.mark.parametrize("ignore_index", [0, 3, -1, 10**12])
def test_any_integer_may_be_the_ignored_target(ignore_index):
    inputs = sample_inputs(40, 5, 8, torch.float64, ignored=0)
    inputs["target"][::3] = ignore_index
    got = run(linear_cross_entropy, inputs, "mean", ignore_index=ignore_index)
    wanted = run(linear_cross_entropy_reference, inputs, "mean", ignore_index=ignore_index)
    assert_same(got, wanted, 1e-11)


@pytest.mark.parametrize("N", [0, 5])
def test_without_a_counted_row_the_mean_is_nan_and_the_gradients_are_zeros(N):
    inputs = sample_inputs(N, 4, 3)
    inputs["target"][:] = IGNORED
    mean, *grads = run(linear_cross_entropy, inputs, "mean")
    assert mean.isnan()
    assert all((grad == 0).all() for grad in grads)
    assert all((x == 0).all() for x in run(linear_cross_entropy, inputs, "sum"))


def test_ignored_targets_of_no_classes():
    inputs = {"input": torch.ones(2, 3), "linear_weight": torch.ones(0, 3), "target": torch.full((2,), IGNORED)}
    assert linear_cross_entropy(**inputs).isnan()
    with pytest.raises(IndexError, match="target"):
        linear_cross_entropy(**{**inputs, "target": torch.tensor([0, IGNORED])})


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("scale", [1e-3, 50.0, 1e4, 1e8])
def test_logits_of_every_size(scale, dtype):
    inputs = sample_inputs(30, 1100, 9, dtype, ignored=0)
    inputs["linear_weight"] *= scale
    inputs["linear_bias"] *= scale
    got = run(linear_cross_entropy, inputs, "none")
    wanted = run(linear_cross_entropy_reference, inputs, "none")
    assert all(x.isfinite().all() for x in got)
    for x, y in zip(got, wanted, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-3 if dtype == torch.float32 else 1e-9, atol=1e-4)


def test_a_bias_of_minus_infinity_takes_a_class_out():
    inputs = sample_inputs(20, 1600, 8, torch.float32, ignored=0)
    inputs["target"] %= 100
    inputs["linear_bias"][100:] = -math.inf  # whole blocks among them
    few = {**inputs, "linear_weight": inputs["linear_weight"][:100], "linear_bias": inputs["linear_bias"][:100]}
    got, wanted = run(linear_cross_entropy, inputs, "mean"), run(linear_cross_entropy, few, "mean")
    assert_same([got[0], got[1], got[2][:100], got[3][:100]], wanted, 1e-6)
    assert (got[2][100:] == 0).all()
    assert (got[3][100:] == 0).all()
    inputs["target"][0] = 100
    assert linear_cross_entropy(**inputs) == math.inf


@pytest.mark.parametrize("poison", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["input", "linear_weight", "linear_bias"])
def test_nan_in_is_nan_out(where, poison):
    inputs = sample_inputs(5, 600, 3, torch.float32, ignored=0)
    inputs[where].view(-1)[1] = poison
    got = run(linear_cross_entropy, inputs, "none")
    wanted = run(linear_cross_entropy_reference, inputs, "none")
    assert torch.equal(got[0].isnan(), wanted[0].isnan())
    assert torch.equal(got[1].isnan(), wanted[1].isnan())
    assert got[0].isnan().any()
    assert run(linear_cross_entropy, inputs, "mean")[0].isnan()


def test_every_logit_minus_infinity_is_nan_as_in_torch():
    inputs = sample_inputs(3, 5, 2, torch.float32, ignored=0)
    inputs["linear_bias"][:] = -math.inf
    assert linear_cross_entropy(**inputs, reduction="none").isnan().all()


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_memory_layout_does_not_change_a_bit(reduction):
    inputs = sample_inputs(9, 11, 7, torch.float32)
    strided = {k: x.t().contiguous().t() if x.dim() == 2 else torch.stack((x, x), 1)[:, 0] for k, x in inputs.items()}
    assert not strided["target"].is_contiguous()
    grad_loss = weights(9, reduction)
    for x, y in zip(*(run(linear_cross_entropy, i, reduction, grad_loss) for i in (inputs, strided)), strict=True):
        assert torch.equal(x, y)


def test_expanded_input_and_gradient():
    inputs = in_float64(sample_inputs(1, 6, 4, ignored=0))
    leaf = inputs["input"].requires_grad_()
    expanded = {**inputs, "input": leaf.expand(5, 4), "target": inputs["target"].expand(5)}
    linear_cross_entropy(**expanded, reduction="none").sum().backward()
    grad, leaf.grad = leaf.grad, None
    linear_cross_entropy(**inputs, reduction="sum").backward()
    torch.testing.assert_close(grad, 5 * leaf.grad)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("chosen", [c for c in product((False, True), repeat=3) if any(c)], ids=str)
def test_gradcheck_of_every_set_of_inputs(chosen, reduction):
    inputs = sample_inputs(5, 4, 3)
    names = [k for k, wanted in zip(("input", "linear_weight", "linear_bias"), chosen, strict=True) if wanted]

    def f(*tensors):
        return linear_cross_entropy(**{**inputs, **dict(zip(names, tensors, strict=True))}, reduction=reduction)

    assert torch.autograd.gradcheck(f, [inputs[name].requires_grad_() for name in names])


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_graph_that_is_kept_gives_the_same_gradients_again(reduction):
    inputs = sample_inputs(20, 9, 5)
    x = inputs["input"].requires_grad_()
    loss = 3 * linear_cross_entropy(**inputs, reduction=reduction).sum()
    first, second, third = (torch.autograd.grad(loss, x, retain_graph=keep)[0] for keep in (True, True, False))
    assert torch.equal(first, second)
    assert torch.equal(first, third)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_gradients_accumulate_over_calls():
    first, second = sample_inputs(20, 9, 5, seed=1), sample_inputs(20, 9, 5, seed=2)
    weight = first["linear_weight"].requires_grad_()
    grads = []
    for inputs in (first, second):
        loss = linear_cross_entropy(**{**inputs, "linear_weight": weight})
        grads.append(torch.autograd.grad(loss, weight, retain_graph=True)[0])
        loss.backward()
    assert torch.equal(weight.grad, grads[0] + grads[1])


@pytest.mark.parametrize("bias", [True, False])
def test_opcheck(bias):
    inputs = tuple(sample_inputs(6, 5, 4, torch.float32, bias).values())
    for reduction, need in product(range(3), ((True, True, bias), (False, True, False), (False, False, False))):
        torch.library.opcheck(ops.linear_cross_entropy_forward.default, (*inputs, IGNORED, reduction, *need))
        torch.library.opcheck(ops.linear_cross_entropy_backward.default, (torch.ones(6), *inputs, IGNORED, *need))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dynamic", [False, pytest.param(True, marks=pytest.mark.slow_compile)])
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow_compile)])
def test_compiles_into_one_graph_with_its_gradient(reduction, dynamic, backend):
    torch.compiler.reset()
    compiled = torch.compile(linear_cross_entropy, fullgraph=True, backend=backend, dynamic=dynamic)
    for N in (7, 12) if dynamic else (7,):
        inputs, grad_loss = sample_inputs(N, 5, 4), weights(N, reduction)
        got = run(compiled, inputs, reduction, grad_loss)
        assert_same(got, run(linear_cross_entropy, inputs, reduction, grad_loss), 1e-12)


def test_second_derivatives_are_refused():
    for reduction in REDUCTIONS:
        inputs = sample_inputs(3, 4, 5)
        input = inputs["input"].requires_grad_()
        loss = linear_cross_entropy(**inputs, reduction=reduction).pow(2).sum()
        (grad,) = torch.autograd.grad(loss, input, create_graph=True)
        with pytest.raises(RuntimeError, match="differentiate twice"):
            grad.sum().backward()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_func_transforms_and_forward_mode_are_refused():
    inputs = sample_inputs(3, 4, 5)

    def f(x):
        return linear_cross_entropy(**{**inputs, "input": x})

    with pytest.raises(NotImplementedError, match="linear_cross_entropy"):
        torch.func.grad(f)(inputs["input"])
    with torch.autograd.forward_ad.dual_level(), pytest.raises(NotImplementedError, match="forward-mode"):
        f(torch.autograd.forward_ad.make_dual(inputs["input"], inputs["input"]))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"input": torch.zeros(3, 5)}, ValueError, r"input: got shape \(3, 5\), want \[…, 4\]"),
        ({"input": torch.tensor(1.0)}, ValueError, "input: got shape"),
        ({"input": torch.zeros(3, 4).double()}, TypeError, "input: got float64, want float32"),
        ({"input": torch.zeros(3, 4).bfloat16()}, TypeError, "input: got bfloat16, want float32"),
        ({"input": [[0.0]]}, TypeError, "input: got list"),
        ({"input": torch.zeros(3, 4, device="meta")}, ValueError, "input: got a tensor on meta"),
        ({"input": torch.zeros(3, 4).to_sparse()}, ValueError, "input: got a sparse_coo tensor"),
        ({"linear_weight": torch.zeros(5)}, ValueError, "linear_weight: got shape"),
        ({"linear_weight": torch.zeros(5, 4).half()}, TypeError, "linear_weight: got float16, want float32 or"),
        ({"linear_weight": None}, TypeError, "linear_weight: got NoneType"),
        ({"target": torch.zeros(2, dtype=torch.int64)}, ValueError, r"target: got shape \(2,\), want \[3\]"),
        ({"target": torch.zeros(3, 1, dtype=torch.int64)}, ValueError, r"target: got shape \(3, 1\), want \[3\]"),
        ({"target": torch.zeros(3, dtype=torch.int32)}, TypeError, "target: got int32, want int64"),
        ({"target": torch.zeros(3, 5)}, TypeError, "target: got float32, want int64"),
        ({"target": torch.tensor([0, 5, 1])}, IndexError, "target: got 5, want 0 to 4"),
        ({"target": torch.tensor([0, -1, IGNORED])}, IndexError, "target: got -1, want 0 to 4"),
        ({"target": torch.tensor([0, IGNORED, 1]), "ignore_index": -1}, IndexError, "target: got -100, want 0 to 4"),
        ({"linear_bias": torch.zeros(4)}, ValueError, r"linear_bias: got shape \(4,\), want \[5\]"),
        ({"linear_bias": torch.zeros(5).int()}, TypeError, "linear_bias: got int32"),
        ({"linear_bias": torch.zeros(5, device="meta")}, ValueError, "linear_bias: got a tensor on meta"),
        ({"reduction": "average"}, ValueError, "reduction: got 'average', want one of none, mean, sum"),
        ({"ignore_index": None}, TypeError, "ignore_index: got NoneType, want an integer"),
    ],
)
@pytest.mark.parametrize("grad", [False, True])
def test_bad_input_names_the_argument(changes, error, message, grad):
    good = {
        "input": torch.zeros(3, 4),
        "linear_weight": torch.zeros(5, 4, requires_grad=grad),
        "target": torch.zeros(3, dtype=torch.int64),
        "linear_bias": torch.zeros(5),
    }
    with pytest.raises(error, match=message):
        linear_cross_entropy(**{**good, **changes})
