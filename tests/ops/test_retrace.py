import pytest
import torch

from pyagent.ops import retrace


def sample_inputs(T, B, A):
    """A trajectory: every step but the first starts where the one before it led."""
    random = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    q, actions = draw(T + 1, B, A), torch.randint(max(A, 1), (T + 1, B), generator=random)
    discount_t = 0.97 * (torch.rand(T, B, generator=random) > 0.1).double()
    mu_t = 0.05 + torch.rand(T, B, generator=random, dtype=torch.float64)
    return {
        "q_tm1": q[:-1],
        "a_tm1": actions[:-1],
        "r_t": draw(T, B),
        "discount_t": discount_t,
        "q_t": q[1:],
        "a_t": actions[1:],
        "pi_t": draw(T, B, A).softmax(-1),
        "mu_t": mu_t,
        "lambda_": 0.8,
    }


def by_the_paper(q_tm1, a_tm1, r_t, discount_t, q_t, a_t, pi_t, mu_t, lambda_):
    """Eq. 3 and 4 of Munos et al. as they stand: Q plus a sum of products, the first step's own value included."""
    T, B = r_t.shape
    result = torch.zeros(T, B, dtype=torch.float64)
    for b in range(B):
        for t in range(T):
            result[t, b] = q_tm1[t, b, a_tm1[t, b]]
            weight = 1.0
            for s in range(t, T):
                expected = sum(float(pi) * float(q) for pi, q in zip(pi_t[s, b], q_t[s, b], strict=True))
                delta = r_t[s, b] + discount_t[s, b] * expected - q_tm1[s, b, a_tm1[s, b]]
                result[t, b] += weight * delta
                c = lambda_ * min(1.0, float(pi_t[s, b, a_t[s, b]] / mu_t[s, b]))
                weight *= discount_t[s, b] * c
    return result


@pytest.mark.parametrize(("T", "B"), [(1, 1), (7, 3), (0, 4), (5, 0), (12, 19)])
@pytest.mark.parametrize("A", [1, 2, 7, 18, 33, 70])
@pytest.mark.parametrize("lambda_", [0.0, 0.8, 1.0])
def test_follows_the_paper(lambda_, A, T, B):
    inputs = sample_inputs(T, B, A) | {"lambda_": lambda_}
    torch.testing.assert_close(retrace(**inputs), by_the_paper(**inputs))


def test_lambda_0_is_the_expected_one_step_target():
    inputs = sample_inputs(9, 21, 5) | {"lambda_": 0.0}
    expected = (inputs["pi_t"] * inputs["q_t"]).sum(-1)
    torch.testing.assert_close(retrace(**inputs), inputs["r_t"] + inputs["discount_t"] * expected)


def test_the_action_after_the_end_takes_no_part():
    inputs = sample_inputs(6, 9, 4) | {"truncated": torch.rand(6, 9) < 0.3}
    ends = inputs["truncated"].clone()
    ends[-1] = True
    others = {"a_t": inputs["a_t"].masked_fill(ends, 0), "mu_t": inputs["mu_t"].masked_fill(ends, 0.0)}
    others["pi_t"] = inputs["pi_t"].clone()
    got = retrace(**inputs | others)
    assert not got.isnan().any()
    assert torch.equal(got, retrace(**inputs))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"q_t": torch.zeros(4, 3, dtype=torch.float64)}, ValueError, "q_t: got shape"),
        ({"q_tm1": torch.zeros(4, 3, 6, dtype=torch.float64)}, ValueError, "q_tm1: got shape"),
        ({"q_tm1": None}, TypeError, "q_tm1: got NoneType"),
        ({"a_tm1": torch.zeros(4, 3)}, TypeError, "a_tm1: got float32, want int64"),
        ({"a_t": torch.zeros(4, 3)}, TypeError, "a_t: got float32, want int64"),
        ({"a_t": torch.full((4, 3), 5)}, IndexError, "a_t: got 5, want 0 to 4"),
        ({"a_t": torch.full((4, 3), -1)}, IndexError, "a_t: got -1, want 0 to 4"),
        ({"pi_t": torch.zeros(4, 3, 6, dtype=torch.float64)}, ValueError, "pi_t: got shape"),
        ({"mu_t": torch.zeros(3, 3, dtype=torch.float64)}, ValueError, "mu_t: got shape"),
        ({"q_t": torch.zeros(4, 3, 0), "q_tm1": torch.zeros(4, 3, 0)}, TypeError, "q_t: got float32"),
    ],
)
def test_bad_input_names_the_argument(changes, error, message):
    with pytest.raises(error, match=message):
        retrace(**sample_inputs(4, 3, 5) | changes)
