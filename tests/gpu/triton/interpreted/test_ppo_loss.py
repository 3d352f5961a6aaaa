"""The kernels of the PPO loss, interpreted, against the reference in float64 and its gradients."""

import pytest
import torch

from pyagent.kernels.bad_values import ACTION
from pyagent.kernels.ppo_loss import ppo_loss_backward, ppo_loss_forward
from pyagent.ops.ppo_loss import ppo_loss_reference

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
SIZES = [(1, 1), (37, 2), (70, 18), (3, 700)]
NUMBERS = (0.2, 0.03, 0.5)


def sample(N, A, *, masked=False, some=False):
    """logits, value, action, old_log_prob, advantage, target, mask, valid; rows that do not count hold NaN."""
    random = torch.Generator().manual_seed(N * 10000 + A)

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    logits, action = 2 * draw(N, A), torch.randint(A, (N,), generator=random)
    old_log_prob = logits.log_softmax(1).gather(1, action[:, None])[:, 0] + draw(N) / 3
    rows = [draw(N), action, old_log_prob, draw(N), draw(N)]
    mask = (torch.rand(N, A, generator=random) < 0.6).scatter(1, action[:, None], True) if masked else None
    valid = torch.rand(N, generator=random) < 0.7 if some else None
    if some:
        for x in (logits, rows[0], *rows[2:]):
            x[~valid] = torch.nan
        action[~valid] = -7
    if A > 2:
        logits[:, 1] = torch.where(action == 1, logits[:, 1], -torch.inf)
    return [logits, *rows, mask, valid]


def of_dtype(arguments, dtype):
    return [x.to(dtype) if x is not None and x.is_floating_point() else x for x in arguments]


def check(arguments, dtype, grads=(1.3, None, None, None)):
    arguments = of_dtype(arguments, dtype)
    results = ppo_loss_forward(*arguments, *NUMBERS)
    logits, value, action, _, _, target, _, valid = arguments
    scales = [x if x is None else torch.tensor(x, dtype=dtype) for x in grads]
    backward = ppo_loss_backward(*scales, logits, value, action, target, valid, *results[6:], *NUMBERS[1:])
    leaf_logits, leaf_value, *others = of_dtype(arguments, torch.float64)
    leaves = [leaf_logits.requires_grad_(), leaf_value.requires_grad_()]
    wanted = ppo_loss_reference(*leaves, *others, *NUMBERS)
    total = sum(scale * part for scale, part in zip(grads, wanted, strict=False) if scale is not None)
    of_leaves = torch.autograd.grad(total, leaves, materialize_grads=True)
    for result, want in zip((*results[:6], *backward), (*wanted, *of_leaves), strict=True):
        assert result.dtype == dtype
        close = TOLERANCE[dtype]
        torch.testing.assert_close(result.double(), want.detach(), rtol=close, atol=close, equal_nan=True)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("some", [False, True], ids=["", "some rows"])
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
@pytest.mark.parametrize(("N", "A"), SIZES)
def test_loss(N, A, masked, some, dtype):
    check(sample(N, A, masked=masked, some=some), dtype)


@pytest.mark.parametrize("part", range(4))
def test_gradients_of_every_part(part):
    check(sample(37, 6, masked=True, some=True), torch.float64, [0.7 if i == part else None for i in range(4)])
    check(sample(37, 6), torch.float64, [0.7 if i == part else 0.1 for i in range(4)])


def test_rows_of_more_programs_than_a_sum_has(monkeypatch):
    monkeypatch.setattr("pyagent.kernels.ppo_loss.MOST_PROGRAMS", 2)
    check(sample(70, 18), torch.float64)


def test_no_row_that_counts_is_nan_without_gradient():
    arguments = sample(4, 3)
    arguments[-1] = torch.zeros(4, dtype=torch.bool)
    results = ppo_loss_forward(*arguments, *NUMBERS)
    assert all(x.isnan() for x in results[:6])
    logits, value, action, _, _, target, _, valid = arguments
    one = torch.ones((), dtype=torch.float64)
    grads = ppo_loss_backward(one, None, None, None, logits, value, action, target, valid, *results[6:], *NUMBERS[1:])
    assert all((x == 0).all() for x in grads)


def test_no_row_is_nan():
    results = ppo_loss_forward(*sample(0, 3), *NUMBERS)
    assert all(x.isnan() for x in results[:6])
    assert all(x.shape[0] == 0 for x in results[6:])


@pytest.mark.parametrize("fault", [-1, 18, 2**40, "masked"])
def test_bad_action_is_reported_and_is_nan(fault, reported):
    arguments = sample(20, 18, masked=True)
    ppo_loss_forward(*arguments, *NUMBERS)
    assert reported() == 0
    if fault == "masked":
        arguments[6][7, arguments[2][7]] = False
    else:
        arguments[2][7] = fault
    results = ppo_loss_forward(*arguments, *NUMBERS)
    assert reported() == ACTION.value
    assert results[0].isnan()
    logits, value, action, _, _, target, _, valid = arguments
    one = torch.ones((), dtype=torch.float64)
    grad, _ = ppo_loss_backward(one, None, None, None, logits, value, action, target, valid, *results[6:], *NUMBERS[1:])
    assert grad[7].isnan().any()
    assert not grad[[*range(7), *range(8, 20)]].isnan().any()
