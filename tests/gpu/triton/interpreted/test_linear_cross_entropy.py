"""The kernels of the language-model head, interpreted, against torch's cross-entropy in float64 and its gradients."""

import pytest
import torch

from pyagent.kernels.bad_values import TARGET
from pyagent.kernels.linear_cross_entropy import linear_cross_entropy_backward, linear_cross_entropy_forward
from pyagent.ops.linear_cross_entropy import REDUCTIONS, linear_cross_entropy_reference

# float16 stands for bfloat16 too, which the interpreter gets wrong: one path, of which the dtype is what memory holds.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12, torch.float16: 4e-3}
SIZES = [(1, 1, 1), (5, 3, 2), (0, 4, 3), (131, 17, 301), (9, 150, 70)]
IGNORE = -100


def sample(N, H, V, dtype=torch.float64, *, bias=True):
    """input, linear_weight, target, linear_bias; what is ignored is NaN."""
    random = torch.Generator().manual_seed(N * 10000 + H * 100 + V)

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    x, target = draw(N, H), torch.randint(V, (N,), generator=random)
    ignored = torch.rand(N, generator=random) < 0.2
    x[ignored], target[ignored] = torch.nan, IGNORE
    return [x.to(dtype), (2 * draw(V, H) / H**0.5).to(dtype), target, draw(V).to(dtype) if bias else None]


def wanted(arguments, reduction, grad_loss=None):
    """The loss and the gradients in float64."""
    x, weight, target, bias = (None if y is None else y.double() if y.is_floating_point() else y for y in arguments)
    x = x.where((target != IGNORE)[:, None], 0.0)
    leaves = [y.requires_grad_() for y in (x, weight, bias) if y is not None]
    loss = linear_cross_entropy_reference(x, weight, target, linear_bias=bias, ignore_index=IGNORE, reduction=reduction)
    grads = torch.autograd.grad(loss, leaves, grad_loss)
    return loss.detach(), *grads, *([torch.empty(0)] * (bias is None))


def close(results, wants, dtype):
    for result, want in zip(results, wants, strict=True):
        assert result.dtype == dtype
        assert result.shape == want.shape
        limit = TOLERANCE[dtype]
        torch.testing.assert_close(result.double(), want.double(), rtol=limit, atol=limit, equal_nan=True)


@pytest.mark.parametrize(("reduction", "dtype"), [*zip(["mean", "sum", "mean"], TOLERANCE, strict=True)], ids=str)
@pytest.mark.parametrize(("N", "H", "V"), SIZES)
def test_loss_and_gradients(N, H, V, reduction, dtype):
    arguments = sample(N, H, V, dtype, bias=reduction == "mean")
    results = linear_cross_entropy_forward(*arguments, IGNORE, REDUCTIONS.index(reduction), True, True, True)
    wants = wanted(arguments, reduction)
    if reduction == "sum":  # of many rows
        results, wants = (tuple(y / max(N, 1) for y in x) for x in (results, wants))
    close(results, wants, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("N", "H", "V"), SIZES)
def test_losses_and_their_gradients(N, H, V, dtype):
    arguments = sample(N, H, V, dtype)
    losses, *nothing = linear_cross_entropy_forward(*arguments, IGNORE, REDUCTIONS.index("none"), True, True, True)
    assert all(x.numel() == 0 for x in nothing)
    grad_loss = torch.linspace(-1, 1, N, dtype=torch.float64).to(dtype)
    grads = linear_cross_entropy_backward(grad_loss, *arguments, IGNORE, True, True, True)
    close((losses, *grads), wanted(arguments, "none", grad_loss.double()), dtype)


@pytest.mark.parametrize("need", [(True, False, False), (False, True, False), (False, False, True), (False,) * 3])
def test_what_is_not_needed_is_not_made(need):
    arguments = sample(9, 5, 33)
    _, *grads = linear_cross_entropy_forward(*arguments, IGNORE, REDUCTIONS.index("mean"), *need)
    for grad, want, needed in zip(grads, wanted(arguments, "mean")[1:], need, strict=True):
        torch.testing.assert_close(grad, want) if needed else torch.testing.assert_close(grad.numel(), 0)


def test_no_row_that_counts_is_nan_with_zero_gradients():
    arguments = sample(4, 3, 5)
    arguments[2].fill_(IGNORE)
    loss, *grads = linear_cross_entropy_forward(*arguments, IGNORE, REDUCTIONS.index("mean"), True, True, True)
    assert loss.isnan()
    assert all((grad == 0).all() for grad in grads)


def test_large_logits_lose_no_digits():
    """A loss near 0 beside logits of 10⁴."""
    x, weight = torch.tensor([[1e4]]), torch.tensor([[1.0], [1.0 - 1e-4], [-1.0]])
    loss = linear_cross_entropy_forward(x, weight, torch.tensor([0]), None, IGNORE, 1, False, False, False)[0]
    want = linear_cross_entropy_reference(x.double(), weight.double(), torch.tensor([0]))
    assert loss.item() == pytest.approx(want.item(), rel=2e-3)  # of logits that float32 holds to 1e-3


@pytest.mark.parametrize("bad", [-1, 301, 2**40])
def test_bad_target_is_reported_and_is_nan(bad, reported):
    arguments = sample(20, 5, 301)
    want = linear_cross_entropy_forward(*arguments, IGNORE, 0, False, False, False)[0]
    assert reported() == 0
    arguments[2][7], want[7] = bad, torch.nan
    arguments[0][7] = 1.0
    losses = linear_cross_entropy_forward(*arguments, IGNORE, 0, False, False, False)[0]
    assert reported() == TARGET.value
    torch.testing.assert_close(losses, want, equal_nan=True)
    grad_input, grad_weight, _ = linear_cross_entropy_backward(torch.ones(20).double(), *arguments, IGNORE, *[True] * 3)
    assert grad_input[7].isnan().all()
    assert not grad_input[[*range(7), *range(8, 20)]].isnan().any()
    assert grad_weight.isnan().all()
