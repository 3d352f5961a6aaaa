import pytest
import torch

from pyagent.ops import discounted_returns


def sample_inputs(T, B):
    random = torch.Generator().manual_seed(0)
    discount_t = 0.97 * (torch.rand(T, B, generator=random) > 0.2).double()
    r_t = torch.randn(T, B, generator=random, dtype=torch.float64)
    return r_t, discount_t, torch.randn(B, generator=random, dtype=torch.float64)


@pytest.mark.parametrize(("T", "B"), [(1, 1), (7, 3), (0, 4), (5, 0), (33, 17)])
def test_follows_the_definition(T, B):
    r_t, discount_t, v_T = sample_inputs(T, B)
    wanted = torch.zeros(T, B, dtype=torch.float64)
    for t in range(T):
        for k in range(t, T):
            wanted[t] += discount_t[t:k].prod(0) * r_t[k]
        wanted[t] += discount_t[t:].prod(0) * v_T
    torch.testing.assert_close(discounted_returns(r_t, discount_t, v_T), wanted)


def test_bad_values_name_the_argument():
    r_t, discount_t, v_T = sample_inputs(4, 3)
    with pytest.raises(ValueError, match=r"v_T: got shape \(2,\), want \[3\]"):
        discounted_returns(r_t, discount_t, v_T[:2])
    with pytest.raises(ValueError, match="v_final: got None, want a tensor with truncated"):
        discounted_returns(r_t, discount_t, v_T, truncated=r_t > 0)
