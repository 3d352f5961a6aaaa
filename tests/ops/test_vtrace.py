import pytest
import torch

from pyagent.ops import discounted_returns, lambda_returns, vtrace


def sample_inputs(T, B):
    random = torch.Generator().manual_seed(0)
    discount_t = 0.97 * (torch.rand(T, B, generator=random) > 0.1).double()
    r_t, v = (torch.randn(rows, B, generator=random, dtype=torch.float64) for rows in (T, T + 1))
    return r_t, discount_t, v, torch.randn(T, B, generator=random, dtype=torch.float64).exp()


def by_the_paper(r_t, discount_t, v, rho, lambda_, clip_rho, clip_pg_rho):
    """Eq. 1 of Espeholt et al. as it stands, a sum of products; advantages as in section 4.2."""
    T = len(r_t)
    c_t, vs = lambda_ * rho.clamp(max=1.0), v.clone()
    for t in range(T):
        for s in range(t, T):
            delta = rho[s].clamp(max=clip_rho) * (r_t[s] + discount_t[s] * v[s + 1] - v[s])
            vs[t] += (discount_t[t:s] * c_t[t:s]).prod(0) * delta
    return vs[:-1], rho.clamp(max=clip_pg_rho) * (r_t + discount_t * vs[1:] - v[:-1])


@pytest.mark.parametrize(("T", "B"), [(1, 1), (7, 3), (0, 4), (5, 0), (33, 17)])
@pytest.mark.parametrize(
    "settings",
    [
        {"lambda_": 1.0, "clip_rho": 1.0, "clip_pg_rho": 1.0},
        {"lambda_": 0.8, "clip_rho": 2.0, "clip_pg_rho": 0.5},
        {"lambda_": 0.0, "clip_rho": float("inf"), "clip_pg_rho": float("inf")},
    ],
)
def test_follows_the_paper(settings, T, B):
    inputs = sample_inputs(T, B)
    for got, wanted in zip(vtrace(*inputs, **settings), by_the_paper(*inputs, **settings), strict=True):
        torch.testing.assert_close(got, wanted)


def test_on_policy_is_the_lambda_return():
    r_t, discount_t, v, _ = sample_inputs(9, 21)
    on_policy = torch.ones_like(r_t)
    for lambda_ in (0.0, 0.7, 1.0):
        got = vtrace(r_t, discount_t, v, on_policy, lambda_=lambda_)
        torch.testing.assert_close(got.vs, lambda_returns(r_t, discount_t, v[1:], lambda_))
    torch.testing.assert_close(got.vs, discounted_returns(r_t, discount_t, v[-1]))
    torch.testing.assert_close(got.pg_advantages, got.vs - v[:-1])


def test_an_action_that_the_policy_never_takes_teaches_nothing():
    r_t, discount_t, v, rho = sample_inputs(9, 21)
    got = vtrace(r_t, discount_t, v, torch.zeros_like(rho))
    assert torch.equal(got.vs, v[:-1])
    assert not got.pg_advantages.any()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"v": torch.zeros(4, 3, dtype=torch.float64)}, ValueError, "v: got shape"),
        ({"rho_tm1": torch.zeros(4, 2, dtype=torch.float64)}, ValueError, "rho_tm1: got shape"),
        ({"clip_rho": 0.0}, ValueError, "clip_rho: got 0.0, want a positive number"),
        ({"clip_pg_rho": float("nan")}, ValueError, "clip_pg_rho: got nan"),
    ],
)
def test_bad_input_names_the_argument(changes, error, message):
    names = ("r_t", "discount_t", "v", "rho_tm1")
    with pytest.raises(error, match=message):
        vtrace(**dict(zip(names, sample_inputs(4, 3), strict=True)) | changes)
