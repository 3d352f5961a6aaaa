"""What holds for every return; each op's own file compares it with its definition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyagent import ops
from pyagent.ops.discounted_returns import discounted_returns_reference
from pyagent.ops.gae import gae_reference
from pyagent.ops.lambda_returns import lambda_returns_reference
from pyagent.ops.n_step_returns import n_step_returns_reference
from pyagent.ops.retrace import retrace_reference
from pyagent.ops.vtrace import vtrace_reference

A = 5
SIZES = [(1, 1), (7, 3), (0, 4), (5, 0), (0, 0), (33, 257), (9, 1040)]
NAMES = ["discounted_returns", "n_step_returns", "lambda_returns", "gae", "vtrace", "retrace"]
WITH_V = ["gae", "vtrace"]
REFERENCES = {
    "discounted_returns": discounted_returns_reference,
    "n_step_returns": n_step_returns_reference,
    "lambda_returns": lambda_returns_reference,
    "gae": gae_reference,
    "vtrace": vtrace_reference,
    "retrace": retrace_reference,
}


def sample(name, T, B, dtype=torch.float64, seed=0, truncated=False):
    """Arguments of the op by name."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=dtype)

    def chance(*shape):
        return torch.rand(*shape, generator=random, dtype=dtype)

    found = {"r_t": draw(T, B), "discount_t": 0.97 * (chance(T, B) > 0.1).to(dtype)}
    if truncated:
        found["truncated"] = chance(T, B) < 0.2
        if name in ("discounted_returns", *WITH_V):
            found["v_final"] = draw(T, B)
    if name == "retrace":
        q, actions = draw(T + 1, B, A), torch.randint(A, (T + 1, B), generator=random)
        found |= {"q_tm1": q[:-1], "a_tm1": actions[:-1], "q_t": q[1:].clone(), "a_t": actions[1:].clone()}
        return found | {"pi_t": draw(T, B, A).softmax(-1), "mu_t": 0.05 + chance(T, B), "lambda_": 0.9}
    own = {
        "discounted_returns": lambda: {"v_T": draw(B)},
        "n_step_returns": lambda: {"v_t": draw(T, B), "n": 3},
        "lambda_returns": lambda: {"v_t": draw(T, B), "lambda_": 0.9},
        "gae": lambda: {"v": draw(T + 1, B), "lambda_": 0.9},
        "vtrace": lambda: {"v": draw(T + 1, B), "rho_tm1": 2 * chance(T, B), "lambda_": 0.9, "clip_pg_rho": 1.2},
    }
    return found | own[name]()


def results(name, arguments):
    """All results of the op as a tuple."""
    got = getattr(ops, name)(**arguments)
    return got if isinstance(got, tuple) else (got,)


def map_tensors(f, arguments):
    return {name: f(x) if isinstance(x, torch.Tensor) else x for name, x in arguments.items()}


def episode(arguments, begin, end):
    """The arguments of the steps [begin, end) alone, the last of which was truncated."""
    found = map_tensors(lambda x: x[begin:end], arguments)
    truncated, v_final = found.pop("truncated"), found.pop("v_final", None)
    last = arguments["v_final"][end - 1] if v_final is not None and truncated[-1].all() else None
    if "v_T" in arguments:
        found["v_T"] = arguments["v_T"] if last is None else last
    if "v" in arguments:
        after = arguments["v"][end] if last is None else last
        found["v"] = torch.cat((found["v"], after[None]))
    return found


@pytest.mark.parametrize(("T", "B"), SIZES)
@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_equals_the_torch_reference(name, dtype, truncated, T, B):
    arguments = sample(name, T, B, dtype, truncated=truncated)
    got = results(name, arguments)
    unseen = ("q_tm1", "a_tm1")
    wanted = REFERENCES[name](**{key: x for key, x in arguments.items() if key not in unseen})
    tolerance = 2e-5 if dtype == torch.float32 else 1e-12
    for x, y in zip(got, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        assert x.shape == (T, B)
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
@given(T=st.integers(1, 12), B=st.integers(1, 40), cut=st.integers(0, 11), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_truncated_episodes_are_each_episode_alone(name, T, B, cut, seed):
    cut = min(cut, T - 1)
    arguments = sample(name, T, B, seed=seed, truncated=True)
    arguments["truncated"] = (torch.arange(T) == cut)[:, None].expand(T, B)
    got = results(name, arguments)
    parts = [results(name, episode(arguments, *ends)) for ends in ((0, cut + 1), (cut + 1, T)) if ends[0] < ends[1]]
    for x, *alone in zip(got, *parts, strict=True):
        torch.testing.assert_close(x, torch.cat(alone))


@pytest.mark.parametrize("name", NAMES)
def test_termination_outweighs_truncation(name):
    arguments = sample(name, 8, 20, truncated=True)
    discount_t = arguments["discount_t"].masked_fill(arguments["truncated"], 0.0)
    got = results(name, arguments | {"discount_t": discount_t})
    without = {key: x for key, x in arguments.items() if key not in ("truncated", "v_final")}
    for x, y in zip(got, results(name, without | {"discount_t": discount_t}), strict=True):
        torch.testing.assert_close(x, y)


@pytest.mark.parametrize("name", WITH_V)
def test_final_values_are_those_of_the_next_step_by_default(name):
    arguments = sample(name, 8, 20, truncated=True)
    del arguments["v_final"]
    for x, y in zip(results(name, arguments), results(name, arguments | {"v_final": arguments["v"][1:]}), strict=True):
        assert torch.equal(x, y)


@pytest.mark.parametrize("name", NAMES)
def test_ignores_memory_layout_and_gradients(name):
    arguments = sample(name, 6, 4, truncated=True)
    wanted = results(name, arguments)
    others = [
        map_tensors(lambda x: x.transpose(0, -1).contiguous().transpose(0, -1), arguments),
        map_tensors(lambda x: x.clone().requires_grad_(x.is_floating_point()), arguments),
    ]
    for other in others:
        for x, y in zip(results(name, other), wanted, strict=True):
            assert torch.equal(x, y)
            assert not x.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("T", [64, 1100])  # the caches hold the results, or they go past them
@pytest.mark.parametrize("name", NAMES)
def test_thread_count_and_batch_do_not_change_a_bit(name, T, dtype):
    B = 2080  # more than the lanes of a block
    arguments = sample(name, T, B, dtype)
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(results(name, arguments))
    finally:
        torch.set_num_threads(threads)
    some = slice(7, 24)
    part = map_tensors(lambda x: x[..., some] if x.dim() < 3 else x[:, some], arguments)
    for first, *others, alone in zip(*found, results(name, part), strict=True):
        assert all(torch.equal(first, other) for other in others)
        assert torch.equal(first[:, some], alone)


@pytest.mark.parametrize("name", NAMES)
def test_nan_reaches_earlier_steps_of_its_lane_only(name):
    arguments = sample(name, 6, 2)
    arguments["discount_t"] = torch.full((6, 2), 0.9, dtype=torch.float64)
    arguments["r_t"][3, 1] = float("nan")
    earliest = 4 - arguments.get("n", 4)
    expected = torch.tensor([[False, earliest <= t < 4] for t in range(6)])
    for x in results(name, arguments):
        assert torch.equal(x.isnan(), expected)


@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize(("T", "B"), [(7, 3), (0, 2), (2, 0)])
@pytest.mark.parametrize("name", NAMES)
def test_opcheck(name, T, B, truncated):
    arguments = sample(name, T, B, torch.float32, truncated=truncated)
    op = getattr(torch.ops.pyagent, name).default
    defaults = {"lambda_": 1.0, "clip_rho": 1.0, "clip_pg_rho": 1.0, "truncated": None, "v_final": None}
    given = [(defaults | arguments)[argument.name] for argument in op._schema.arguments]
    torch.library.opcheck(op, tuple(given))


@pytest.mark.parametrize("name", NAMES)
def test_compiles_into_one_graph(name):
    arguments = sample(name, 5, 3, truncated=True)
    tensors = {key: x for key, x in arguments.items() if isinstance(x, torch.Tensor)}
    tensors["r_t"].requires_grad_()
    others = {key: x for key, x in arguments.items() if key not in tensors}

    def call(tensors):
        return [2 * x for x in results(name, tensors | others)]

    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(tensors), call(tensors))


@pytest.mark.parametrize("name", NAMES)
def test_bad_steps_name_the_argument(name):
    arguments = sample(name, 4, 3, truncated=True)
    for changes, error, message in [
        ({"r_t": torch.zeros(4, dtype=torch.float64)}, ValueError, "r_t: got shape"),
        ({"r_t": torch.zeros(4, 3, dtype=torch.int64)}, TypeError, "r_t: got int64"),
        ({"r_t": None}, TypeError, "r_t: got NoneType"),
        ({"discount_t": torch.zeros(4, 2, dtype=torch.float64)}, ValueError, "discount_t: got shape"),
        ({"discount_t": torch.zeros(4, 3)}, TypeError, "discount_t: got float32, want float64"),
        ({"discount_t": [0.0]}, TypeError, "discount_t: got list"),
        ({"discount_t": torch.zeros(4, 3, dtype=torch.float64, device="meta")}, ValueError, "discount_t: got a tensor"),
        ({"truncated": torch.zeros(3, 4, dtype=torch.bool)}, ValueError, "truncated: got shape"),
        ({"truncated": torch.zeros(4, 3)}, TypeError, "truncated: got float32, want bool"),
    ]:
        with pytest.raises(error, match=message):
            results(name, arguments | changes)
    for number in ("lambda_",) if "lambda_" in arguments else ():
        for value, error in ((1.5, ValueError), (float("nan"), ValueError), ("1", TypeError)):
            with pytest.raises(error, match=f"{number}: got"):
                results(name, arguments | {number: value})


@pytest.mark.parametrize("name", ["discounted_returns", *WITH_V])
def test_bad_final_values_name_the_argument(name):
    arguments = sample(name, 4, 3, truncated=True)
    with pytest.raises(ValueError, match="v_final: got shape"):
        results(name, arguments | {"v_final": torch.zeros(5, 3, dtype=torch.float64)})
    with pytest.raises(ValueError, match="v_final: got a tensor, want None without truncated"):
        results(name, arguments | {"truncated": None})


@pytest.mark.parametrize("name", NAMES)
def test_the_raw_op_refuses_tensors_on_several_devices(name):
    op = getattr(torch.ops.pyagent, name).default
    defaults = {"lambda_": 1.0, "clip_rho": 1.0, "clip_pg_rho": 1.0, "truncated": None, "v_final": None}
    arguments = defaults | sample(name, 4, 3) | {"discount_t": torch.zeros(4, 3, device="meta")}
    with pytest.raises(RuntimeError, match="want one device"):
        op(*(arguments[argument.name] for argument in op._schema.arguments))
