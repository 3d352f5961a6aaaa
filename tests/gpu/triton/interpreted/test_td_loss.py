"""The kernels of temporal-difference losses, interpreted, against the reference in float64 and its gradient."""

import pytest
import torch

from pyagent.kernels.bad_values import ACTION
from pyagent.kernels.td_loss import bootstrap_value, td_loss_backward, td_loss_forward
from pyagent.ops.td_loss import bootstrap_value_reference, td_loss_reference

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}
SIZES = [(1, 1, 1), (7, 3, 2), (0, 4, 3), (5, 0, 3), (13, 11, 18), (3, 2, 700)]
WEIGHTS = {"": None, "by lane": (1,), "by step": (0, 1)}


def sample(T, B, A, *, weights=None, double=True, bootstraps=True):
    """q_tm1, a_tm1, r_t, discount_t, q_t, q_t_selector, weights in float64."""
    random = torch.Generator().manual_seed(T * 10000 + B * 1000 + A)

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    discount_t = 0.97 * (draw(T, B) > -1).double()
    weight = None if weights is None else (draw(*(T, B)[weights[0] :]).abs() * (draw(*(T, B)[weights[0] :]) > -0.5))
    return [
        *(draw(T, B, A), torch.randint(A, (T, B), generator=random), 3 * draw(T, B)),
        *((discount_t, draw(T, B, A), draw(T, B, A) if double else None) if bootstraps else (None, None, None)),
        weight,
    ]


def of_dtype(arguments, dtype):
    return [x.to(dtype) if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in arguments]


def check(arguments, settings, dtype):
    arguments = of_dtype(arguments, dtype)
    loss, td_error, grad_q_a = td_loss_forward(*arguments, *settings)
    scale = torch.tensor(1.7, dtype=dtype)
    grad_q = td_loss_backward(grad_q_a, arguments[1], scale, arguments[0].shape[2])
    q_tm1, *others = of_dtype(arguments, torch.float64)
    q_tm1.requires_grad_()
    wanted, wanted_error = td_loss_reference(q_tm1, *others, *settings)
    (1.7 * wanted).backward()
    for result, want in ((loss, wanted), (td_error, wanted_error), (grad_q, q_tm1.grad)):
        assert result.dtype == dtype
        close = TOLERANCE[dtype]
        torch.testing.assert_close(result.double(), want.detach(), rtol=close, atol=close, equal_nan=True)


@pytest.mark.parametrize(("dtype", "double"), [(torch.float32, True), (torch.float64, False)], ids=["double", ""])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize(("T", "B", "A"), SIZES)
def test_loss(T, B, A, double, weights, dtype):
    settings = (1.0, 1e-3) if double else (None, None)
    check(sample(T, B, A, weights=WEIGHTS[weights], double=double), settings, dtype)


@pytest.mark.parametrize("rescale", [None, 0.0, 1e-2])
@pytest.mark.parametrize("huber", [None, 0.5])
def test_targets_from_elsewhere(huber, rescale):
    check(sample(13, 11, 18, bootstraps=False), (huber, rescale), torch.float64)


def test_rows_of_more_programs_than_a_sum_has(monkeypatch):
    monkeypatch.setattr("pyagent.kernels.td_loss.MOST_PROGRAMS", 3)
    check(sample(23, 11, 18, weights=WEIGHTS["by lane"]), (None, None), torch.float64)


def test_no_weight_is_nan_without_gradient():
    arguments = sample(4, 3, 2, weights=WEIGHTS["by step"])
    arguments[-1].zero_()
    loss, td_error, grad_q_a = td_loss_forward(*arguments, None, None)
    assert loss.isnan()
    assert (td_error == 0).all()
    assert (grad_q_a == 0).all()


@pytest.mark.parametrize("rescale", [None, 1e-3])
@pytest.mark.parametrize("double", [False, True], ids=["", "double"])
@pytest.mark.parametrize(("T", "B", "A"), SIZES)
def test_bootstrap_value(T, B, A, double, rescale):
    _, _, _, _, q_t, selector, _ = sample(T, B, A, double=double)
    if T * B * A > 1:  # ties, NaN and infinities
        for q in (q_t,) if selector is None else (q_t, selector):
            q.copy_((2 * q).round() / 2)
            q[0, 0, -1], q[-1, 0] = torch.nan, -torch.inf
    result = bootstrap_value(q_t, selector, rescale)
    torch.testing.assert_close(result, bootstrap_value_reference(q_t, selector, rescale), equal_nan=True)


@pytest.mark.parametrize("bad", [-1, 18, 2**40])
def test_bad_action_is_reported_and_is_nan(bad, reported):
    arguments = sample(5, 3, 18)
    _, wanted, _ = td_loss_forward(*arguments, None, None)
    assert reported() == 0
    arguments[1][2, 1] = bad
    loss, td_error, grad_q_a = td_loss_forward(*arguments, None, None)
    assert reported() == ACTION.value
    assert loss.isnan()
    wanted[2, 1] = torch.nan
    torch.testing.assert_close(td_error, wanted, equal_nan=True)
    grad_q = td_loss_backward(grad_q_a, arguments[1], None, 18)
    assert grad_q[2, 1].isnan().all()
    assert (grad_q.isnan().sum() == 18).all()


def test_it_is_the_op_of_the_cpu():
    arguments = of_dtype(sample(13, 11, 18, weights=WEIGHTS["by lane"]), torch.float32)
    results = td_loss_forward(*arguments, 1.0, 1e-3)
    for result, wanted in zip(results, torch.ops.pyagent.td_loss_forward(*arguments, 1.0, 1e-3), strict=True):
        torch.testing.assert_close(result, wanted, rtol=2e-6, atol=2e-6)
