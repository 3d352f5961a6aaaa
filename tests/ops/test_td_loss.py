"""Temporal-difference errors and losses against their definition, step by step in Python numbers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyagent.ops import (
    bootstrap_value,
    double_q_learning_td_error,
    q_learning_loss,
    q_learning_td_error,
    signed_hyperbolic,
    signed_parabolic,
    td_loss,
)
from pyagent.ops.td_loss import bootstrap_value_reference, td_loss_reference

ops = torch.ops.pyagent
# T, B, A: empty, single, odd, around a vector's width, and beyond a block of 512 rows and a short row of 64 actions.
CASES = [
    *((0, 4, 3), (5, 0, 3), (0, 0, 0), (1, 1, 1), (7, 3, 2), (3, 5, 4), (4, 3, 5), (17, 33, 18), (2, 3, 64)),
    *((2, 3, 65), (3, 2, 257)),
]
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}
SETTINGS = [
    {},
    {"double": True},
    {"huber_delta": 0.7},
    {"rescale_epsilon": 1e-3},
    {"double": True, "huber_delta": 1.0, "rescale_epsilon": 1e-2, "weights": "lane"},
    {"weights": "step"},
    {"weights": "lane"},
]


def sample_inputs(T, B, A, dtype=torch.float64, seed=0):
    """q_tm1, a_tm1, r_t, discount_t, q_t, q_t_selector; values with ties among them."""
    random = torch.Generator().manual_seed(seed + T + B + A)

    def draw(*shape):
        return (torch.randn(shape, generator=random, dtype=torch.float64) * 8).round().to(dtype) / 4

    discount_t = 0.97 * (torch.rand(T, B, generator=random) > 0.2).to(dtype)
    a_tm1 = torch.randint(0, max(A, 1), (T, B), generator=random)
    return draw(T, B, A), a_tm1, draw(T, B), discount_t, draw(T, B, A), draw(T, B, A)


def sample_weights(kind, T, B, dtype=torch.float64):
    random = torch.Generator().manual_seed(3)
    weights = torch.rand((B,) if kind == "lane" else (T, B), generator=random, dtype=torch.float64)
    return weights.where(torch.rand(weights.shape, generator=random) < 0.7, 0.0).to(dtype)


def arguments_of(case, dtype, setting):
    """Positional and keyword arguments of q_learning_loss."""
    *inputs, selector = sample_inputs(*case, dtype)
    keywords = {name: value for name, value in setting.items() if name != "double"}
    if "weights" in keywords:
        keywords["weights"] = sample_weights(keywords["weights"], *case[:2], dtype)
    return inputs, keywords | {"q_t_selector": selector if setting.get("double") else None}


def by_definition(inputs, q_t_selector=None, weights=None, huber_delta=None, rescale_epsilon=None):
    """Loss, errors and the gradient by q_tm1."""
    q_tm1, a_tm1, r_t, discount_t, q_t = (x.double() for x in inputs)
    T, B, A = q_tm1.shape
    h, inverse = (lambda x: x), (lambda x: x)
    if rescale_epsilon is not None:
        h, inverse = (
            lambda x, op=op: op(torch.tensor(x, dtype=torch.float64), rescale_epsilon).item()
            for op in (signed_hyperbolic, signed_parabolic)
        )
    td_error, grad, losses = torch.zeros(T, B).double(), torch.zeros(T, B, A).double(), []
    for t in range(T):
        for b in range(B):
            w = 1.0 if weights is None else (weights[b] if weights.dim() == 1 else weights[t, b]).item()
            if w == 0:
                continue
            judge = (q_t if q_t_selector is None else q_t_selector)[t, b].tolist()
            v = q_t[t, b, judge.index(max(judge))].item()
            a = int(a_tm1[t, b])
            delta = h(r_t[t, b].item() + discount_t[t, b].item() * inverse(v)) - q_tm1[t, b, a].item()
            kappa = math.inf if huber_delta is None else huber_delta
            small = abs(delta) <= kappa
            losses.append(w * (delta**2 / 2 if small else kappa * (abs(delta) - kappa / 2)))
            td_error[t, b] = delta
            grad[t, b, a] = -w * (delta if small else math.copysign(kappa, delta))
    n = len(losses)
    return (sum(losses) / n if n else math.nan), td_error, grad / max(n, 1)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_equal_the_definition(case, dtype, setting):
    inputs, keywords = arguments_of(case, dtype, setting)
    wanted = by_definition(inputs, **keywords)
    inputs[0].requires_grad_()
    loss, td_error = q_learning_loss(*inputs, **keywords)
    (grad,) = torch.autograd.grad(3 * loss, inputs[0])
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    assert loss.dtype == td_error.dtype == grad.dtype == dtype
    assert not td_error.requires_grad
    torch.testing.assert_close(loss.double().item(), wanted[0], equal_nan=True, **tolerance)
    torch.testing.assert_close(td_error.double(), wanted[1], **tolerance)
    torch.testing.assert_close(grad.double(), 3 * wanted[2], **tolerance)
    with torch.no_grad():
        again = q_learning_loss(*inputs, **keywords)
    assert torch.equal(again.td_error, td_error)
    torch.testing.assert_close(again.loss, loss, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_the_references_equal_the_definition(setting):
    inputs, keywords = arguments_of((17, 9, 5), torch.float64, setting)
    inputs[0].requires_grad_()
    loss, td_error = td_loss_reference(*inputs, **keywords)
    (grad,) = torch.autograd.grad(loss, inputs[0])
    wanted = by_definition([x.detach() for x in inputs], **keywords)
    torch.testing.assert_close(loss.item(), wanted[0])
    torch.testing.assert_close(td_error, wanted[1])
    torch.testing.assert_close(grad, wanted[2])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("double", [False, True])
def test_errors_and_their_gradient_equal_the_definition(case, dtype, double):
    *inputs, selector = sample_inputs(*case, dtype)
    wanted = by_definition(inputs, selector if double else None)[1].to(dtype)
    q_tm1, a_tm1 = inputs[0].requires_grad_(), inputs[1]
    td_error = double_q_learning_td_error(*inputs, selector) if double else q_learning_td_error(*inputs)
    torch.testing.assert_close(td_error, wanted)
    grad_td_error = torch.randn(case[:2], dtype=dtype)
    (grad,) = torch.autograd.grad(td_error, q_tm1, grad_td_error)
    assert torch.equal(grad, torch.zeros_like(q_tm1).scatter(-1, a_tm1.unsqueeze(-1), -grad_td_error.unsqueeze(-1)))


@pytest.mark.parametrize("rescale_epsilon", [None, 1e-3])
def test_targets_made_elsewhere_give_the_same_loss(rescale_epsilon):
    q_tm1, a_tm1, r_t, discount_t, q_t, selector = sample_inputs(9, 5, 6)
    keywords = {"huber_delta": 0.5, "weights": sample_weights("lane", 9, 5), "rescale_epsilon": rescale_epsilon}
    target = r_t + discount_t * bootstrap_value(q_t, selector, rescale_epsilon=rescale_epsilon)
    wanted = q_learning_loss(q_tm1, a_tm1, r_t, discount_t, q_t, q_t_selector=selector, **keywords)
    for got, value in zip(td_loss(q_tm1, a_tm1, target, **keywords), wanted, strict=True):
        assert torch.equal(got, value)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("rescale_epsilon", [None, 1e-2])
def test_bootstrap_values_equal_the_reference(case, double, rescale_epsilon):
    if case[2] == 0:
        assert bootstrap_value(torch.zeros(case)).shape == case[:2]
        return
    *_, q_t, selector = sample_inputs(*case)
    arguments = (q_t.requires_grad_(), selector if double else None)
    got = bootstrap_value(*arguments, rescale_epsilon=rescale_epsilon)
    assert not got.requires_grad
    torch.testing.assert_close(got, bootstrap_value_reference(*arguments, rescale_epsilon).detach())


@given(A=st.integers(1, 70), seed=st.integers(0, 10**6), dtype=st.sampled_from(list(TOLERANCE)))
@settings(max_examples=60)
def test_the_first_of_equal_choices_is_taken(A, seed, dtype):
    random = torch.Generator().manual_seed(seed)
    selector = torch.randint(0, 3, (4, 8, A), generator=random).to(dtype)
    q_t = torch.arange(A, dtype=dtype).expand(4, 8, A)
    first = torch.tensor([row.index(max(row)) for row in selector.flatten(0, 1).tolist()]).view(4, 8)
    assert torch.equal(bootstrap_value(q_t, selector), first.to(dtype))


@pytest.mark.parametrize("A", [1, 3, 4, 7, 18, 65, 130])
@pytest.mark.parametrize("where", [0, 2, 3])
def test_nan_reaches_its_own_error_alone(where, A):
    """In q_tm1 (of the action taken), r_t, discount_t; of q_t and the selector any action's counts."""
    inputs = list(sample_inputs(3, 4, A))
    inputs[where].view(3, 4, -1)[1, 2] = torch.nan
    assert double_q_learning_td_error(*inputs).isnan().nonzero().tolist() == [[1, 2]]


@pytest.mark.parametrize("A", [1, 3, 4, 7, 18, 65, 130])
def test_nan_in_any_next_value_is_nan(A):
    for action in range(A):
        *inputs, selector = sample_inputs(2, 2, A)
        inputs[4][1, 0, action] = torch.nan
        assert q_learning_td_error(*inputs).isnan().tolist() == [[False, False], [True, False]]
        selector[0, 1, action] = torch.nan
        wanted = inputs[4].gather(-1, selector.argmax(-1, keepdim=True)).squeeze(-1).isnan()
        wanted[0, 1] = True
        assert torch.equal(double_q_learning_td_error(*inputs, selector).isnan(), wanted)


@pytest.mark.parametrize("kind", ["lane", "step"])
@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_masked_steps_contribute_nothing_whatever_they_hold(kind, poison):
    *inputs, selector = sample_inputs(13, 9, 5)
    weights = sample_weights(kind, 13, 9)
    masked = (weights == 0).expand(13, 9)
    wanted = by_definition(inputs, selector, weights)
    for x in (inputs[0], *inputs[2:], selector):
        x[masked] = poison
    inputs[0].requires_grad_()
    loss, td_error = q_learning_loss(*inputs, q_t_selector=selector, weights=weights)
    torch.testing.assert_close(loss.item(), wanted[0])
    torch.testing.assert_close(td_error, wanted[1])
    torch.testing.assert_close(torch.autograd.grad(loss, inputs[0])[0], wanted[2])


@pytest.mark.parametrize("infinity", [math.inf, -math.inf])
def test_infinite_next_values_are_values(infinity):
    *inputs, selector = sample_inputs(2, 3, 6)
    inputs[3][:] = 1
    selector[..., 4] = math.inf
    inputs[4][..., 2] = infinity
    torch.testing.assert_close(q_learning_td_error(*inputs), td_loss_reference(*inputs)[1])
    wanted = td_loss_reference(*inputs, selector)[1]
    torch.testing.assert_close(double_q_learning_td_error(*inputs, selector), wanted)


def test_thread_count_does_not_change_a_bit():
    *inputs, selector = sample_inputs(130, 257, 18, torch.float32)
    inputs[0].requires_grad_()
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            got = q_learning_loss(*inputs, q_t_selector=selector, huber_delta=1.0)
            results.append((*got, *torch.autograd.grad(got.loss, inputs[0]), bootstrap_value(inputs[4])))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(x, y) for x, y in zip(*results, strict=True))


def test_memory_layout_does_not_change_a_bit():
    *inputs, selector = sample_inputs(6, 5, 4)
    keywords = {"q_t_selector": selector, "weights": sample_weights("step", 6, 5)}
    wanted = q_learning_loss(*inputs, **keywords)
    keywords = {name: x.transpose(0, 1).contiguous().transpose(0, 1) for name, x in keywords.items()}
    got = q_learning_loss(*(x.transpose(0, 1).contiguous().transpose(0, 1) for x in inputs), **keywords)
    assert all(torch.equal(x, y) for x, y in zip(got, wanted, strict=True))


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_gradcheck(setting):
    inputs, keywords = arguments_of((3, 4, 5), torch.float64, setting)
    q_tm1 = (inputs[0] + 0.05).requires_grad_()  # off Huber's corner
    assert torch.autograd.gradcheck(lambda q: q_learning_loss(q, *inputs[1:], **keywords).loss, q_tm1)
    assert torch.autograd.gradcheck(lambda q: q_learning_td_error(q, *inputs[1:]), q_tm1)


def test_targets_carry_no_gradient():
    *inputs, selector = (x.requires_grad_() if x.is_floating_point() else x for x in sample_inputs(3, 4, 5))
    loss = q_learning_loss(*inputs, q_t_selector=selector).loss + q_learning_td_error(*inputs).sum()
    loss.backward()
    assert inputs[0].grad is not None
    assert all(x.grad is None for x in (*inputs[1:], selector))


def test_a_graph_that_is_kept_gives_the_same_gradients_again():
    *inputs, _ = sample_inputs(4, 3, 5)
    q_tm1 = inputs[0].requires_grad_()
    loss = q_learning_loss(*inputs).loss
    first, second = (torch.autograd.grad(loss, q_tm1, retain_graph=keep)[0] for keep in (True, False))
    assert torch.equal(first, second)


def test_second_derivatives_and_forward_mode_are_refused():
    *inputs, _ = sample_inputs(2, 2, 3)
    q_tm1 = inputs[0].requires_grad_()
    for loss in (q_learning_loss(*inputs).loss, q_learning_td_error(*inputs).square().sum()):
        (grad,) = torch.autograd.grad(loss.square(), q_tm1, create_graph=True)
        with pytest.raises(RuntimeError, match="differentiate twice"):
            grad.sum().backward()
    with pytest.raises(NotImplementedError, match="td_loss"):
        torch.func.grad(lambda q: q_learning_loss(q, *inputs[1:]).loss)(q_tm1)


def test_opcheck():
    q_tm1, a_tm1, r_t, discount_t, q_t, selector = sample_inputs(4, 3, 5, torch.float32)
    torch.library.opcheck(ops.td_loss_forward.default, (q_tm1, a_tm1, r_t, *(None,) * 6))
    full = (q_tm1, a_tm1, r_t, discount_t, q_t, selector, torch.ones(3), 1.0, 1e-3)
    torch.library.opcheck(ops.td_loss_forward.default, full)
    torch.library.opcheck(ops.td_loss_backward.default, (r_t, a_tm1, torch.tensor(2.0), 5))
    torch.library.opcheck(ops.td_loss_backward.default, (r_t, a_tm1, None, 5))
    torch.library.opcheck(ops.bootstrap_value.default, (q_t, selector, None))
    torch.library.opcheck(ops.bootstrap_value.default, (q_t, None, 1e-3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow_compile)])
def test_compiles_into_one_graph_with_its_gradient(backend):
    torch.compiler.reset()
    *inputs, selector = sample_inputs(4, 3, 5)
    q_tm1 = inputs[0].requires_grad_()

    def train(*inputs):
        loss, td_error = q_learning_loss(*inputs, q_t_selector=selector, huber_delta=1.0)
        target = inputs[2] + bootstrap_value(inputs[4])
        more = td_loss(*inputs[:2], target).loss + q_learning_td_error(*inputs).square().sum()
        return 2 * loss + more, td_error

    wanted, got = train(*inputs), torch.compile(train, fullgraph=True, backend=backend)(*inputs)
    torch.testing.assert_close(got, wanted)
    grads = [torch.autograd.grad(loss, q_tm1)[0] for loss, _ in (got, wanted)]
    torch.testing.assert_close(*grads)
