import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyagent.ops import discounted_returns, n_step_returns


def sample_inputs(T, B, seed=0, dtype=torch.float64):
    random = torch.Generator().manual_seed(seed)
    discount_t = 0.97 * (torch.rand(T, B, generator=random) > 0.1).to(dtype)
    r_t, v_t = (torch.randn(T, B, generator=random, dtype=dtype) for _ in range(2))
    return r_t, discount_t, v_t


def returns_by_definition(r_t, discount_t, v_t, n, truncated):
    T, B = r_t.shape
    wanted = torch.zeros(T, B, dtype=torch.float64)
    for b in range(B):
        for t in range(T):
            weight = 1.0
            for k in range(t, min(t + n, T)):
                wanted[t, b] += weight * r_t[k, b]
                weight *= discount_t[k, b]
                if truncated[k, b]:
                    break
            wanted[t, b] += weight * v_t[k, b]
    return wanted


@given(T=st.integers(1, 40), B=st.integers(1, 40), n=st.integers(1, 45), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_follows_the_definition(T, B, n, seed):
    inputs = sample_inputs(T, B, seed)
    truncated = torch.rand(T, B, generator=torch.Generator().manual_seed(seed)) < 0.1
    wanted = returns_by_definition(*inputs, n, truncated)
    torch.testing.assert_close(n_step_returns(*inputs, n, truncated=truncated), wanted)
    wanted = returns_by_definition(*inputs, n, torch.zeros_like(truncated))
    torch.testing.assert_close(n_step_returns(*inputs, n), wanted)


@pytest.mark.parametrize("n", [1, 5, 6, 50, 1099])
def test_equal_where_the_caches_do_not_hold_the_results(n):
    r_t, discount_t, v_t = sample_inputs(1100, 2064, dtype=torch.float32)
    some = [0, 1023, 1024, 2063]
    wanted = n_step_returns(*(x[:, some].double() for x in (r_t, discount_t, v_t)), n)
    got = n_step_returns(r_t, discount_t, v_t, n)[:, some].double()
    torch.testing.assert_close(got, wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("n", [13, 14, 10**12])
def test_all_steps_are_the_discounted_return_and_one_is_the_one_step_target(n):
    r_t, discount_t, v_t = sample_inputs(13, 21)
    assert torch.equal(n_step_returns(r_t, discount_t, v_t, n), discounted_returns(r_t, discount_t, v_t[-1]))
    assert torch.equal(n_step_returns(r_t, discount_t, v_t, 1), r_t + discount_t * v_t)


@pytest.mark.parametrize("n", [0, -1, 1.5, None])
def test_bad_n_is_named(n):
    with pytest.raises(ValueError, match="n: got"):
        n_step_returns(*sample_inputs(4, 3), n)


def test_bad_values_name_the_argument():
    r_t, discount_t, v_t = sample_inputs(4, 3)
    with pytest.raises(ValueError, match=r"v_t: got shape \(3, 3\), want \[4, 3\]"):
        n_step_returns(r_t, discount_t, v_t[1:], 2)
