import pytest
import torch

from pyagent.ops import discounted_returns, gae, lambda_returns, n_step_returns


def sample_inputs(T, B):
    random = torch.Generator().manual_seed(0)
    discount_t = 0.97 * (torch.rand(T, B, generator=random) > 0.1).double()
    r_t, v_t = (torch.randn(T, B, generator=random, dtype=torch.float64) for _ in range(2))
    return r_t, discount_t, v_t


@pytest.mark.parametrize(("T", "B"), [(1, 1), (7, 3), (0, 4), (5, 0), (33, 17)])
@pytest.mark.parametrize("lambda_", [0.0, 0.8, 1.0])
def test_mixes_n_step_returns(lambda_, T, B):
    """Sutton and Barto's eq. 12.3: (1 − λ) Σ_{n<N} λ^{n−1} G^{(n)} + λ^{N−1} G^{(N)}, with N steps left."""
    inputs = sample_inputs(T, B)
    wanted = torch.zeros(T, B, dtype=torch.float64)
    for n in range(1, T + 1):
        over_n = n_step_returns(*inputs, n)
        left = T - torch.arange(T)[:, None]
        weight = torch.where(left > n, 1 - lambda_, 1.0) * lambda_ ** (n - 1)
        wanted += torch.where(left >= n, weight * over_n, 0.0)
    torch.testing.assert_close(lambda_returns(*inputs, lambda_), wanted)


def test_lambda_0_is_the_one_step_target_and_lambda_1_the_return():
    r_t, discount_t, v_t = sample_inputs(9, 21)
    torch.testing.assert_close(lambda_returns(r_t, discount_t, v_t, 0.0), r_t + discount_t * v_t)
    torch.testing.assert_close(lambda_returns(r_t, discount_t, v_t, 1.0), discounted_returns(r_t, discount_t, v_t[-1]))


def test_is_gae_and_the_value():
    r_t, discount_t, v_t = sample_inputs(9, 21)
    v = torch.cat((torch.randn(1, 21, dtype=torch.float64), v_t))
    torch.testing.assert_close(lambda_returns(r_t, discount_t, v_t, 0.7), gae(r_t, discount_t, v, 0.7) + v[:-1])


def test_bad_values_name_the_argument():
    r_t, discount_t, v_t = sample_inputs(4, 3)
    with pytest.raises(ValueError, match=r"v_t: got shape \(3, 3\), want \[4, 3\]"):
        lambda_returns(r_t, discount_t, v_t[1:], 0.9)
