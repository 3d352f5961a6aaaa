import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyagent.ops import gae

CASES = [(1, 1), (7, 3), (0, 4), (5, 0), (0, 0), (33, 5)]


def sample_inputs(T, B, seed=0):
    random = torch.Generator().manual_seed(seed)

    def draw(rows):
        return torch.randn(rows, B, generator=random, dtype=torch.float64)

    discount_t = 0.97 * (torch.rand(T, B, generator=random) > 0.2).double()
    return draw(T), discount_t, draw(T + 1)


def advantages_by_definition(r_t, discount_t, v, lambda_):
    """The double sum of the paper, in Python numbers: A_t = sum_k (prod_{i<k} discount lambda) delta_{t+k}."""
    T, B = r_t.shape
    result = torch.zeros(T, B, dtype=torch.float64)
    for b in range(B):
        for t in range(T):
            weight = 1.0
            for k in range(t, T):
                delta = r_t[k, b].item() + discount_t[k, b].item() * v[k + 1, b].item() - v[k, b].item()
                result[t, b] += weight * delta
                weight *= discount_t[k, b].item() * lambda_
    return result


@pytest.mark.parametrize(("T", "B"), CASES)
@pytest.mark.parametrize("lambda_", [0.0, 0.95, 1.0])
def test_follows_the_definition(T, B, lambda_):
    inputs = sample_inputs(T, B)
    torch.testing.assert_close(gae(*inputs, lambda_), advantages_by_definition(*inputs, lambda_))


@given(T=st.integers(1, 12), B=st.integers(1, 40), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_lambda_0_is_the_temporal_difference_and_lambda_1_the_return(T, B, seed):
    r_t, discount_t, v = sample_inputs(T, B, seed=seed)
    torch.testing.assert_close(gae(r_t, discount_t, v, 0.0), r_t + discount_t * v[1:] - v[:-1])
    returns, after = torch.empty_like(r_t), v[-1]
    for t in reversed(range(T)):
        after = returns[t] = r_t[t] + discount_t[t] * after
    torch.testing.assert_close(gae(r_t, discount_t, v, 1.0), returns - v[:-1])


@pytest.mark.parametrize(
    ("v", "error", "message"),
    [
        (torch.zeros(4, 3, dtype=torch.float64), ValueError, r"v: got shape \(4, 3\), want \[5, 3\]"),
        (torch.zeros(5, 3), TypeError, "v: got float32, want float64"),
        ([0.0], TypeError, "v: got list"),
        (torch.zeros(5, 3, dtype=torch.float64, device="meta"), ValueError, "v: got a tensor on meta"),
    ],
)
def test_bad_values_name_the_argument(v, error, message):
    r_t, discount_t, _ = sample_inputs(4, 3)
    with pytest.raises(error, match=message):
        gae(r_t, discount_t, v, 0.9)
