"""ε-greedy actions against the rule written out in Python, given the same numbers, and as frequencies."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyagent.ops import epsilon_greedy
from pyagent.ops.epsilon_greedy import epsilon_greedy_reference

op = torch.ops.pyagent.epsilon_greedy.default
CASES = [(0, 3), (1, 1), (5, 2), (33, 3), (17, 4), (9, 5), (64, 18), (4, 64), (4, 65), (3, 1000)]


def sample_inputs(N, A, dtype=torch.float64, seed=0):
    """Values with ties and a mask that leaves at least one action."""
    random = torch.Generator().manual_seed(seed + N + A)
    q = (torch.randn(N, A, generator=random, dtype=torch.float64) * 4).round().to(dtype) / 2
    mask = torch.rand(N, A, generator=random) < 0.4
    if N:
        mask[torch.arange(N), torch.randint(0, A, (N,), generator=random)] = True
    return q, mask


def by_the_rule(q, epsilon, uniform, mask=None):
    actions = []
    for n, (values, (u, w)) in enumerate(zip(q.tolist(), uniform.tolist(), strict=True)):
        allowed = [a for a in range(len(values)) if mask is None or mask[n, a]]
        best = max(values[a] for a in allowed)
        greedy = next(a for a in allowed if values[a] == best)
        actions.append(allowed[math.floor(w * len(allowed))] if u < epsilon[n] else greedy)
    return torch.tensor(actions, dtype=torch.int64)


def numbers(N, seed=0):
    return torch.rand(N, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_actions_equal_the_rule(case, dtype, masked):
    q, mask = sample_inputs(*case, dtype)
    mask = mask if masked else None
    epsilon = torch.rand(case[0], dtype=torch.float64)
    wanted = by_the_rule(q, epsilon.tolist(), numbers(case[0]), mask)
    assert torch.equal(epsilon_greedy(q, epsilon, mask=mask, generator=torch.Generator().manual_seed(0)), wanted)
    assert torch.equal(epsilon_greedy_reference(q, 0.0, epsilon, numbers(case[0]), mask), wanted)


@pytest.mark.parametrize("epsilon", [0, 0.0, 0.3, 1.0, 1])
def test_a_number_is_the_epsilon_of_every_row(epsilon):
    q, mask = sample_inputs(40, 7)
    got = epsilon_greedy(q, epsilon, mask=mask, generator=torch.Generator().manual_seed(0))
    assert torch.equal(got, by_the_rule(q, [epsilon] * 40, numbers(40), mask))
    assert torch.equal(got, epsilon_greedy_reference(q, epsilon, None, numbers(40), mask))


@given(T=st.integers(0, 4), B=st.integers(0, 5), A=st.integers(1, 9), seed=st.integers(0, 1000))
@settings(max_examples=30)
def test_any_leading_dimensions(T, B, A, seed):
    q, mask = sample_inputs(T * B, A, seed=seed)
    epsilon = torch.rand(B)
    rows = epsilon.double().expand(T, B).reshape(-1)
    wanted = epsilon_greedy(q, rows, mask=mask, generator=torch.Generator().manual_seed(seed))
    shaped = epsilon_greedy(
        q.view(T, B, A), epsilon, mask=mask.view(T, B, A), generator=torch.Generator().manual_seed(seed)
    )
    assert torch.equal(shaped, wanted.view(T, B))


def test_a_single_row_without_leading_dimensions():
    assert epsilon_greedy(torch.tensor([0.0, 2.0, 2.0]), 0.0).item() == 1


def test_frequencies():
    """Chi-square over five allowed actions of eight, against ε/5 each and 1 − ε for the best: 4 degrees of freedom."""
    N, epsilon = 100_000, 0.3
    q = torch.arange(8.0).expand(N, 8)
    mask = torch.tensor([1, 0, 1, 1, 0, 1, 1, 0], dtype=torch.bool).expand(N, 8)
    action = epsilon_greedy(q, epsilon, mask=mask, generator=torch.Generator().manual_seed(1))
    counts = np.bincount(action.numpy(), minlength=8)
    assert counts[[1, 4, 7]].sum() == 0
    expected = N * (epsilon / 5 + np.array([0, 0, 0, 0, 1 - epsilon]))
    statistic = ((counts[[0, 2, 3, 5, 6]] - expected) ** 2 / expected).sum()
    assert statistic < 18.47  # exceeded by chance once in 1000


@pytest.mark.parametrize("A", [2, 3, 4, 7, 40, 100])
def test_what_is_not_allowed_is_never_looked_at(A):
    q, mask = sample_inputs(50, A)
    poisoned = q.where(mask, torch.nan)
    for epsilon in (0.0, 0.5):
        got, wanted = (
            epsilon_greedy(x, epsilon, mask=mask, generator=torch.Generator().manual_seed(5)) for x in (poisoned, q)
        )
        assert torch.equal(got, wanted)
        assert mask.gather(1, got[:, None]).all()


def test_infinite_values_are_values():
    q = torch.tensor([[-torch.inf, -torch.inf], [1.0, torch.inf], [-torch.inf, 0.0]])
    assert epsilon_greedy(q, 0.0).tolist() == [0, 1, 1]
    assert epsilon_greedy(q, 0.0, mask=torch.tensor([[False, True]] * 3)).tolist() == [1, 1, 1]
    assert epsilon_greedy_reference(q, 0.0, None, numbers(3), None).tolist() == [0, 1, 1]


def test_thread_count_and_layout_do_not_change_an_action():
    q, mask = sample_inputs(30_000, 18, torch.float32)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(epsilon_greedy(q, 0.5, mask=mask, generator=torch.Generator().manual_seed(2)))
    finally:
        torch.set_num_threads(threads)
    strided = q.t().contiguous().t(), mask.t().contiguous().t()
    results.append(epsilon_greedy(strided[0], 0.5, mask=strided[1], generator=torch.Generator().manual_seed(2)))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_torchs_own_generator_is_the_default():
    q, _ = sample_inputs(20, 5)
    torch.manual_seed(7)
    first = epsilon_greedy(q, 1.0)
    torch.manual_seed(7)
    assert torch.equal(epsilon_greedy(q, 1.0), first)
    assert not torch.equal(epsilon_greedy(q, 1.0), first)


def test_opcheck_and_no_gradient():
    q, mask = sample_inputs(6, 5, torch.float32)
    torch.library.opcheck(op, (q, 0.3, None, numbers(6), None))
    torch.library.opcheck(op, (q, 0.3, torch.rand(6).double(), numbers(6), mask))
    assert not epsilon_greedy(q.requires_grad_(), 0.1).requires_grad


def test_compiles_into_one_graph():
    q, mask = sample_inputs(6, 5)
    compiled = torch.compile(lambda q, mask: epsilon_greedy(q, 0.0, mask=mask), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(q, mask), epsilon_greedy(q, 0.0, mask=mask))


GOOD = {"q": torch.zeros(2, 3, 4), "epsilon": 0.1}
MASK = torch.ones(2, 3, 4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"q": [0.0]}, TypeError, "q: got list"),
        ({"q": torch.tensor(0.0)}, ValueError, "q: got shape"),
        ({"q": torch.zeros(3).long()}, TypeError, "q: got int64, want float32 or float64"),
        ({"q": torch.zeros(2, 0)}, ValueError, r"q: row \(0,\) allows no action"),
        ({"q": torch.full((2, 3, 4), torch.nan)}, ValueError, r"q: row \(0, 0\) has NaN"),
        ({"epsilon": -0.1}, ValueError, "epsilon: got -0.1"),
        ({"epsilon": math.nan}, ValueError, "epsilon: got nan"),
        ({"epsilon": torch.tensor([0.1, 0.2])}, ValueError, r"epsilon: got shape \(2,\), want one that broadcasts to"),
        ({"epsilon": torch.zeros(1, 2, 3)}, ValueError, "epsilon: got shape"),
        ({"epsilon": torch.tensor([0.1, 1.2, 0.0])}, ValueError, "epsilon: got a number that is not"),
        ({"epsilon": torch.tensor([1, 0, 0])}, TypeError, "epsilon: got int64"),
        ({"mask": MASK[0]}, ValueError, "mask: got shape"),
        ({"mask": MASK.long()}, TypeError, "mask: got int64, want bool"),
        ({"mask": MASK.to("meta")}, ValueError, "mask: got a tensor on meta"),
    ],
)
def test_bad_input_names_the_argument(changes, error, message):
    with pytest.raises(error, match=message):
        epsilon_greedy(**{**GOOD, **changes})


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_the_row_at_fault_is_named(epsilon):
    mask, q = MASK.clone(), torch.zeros(2, 3, 4)
    mask[1, 2] = False
    with pytest.raises(ValueError, match=r"mask: row \(1, 2\) allows no action"):
        epsilon_greedy(q, epsilon, mask=mask)
    with pytest.raises(ValueError, match=r"mask: row \(5,\) allows no action"):
        epsilon_greedy_reference(q.view(6, 4), epsilon, None, numbers(6), mask.view(6, 4))
    q[0, 1, 3] = torch.nan
    for mask in (None, MASK):
        with pytest.raises(ValueError, match=r"q: row \(0, 1\) has NaN"):
            epsilon_greedy(q, epsilon, mask=mask)


def test_the_raw_op_reads_nothing_out_of_bounds():
    q = torch.zeros(2, 3)
    for bad in (1.0, -0.5, math.nan, math.inf):
        with pytest.raises(RuntimeError, match="uniform"):
            op(q, 1.0, None, torch.full((2, 2), bad).double(), None)
    with pytest.raises(RuntimeError, match="uniform"):
        op(q, 1.0, None, torch.zeros(2).double(), None)
