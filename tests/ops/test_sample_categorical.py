"""Categorical draws against a sorted softmax in numpy, given the same numbers, and as frequencies."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyagent.ops import sample_categorical
from pyagent.ops.sample_categorical import sample_categorical_reference

op = torch.ops.pyagent.sample_categorical.default
CASES = [(0, 3), (1, 1), (40, 2), (33, 3), (17, 4), (9, 5), (64, 18), (20, 64), (20, 65), (20, 129), (8, 1000)]
RULES = [
    {},
    {"temperature": 0.3},
    {"temperature": 7.0, "top_k": 3},
    {"top_k": 1},
    {"top_p": 0.7},
    {"top_p": 1e-9},
    {"top_k": 40, "top_p": 0.95, "temperature": 1.5},
]


def sample_inputs(N, A, dtype=torch.float64, seed=0, round_to=None):
    """Logits and a mask that leaves at least one action."""
    random = torch.Generator().manual_seed(seed + N + A)
    logits = 2 * torch.randn(N, A, generator=random, dtype=torch.float64)
    logits = logits if round_to is None else (logits / round_to).round() * round_to
    mask = torch.rand(N, A, generator=random) < 0.4
    if N:
        mask[torch.arange(N), torch.randint(0, A, (N,), generator=random)] = True
    return logits.to(dtype), mask


def numbers(N, seed=0):
    return torch.rand(N, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def probabilities(row, mask=None, temperature=1.0, top_k=None, top_p=None):
    """Of one row, by the definition: rank, cut, normalise."""
    row = row.astype(np.float64)
    allowed = (np.ones(len(row), bool) if mask is None else mask) & (row > -np.inf)
    ranked = sorted(np.flatnonzero(allowed), key=lambda a: (-row[a], a))[:top_k]
    weight = np.exp((row[ranked] - row[ranked[0]]) / temperature)
    if top_p is not None:
        enough = np.searchsorted(np.cumsum(weight), top_p * weight.sum())  # reached first there
        ranked, weight = ranked[: enough + 1], weight[: enough + 1]
    result = np.zeros(len(row))
    result[ranked] = weight / weight.sum()
    return result


def drawn_in_numpy(logits, uniform, mask, rule):
    actions = []
    for n in range(len(logits)):
        p = probabilities(logits[n].numpy(), None if mask is None else mask[n].numpy(), **rule)
        actions.append(int(np.flatnonzero(np.cumsum(p) > uniform[n].item())[0]))
    return torch.tensor(actions, dtype=torch.int64)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_draws_equal_an_inverse_distribution_function_in_numpy(case, rule, dtype, masked):
    logits, mask = sample_inputs(*case, dtype)
    mask, uniform = mask if masked else None, numbers(case[0])
    wanted = drawn_in_numpy(logits, uniform, mask, rule)
    assert torch.equal(
        sample_categorical(logits, **rule, mask=mask, generator=torch.Generator().manual_seed(0)), wanted
    )
    settings = {"temperature": 1.0, "top_k": None, "top_p": None, **rule}
    assert torch.equal(sample_categorical_reference(logits, uniform, **settings, mask=mask), wanted)


@pytest.mark.parametrize("spread", [0.01, 1.0, 4.0, 300.0])
@pytest.mark.parametrize("rule", [{"top_k": 50}, {"top_k": 5000}, {"top_p": 0.5}, {"top_p": 0.99}, {}], ids=str)
def test_a_vocabulary(rule, spread):
    logits = spread * sample_inputs(4, 20_011, torch.float32)[0]
    logits[1] = logits[1].round()  # many equals
    logits[2, 7] = 1e30
    logits[3, ::3] = -math.inf
    uniform = numbers(4)
    wanted = drawn_in_numpy(logits, uniform, None, rule)
    assert torch.equal(sample_categorical(logits, **rule, generator=torch.Generator().manual_seed(0)), wanted)


def kept_by_the_op(logits, **rule):
    """The actions that a fine grid of numbers reaches, and the share of it that goes to each."""
    grid = (torch.arange(4096, dtype=torch.float64) + 0.5) / 4096
    action = op(logits.expand(4096, -1), grid, rule.get("temperature", 1.0), rule.get("top_k"), rule.get("top_p"), None)
    return torch.bincount(action, minlength=len(logits)) / 4096


@given(
    A=st.integers(1, 80),
    seed=st.integers(0, 10**6),
    top_k=st.none() | st.integers(1, 90),
    top_p=st.none() | st.floats(0.01, 1.0),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=100)
def test_shares_of_a_grid_are_the_probabilities(A, seed, top_k, top_p, dtype):
    logits = sample_inputs(1, A, dtype, seed)[0][0]
    wanted = probabilities(logits.numpy(), top_k=top_k, top_p=top_p)
    got = kept_by_the_op(logits, top_k=top_k, top_p=top_p).numpy()
    np.testing.assert_allclose(got, wanted, atol=2 / 4096)


@pytest.mark.parametrize("A", [6, 100, 3000])
def test_a_cut_through_equals_keeps_the_first(A):
    logits = torch.zeros(A)
    logits[A - 1] = -1.0
    first_four = [0, 1, 2, 3]
    assert kept_by_the_op(logits, top_k=4).nonzero().flatten().tolist() == first_four
    logits = torch.full((A,), -math.inf)
    logits[-5:] = 0.0
    assert kept_by_the_op(logits, top_p=0.6).nonzero().flatten().tolist() == [A - 5, A - 4, A - 3]
    assert kept_by_the_op(logits, top_p=0.61).nonzero().flatten().tolist() == [A - 5, A - 4, A - 3, A - 2]


def test_frequencies():
    """Chi-square of 200,000 draws over 6 actions: 5 degrees of freedom."""
    logits, N = torch.tensor([0.0, 1.0, -2.0, 0.5, 3.0, -0.5]), 200_000
    action = sample_categorical(logits.expand(N, 6), temperature=2.0, generator=torch.Generator().manual_seed(1))
    expected = N * probabilities(logits.numpy(), temperature=2.0)
    statistic = ((np.bincount(action.numpy(), minlength=6) - expected) ** 2 / expected).sum()
    assert statistic < 20.52  # exceeded by chance once in 1000


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_what_is_not_allowed_is_never_looked_at(rule):
    logits, mask = sample_inputs(60, 33, torch.float32)
    generators = [torch.Generator().manual_seed(3) for _ in range(4)]
    wanted = sample_categorical(logits, **rule, mask=mask, generator=generators[0])
    assert mask.gather(1, wanted[:, None]).all()
    for poison, generator in zip((math.nan, math.inf, -math.inf), generators[1:], strict=True):
        got = sample_categorical(logits.where(mask, poison), **rule, mask=mask, generator=generator)
        assert torch.equal(got, wanted)
    hidden = logits.where(mask, -math.inf)
    assert torch.equal(sample_categorical(hidden, **rule, generator=torch.Generator().manual_seed(3)), wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("temperature", "scale"), [(1e-45, 1.0), (1e-6, 1e30), (1e30, 1.0), (1.0, 1e37), (1e30, 1e35)])
def test_extreme_numbers(temperature, scale, dtype):
    logits = sample_inputs(50, 10, dtype)[0].float().to(dtype) * scale
    action = sample_categorical(logits, temperature=temperature)
    if temperature < scale:
        assert torch.equal(action, logits.argmax(-1))
    else:
        assert len(action.unique()) > 5


def test_the_largest_number_draws_the_last_action_with_a_probability():
    almost_one = torch.full((1,), math.nextafter(1, 0), dtype=torch.float64)
    for A, dtype in itertools.product((1, 3, 10, 64, 65, 1000), (torch.float32, torch.float64)):
        for seed in range(20):
            logits = sample_inputs(1, A, dtype, seed)[0]
            assert op(logits, almost_one, 1.0, None, None, None).item() in range(A)
            logits[0, A // 2 :] = -math.inf
            logits[0, 0] = 0
            assert op(logits, almost_one, 1.0, None, None, None).item() in range(max(A // 2, 1))


def test_thread_count_and_layout_do_not_change_an_action():
    logits, mask = sample_inputs(5000, 33, torch.float32)
    threads, results = torch.get_num_threads(), []
    rule = {"top_k": 9, "top_p": 0.9}
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(sample_categorical(logits, **rule, mask=mask, generator=torch.Generator().manual_seed(2)))
    finally:
        torch.set_num_threads(threads)
    logits, mask = logits.t().contiguous().t(), mask.t().contiguous().t()
    results.append(sample_categorical(logits, **rule, mask=mask, generator=torch.Generator().manual_seed(2)))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_leading_dimensions():
    logits, mask = sample_inputs(12, 5)
    wanted = sample_categorical(logits, mask=mask, generator=torch.Generator().manual_seed(2))
    shaped = (x.view(2, 3, 2, 5) for x in (logits, mask))
    got = sample_categorical(next(shaped), mask=next(shaped), generator=torch.Generator().manual_seed(2))
    assert torch.equal(got, wanted.view(2, 3, 2))
    assert sample_categorical(torch.tensor([0.0, 99.0])).shape == ()
    assert sample_categorical(torch.zeros(0, 4, 3)).shape == (0, 4)


def test_opcheck_and_no_gradient():
    logits, mask = sample_inputs(6, 5, torch.float32)
    torch.library.opcheck(op, (logits, numbers(6), 1.0, None, None, None))
    torch.library.opcheck(op, (logits, numbers(6), 0.5, 3, 0.9, mask))
    assert not sample_categorical(logits.requires_grad_()).requires_grad


def test_compiles_into_one_graph():
    logits, mask = sample_inputs(6, 5)
    rule = {"top_k": 1, "mask": mask}
    compiled = torch.compile(lambda x: sample_categorical(x, **rule), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(logits), sample_categorical(logits, **rule))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"logits": None}, TypeError, "logits: got NoneType"),
        ({"logits": torch.tensor(0.0)}, ValueError, "logits: got shape"),
        ({"logits": torch.zeros(3).half()}, TypeError, "logits: got float16"),
        ({"logits": torch.zeros(2, 0)}, ValueError, r"logits: row \(0,\) allows no action"),
        ({"temperature": 0.0}, ValueError, "temperature: got 0.0, want a number above 0"),
        ({"temperature": math.nan}, ValueError, "temperature: got nan"),
        ({"temperature": math.inf}, ValueError, "temperature: got inf"),
        ({"top_k": 0}, ValueError, "top_k: got 0, want an integer of at least 1"),
        ({"top_k": 2.0}, ValueError, "top_k: got 2.0"),
        ({"top_p": 0.0}, ValueError, r"top_p: got 0.0, want a number in \(0, 1\]"),
        ({"top_p": 1.1}, ValueError, "top_p: got 1.1"),
        ({"top_p": math.nan}, ValueError, "top_p: got nan"),
        ({"mask": torch.ones(3, 4, dtype=torch.bool)}, ValueError, "mask: got shape"),
        ({"mask": torch.ones(2, 3, 4)}, TypeError, "mask: got float32, want bool"),
    ],
)
def test_bad_input_names_the_argument(changes, error, message):
    with pytest.raises(error, match=message):
        sample_categorical(**{"logits": torch.zeros(2, 3, 4), **changes})


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("A", [2, 5, 100])
def test_the_row_at_fault_is_named(A, rule):
    good = torch.zeros(2, 3, A)
    for poison in (math.nan, math.inf):
        logits = good.clone()
        logits[1, 2, A - 1] = poison
        with pytest.raises(ValueError, match=r"logits: row \(1, 2\) has NaN or \+inf"):
            sample_categorical(logits, **rule)
    logits = good.clone()
    logits[0, 1] = -math.inf
    with pytest.raises(ValueError, match=r"logits: row \(0, 1\) allows no action"):
        sample_categorical(logits, **rule)
    mask = torch.ones(2, 3, A, dtype=torch.bool)
    mask[1, 0] = False
    with pytest.raises(ValueError, match=r"mask: row \(1, 0\) allows no action"):
        sample_categorical(good, **rule, mask=mask)
    with pytest.raises(ValueError, match=r"mask: row \(3,\) allows no action"):
        sample_categorical_reference(good.view(6, A), numbers(6), 1.0, None, None, mask.view(6, A))


def test_the_raw_op_refuses_what_would_lead_astray():
    logits, uniform = torch.zeros(2, 3), numbers(2)
    for bad in (1.0, -0.5, math.nan):
        with pytest.raises(RuntimeError, match="uniform"):
            op(logits, torch.full((2,), bad).double(), 1.0, None, None, None)
    for arguments, name in (((0.0, None, None), "temperature"), ((1.0, 0, None), "top_k"), ((1.0, None, 0.0), "top_p")):
        with pytest.raises(RuntimeError, match=name):
            op(logits, uniform, *arguments, None)
