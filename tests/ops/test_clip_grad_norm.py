"""The bound on a gradient's norm against torch's in float64."""

import pytest
import torch

from pyagent.ops import clip_grad_norm

SHAPES = [[], [()], [(0,)], [(1,), (3, 5)], [(4, 0), (17,), (2049,), (64, 65)], [(3, 100_000)]]


def sample_grads(shapes, dtype):
    random = torch.Generator().manual_seed(len(shapes))
    return [torch.randn(shape, generator=random, dtype=torch.float64).to(dtype) for shape in shapes]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_norms_and_gradients_are_torchs(shapes, dtype, share):
    grads = sample_grads(shapes, dtype)
    exact = [grad.double().clone() for grad in grads]
    whole = torch.cat([grad.flatten() for grad in exact]).norm() if exact else torch.zeros(())
    norm = clip_grad_norm(grads, float(share * whole))
    tolerance = {torch.float32: 1e-6, torch.float64: 1e-12, torch.bfloat16: 1e-2}[dtype]
    torch.testing.assert_close(norm.double(), whole.double(), rtol=tolerance, atol=0)
    for got, before in zip(grads, exact, strict=True):
        torch.testing.assert_close(got.double(), before * min(share, 1), rtol=2 * tolerance, atol=0)


def test_other_layouts_are_scaled_too():
    grads = [torch.full((3, 4), 2.0).t(), torch.full((6,), 2.0)[::2], torch.full((1,), 2.0)]
    assert float(clip_grad_norm(grads, 4.0)) == 8.0
    assert all((grad == 1.0).all() for grad in grads)


def test_what_is_not_finite_is_told():
    for wrong in (float("nan"), float("inf")):
        grads = [torch.ones(3), torch.tensor([1.0, wrong])]
        assert not clip_grad_norm(grads, 1.0).isfinite()
    with pytest.raises(ValueError, match="max_norm: got -1"):
        clip_grad_norm([torch.ones(3)], -1)


def test_opcheck():
    for dtype in (torch.float32, torch.float64):
        torch.library.opcheck(torch.ops.pyagent.clip_grad_norm.default, (sample_grads([(3,), (2, 5)], dtype), 0.5))


@pytest.mark.parametrize("wrong", [torch.ones(3, 2).t(), torch.ones(2).double(), torch.ones(2).to("meta")])
def test_the_raw_op_refuses_what_it_cannot_read(wrong):
    with pytest.raises(RuntimeError):
        torch.ops.pyagent.clip_grad_norm([torch.ones(3), wrong], 1.0)
