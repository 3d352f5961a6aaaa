import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyagent.ops.gae import gae, gae_reference

CASES = [(1, 1), (7, 3), (0, 4), (5, 0), (0, 0), (33, 257)]


def sample_inputs(T, B, dtype=torch.float64, seed=0):
    random = torch.Generator().manual_seed(seed)

    def draw(rows):
        return torch.randn(rows, B, generator=random, dtype=dtype)

    discount_t = 0.97 * (torch.rand(T, B, generator=random) > 0.2).to(dtype)
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
    inputs = sample_inputs(T, min(B, 5))
    torch.testing.assert_close(gae(*inputs, lambda_), advantages_by_definition(*inputs, lambda_))


@pytest.mark.parametrize(("T", "B"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_torch_reference(T, B, dtype):
    inputs = sample_inputs(T, B, dtype)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(gae(*inputs, 0.9), gae_reference(*inputs, 0.9), rtol=tolerance, atol=tolerance)


@given(T=st.integers(1, 12), B=st.integers(1, 6), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_lambda_0_is_the_temporal_difference_and_lambda_1_the_return(T, B, seed):
    r_t, discount_t, v = sample_inputs(T, B, seed=seed)
    torch.testing.assert_close(gae(r_t, discount_t, v, 0.0), r_t + discount_t * v[1:] - v[:-1])
    returns, after = torch.empty_like(r_t), v[-1]
    for t in reversed(range(T)):
        after = returns[t] = r_t[t] + discount_t[t] * after
    torch.testing.assert_close(gae(r_t, discount_t, v, 1.0), returns - v[:-1])


def test_ignores_memory_layout_and_gradients():
    r_t, discount_t, v = sample_inputs(6, 4)
    wanted = gae(r_t, discount_t, v, 0.9)
    transposed = [tensor.t().contiguous().t() for tensor in (r_t, discount_t, v)]
    assert torch.equal(gae(*transposed, 0.9), wanted)
    result = gae(r_t.requires_grad_(), discount_t, v.requires_grad_(), 0.9)
    assert torch.equal(result, wanted)
    assert not result.requires_grad


def test_thread_count_does_not_change_a_bit():
    inputs = sample_inputs(40, 3001, torch.float32)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(gae(*inputs, 0.95))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)


def test_nan_reaches_every_earlier_step_of_its_lane_only():
    r_t, _, v = sample_inputs(5, 2)
    r_t[3, 1] = float("nan")
    expected = torch.tensor([[False, True]] * 4 + [[False, False]])
    assert torch.equal(gae(r_t, torch.full_like(r_t, 0.9), v, 0.9).isnan(), expected)


@pytest.mark.parametrize(("T", "B"), [(7, 3), (0, 2), (2, 0)])
def test_opcheck(T, B):
    torch.library.opcheck(torch.ops.pyagent.gae.default, (*sample_inputs(T, B, torch.float32), 0.9))


def test_compiles_into_one_graph():
    inputs = sample_inputs(5, 3)
    compiled = torch.compile(lambda *tensors: 2 * gae(*tensors, 0.9), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*inputs), 2 * gae(*inputs, 0.9))


def wrong(**changes):
    r_t, discount_t, v = sample_inputs(4, 3)
    return {"r_t": r_t, "discount_t": discount_t, "v": v, "lambda_": 0.9, **changes}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (wrong(r_t=torch.zeros(4, dtype=torch.float64)), ValueError, "r_t: got shape"),
        (wrong(discount_t=torch.zeros(4, 2, dtype=torch.float64)), ValueError, "discount_t: got shape"),
        (wrong(v=torch.zeros(4, 3, dtype=torch.float64)), ValueError, r"v: got shape \(4, 3\), want \[5, 3\]"),
        (wrong(v=torch.zeros(5, 3)), TypeError, "v: got float32, want float64"),
        (wrong(r_t=torch.zeros(4, 3, dtype=torch.int64)), TypeError, "r_t: got int64"),
        (wrong(v=[0.0]), TypeError, "v: got list"),
        (wrong(v=torch.zeros(5, 3, dtype=torch.float64, device="meta")), ValueError, "v: got a tensor on meta"),
        (wrong(lambda_=1.5), ValueError, "lambda_: got 1.5"),
        (wrong(lambda_=float("nan")), ValueError, "lambda_: got nan"),
    ],
)
def test_bad_input_names_the_argument(arguments, error, message):
    with pytest.raises(error, match=message):
        gae(**arguments)


def test_the_raw_op_refuses_tensors_on_several_devices():
    r_t, v = torch.zeros(3, 2), torch.zeros(4, 2)
    with pytest.raises(RuntimeError, match="want one device"):
        torch.ops.pyagent.gae.default(r_t, torch.zeros(3, 2, device="meta"), v, 0.9)
