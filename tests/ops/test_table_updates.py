"""Q-learning, double Q, Q(λ), SARSA and expected SARSA: each against its loop written out in numpy, and its errors."""

import importlib
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyagent import native, ops

TABLES = {"double_q_update": ("q_a", "q_b"), "q_lambda_update": ("q_table", "trace")}
INDICES = {"state": "S", "action": "A", "next_state": "S", "next_action": "A"}


def q_loop(q_table, state, action, reward, next_state, discount, alpha):
    for i in range(len(state)):
        error = reward[i] + discount[i] * np.max(q_table[next_state[i]]) - q_table[state[i], action[i]]
        q_table[state[i], action[i]] = q_table[state[i], action[i]] + alpha[i] * error


def sarsa_loop(q_table, state, action, reward, next_state, next_action, discount, alpha):
    for i in range(len(state)):
        error = reward[i] + discount[i] * q_table[next_state[i], next_action[i]] - q_table[state[i], action[i]]
        q_table[state[i], action[i]] = q_table[state[i], action[i]] + alpha[i] * error


def expected_sarsa_loop(q_table, state, action, reward, next_state, next_probability, discount, alpha):
    for i in range(len(state)):
        expected = next_probability[i, 0] * q_table[next_state[i], 0]
        for a in range(1, q_table.shape[1]):
            expected = expected + next_probability[i, a] * q_table[next_state[i], a]
        error = reward[i] + discount[i] * expected - q_table[state[i], action[i]]
        q_table[state[i], action[i]] = q_table[state[i], action[i]] + alpha[i] * error


def double_q_loop(q_a, q_b, update_a, state, action, reward, next_state, discount, alpha):
    for i in range(len(state)):
        learns, judges = (q_a, q_b) if update_a[i] else (q_b, q_a)
        best = np.argmax(learns[next_state[i]])
        error = reward[i] + discount[i] * judges[next_state[i], best] - learns[state[i], action[i]]
        learns[state[i], action[i]] = learns[state[i], action[i]] + alpha[i] * error


def q_lambda_loop(
    q_table, trace, state, action, reward, next_state, next_action, discount, alpha, lambda_, replacing=True
):
    """Over the whole table, as the textbook has it."""
    for i in range(len(state)):
        e = trace if trace.ndim == 2 else trace[i]
        row = q_table[next_state[i]]
        greedy = row[next_action[i]] == np.max(row)
        error = reward[i] + discount[i] * np.max(row) - q_table[state[i], action[i]]
        e[state[i], action[i]] = 1 if replacing else e[state[i], action[i]] + 1
        q_table += (alpha[i] * error) * e
        e *= discount[i] * lambda_[i] if greedy else 0


LOOPS = {
    "q_update": q_loop,
    "sarsa_update": sarsa_loop,
    "expected_sarsa_update": expected_sarsa_loop,
    "double_q_update": double_q_loop,
    "q_lambda_update": q_lambda_loop,
}
every_update = pytest.mark.parametrize("name", LOOPS)
both_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def reference_of(name):
    return getattr(importlib.import_module(f"pyagent.ops.{name}"), f"{name}_reference")


def sample(name, S, A, N, dtype=np.float64, seed=0, traces=2):
    """Arguments by name: every tenth transition terminal, a third of the next actions greedy."""
    random = np.random.default_rng(seed)

    def numbers(*shape):
        return random.standard_normal(shape).astype(dtype)

    tables = {table: numbers(S, A) for table in TABLES.get(name, ("q_table",))}
    batch = {
        "state": random.integers(S, size=N) if N else np.zeros(0, np.int64),
        "action": random.integers(A, size=N) if N else np.zeros(0, np.int64),
        "reward": numbers(N),
        "next_state": random.integers(S, size=N) if N else np.zeros(0, np.int64),
        "discount": (0.97 * (random.random(N) > 0.1)).astype(dtype),
        "alpha": random.random(N).astype(dtype),
    }
    if name in ("sarsa_update", "q_lambda_update"):
        batch["next_action"] = random.integers(A, size=N) if N else np.zeros(0, np.int64)
    if name == "expected_sarsa_update":
        probability = random.random((N, A))
        batch["next_probability"] = (probability / probability.sum(1, keepdims=True)).astype(dtype)
    if name == "double_q_update":
        batch["update_a"] = random.random(N) > 0.5
    if name == "q_lambda_update":
        if N:
            best = tables["q_table"][batch["next_state"]].argmax(1)
            batch["next_action"] = np.where(random.random(N) > 0.6, best, batch["next_action"])
        tables["trace"] = np.zeros((S, A) if traces == 2 else (N, S, A), dtype)
        batch["lambda_"] = np.full(N, 0.9, dtype)
    return tables | batch


def copied(arguments):
    return {key: value.copy() if hasattr(value, "copy") else value for key, value in arguments.items()}


def updated(update, name, arguments):
    """The tables afterwards."""
    arguments = copied(arguments)
    assert update(**arguments) is None
    return [arguments[table] for table in TABLES.get(name, ("q_table",))]


def assert_same_bits(got, wanted):
    for one, other in zip(got, wanted, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
        number = ~np.isnan(other)
        np.testing.assert_array_equal(np.signbit(one[number]), np.signbit(other[number]))


@every_update
@both_dtypes
@pytest.mark.parametrize(
    ("S", "A", "N"),
    [(1, 1, 1), (3, 2, 0), (0, 0, 0), (7, 3, 100), (16, 4, 33), (5, 17, 257), (500, 6, 999), (33, 18, 500), (9, 5, 64)],
)
def test_equals_the_loop_bit_for_bit(name, S, A, N, dtype):
    arguments = sample(name, S, A, N, dtype)
    wanted = updated(LOOPS[name], name, arguments)
    assert_same_bits(updated(getattr(ops, name), name, arguments), wanted)
    assert_same_bits(updated(reference_of(name), name, arguments), wanted)


@every_update
@given(
    S=st.integers(1, 6), A=st.integers(1, 20), N=st.integers(0, 40), seed=st.integers(0, 10_000), single=st.booleans()
)
@settings(max_examples=40)
def test_equals_the_loop_where_pairs_repeat(name, S, A, N, seed, single):
    arguments = sample(name, S, A, N, np.float32 if single else np.float64, seed)
    assert_same_bits(updated(getattr(ops, name), name, arguments), updated(LOOPS[name], name, arguments))


@every_update
def test_a_large_table_equals_the_loop(name):
    arguments = sample(name, 50_000, 7, 300, np.float32)
    assert_same_bits(updated(getattr(ops, name), name, arguments), updated(LOOPS[name], name, arguments))


@every_update
@both_dtypes
def test_a_number_stands_for_all_transitions(name, dtype):
    arguments = sample(name, 9, 5, 50, dtype)
    for number in (0.1, np.float32(0.1), np.array(0.1), torch.tensor(0.1, dtype=torch.float64), 1):
        rates = {"alpha": number, "discount": number} | ({"lambda_": number} if "lambda_" in arguments else {})
        wanted = {key: np.full(50, float(number), dtype) for key in rates}
        got = updated(getattr(ops, name), name, arguments | rates)
        assert_same_bits(got, updated(LOOPS[name], name, arguments | wanted))


@every_update
@pytest.mark.parametrize("A", [1, 3, 6, 18])
@both_dtypes
def test_nan_and_infinity_spread_as_in_the_loop(name, A, dtype):
    arguments = sample(name, 12, A, 60, dtype)
    random = np.random.default_rng(1)
    for table in TABLES.get(name, ("q_table",)):
        places = arguments[table].reshape(-1)
        for value in (np.nan, np.inf, -np.inf):
            places[random.integers(places.size)] = value
    with np.errstate(invalid="ignore"):
        wanted = updated(reference_of(name), name, arguments)
        if name != "q_lambda_update":  # whose loop over the whole table makes NaN of 0 · ∞
            assert_same_bits(wanted, updated(LOOPS[name], name, arguments))
    assert_same_bits(updated(getattr(ops, name), name, arguments), wanted)


@every_update
@both_dtypes
def test_tensors_share_memory_and_count_their_version(name, dtype):
    arguments = sample(name, 20, 6, 99, dtype)
    wanted = updated(LOOPS[name], name, arguments)
    tensors = {key: torch.from_numpy(value.copy()) for key, value in arguments.items()}
    getattr(ops, name)(**tensors)
    tables = [tensors[table] for table in TABLES.get(name, ("q_table",))]
    assert_same_bits([table.numpy() for table in tables], wanted)
    assert all(table._version == 1 for table in tables)
    mixed = copied(arguments) | {"state": torch.from_numpy(arguments["state"])}
    getattr(ops, name)(**mixed)
    assert_same_bits([mixed[table] for table in TABLES.get(name, ("q_table",))], wanted)


@every_update
def test_layout_and_width_of_the_batch_do_not_matter(name):
    arguments = sample(name, 20, 6, 99)
    wanted = updated(LOOPS[name], name, arguments)
    strided = {}
    for key, value in arguments.items():
        if key not in TABLES.get(name, ("q_table",)):
            value = np.repeat(value, 2, axis=0)[::2]
            value = value.astype(np.int32) if key in INDICES else value
        strided[key] = value
    assert_same_bits(updated(getattr(ops, name), name, strided), wanted)
    misaligned = np.zeros(99 * 8 + 1, np.uint8)[1:].view(np.float64)
    misaligned[:] = arguments["reward"]
    assert_same_bits(updated(getattr(ops, name), name, arguments | {"reward": misaligned}), wanted)


def refuses(name, arguments, error, message):
    before = copied(arguments)
    with pytest.raises(error, match=message):
        getattr(ops, name)(**arguments)
    for table in TABLES.get(name, ("q_table",)):
        if isinstance(arguments[table], np.ndarray):
            np.testing.assert_array_equal(arguments[table], before[table])


@pytest.mark.parametrize(
    ("name", "key"), [(name, key) for name in LOOPS for key in INDICES if key in sample(name, 1, 1, 1)]
)
@pytest.mark.parametrize("place", [0, 17, 32])
@pytest.mark.parametrize("value", [-1, "size", 2**31, 2**32, 2**62, -(2**63)])
def test_an_index_outside_is_named_and_nothing_written(name, key, place, value):
    arguments = sample(name, 7, 3, 33)
    size = {"S": 7, "A": 3}[INDICES[key]]
    arguments[key][place] = size if value == "size" else value
    refuses(name, arguments, IndexError, f"{key}: got {arguments[key][place]} at place {place}, want 0 to {size - 1}")


@every_update
def test_wrong_arguments_are_named_and_nothing_written(name):
    good = sample(name, 7, 3, 33)
    for key, value in good.items():
        scalar = key in ("alpha", "discount", "lambda_")
        refuses(name, good | {key: value.tolist()}, TypeError, f"{key}: got list")
        refuses(name, good | {key: None}, TypeError, f"{key}: got NoneType")
        refuses(name, good | {key: value.astype(complex)}, TypeError, f"{key}: got complex128")
        refuses(name, good | {key: value[None]}, ValueError, rf"{key}: got shape \(1, ")
        meta = torch.from_numpy(value).to("meta")
        refuses(name, good | {key: meta}, ValueError, f"{key}: got a tensor on meta")
        if key != "state" and not scalar and key not in TABLES.get(name, ("q_table",)):
            refuses(name, good | {key: value[:-1]}, ValueError, rf"{key}: got shape \(32")
        if value.dtype == np.float64 and key not in ("q_table", "q_a"):
            refuses(name, good | {key: value.astype(np.float32)}, TypeError, f"{key}: got float32, want float64")
        if value.dtype == np.float64:
            refuses(name, good | {key: value.astype(">f8")}, TypeError, f"{key}: got >f8")
            half = torch.from_numpy(value).bfloat16()
            refuses(name, good | {key: half}, TypeError, f"{key}: got bfloat16")


@every_update
def test_a_table_that_cannot_be_written_in_place_is_refused(name):
    good = sample(name, 7, 3, 33)
    for key in TABLES.get(name, ("q_table",)):
        read_only = good[key].copy()
        read_only.flags.writeable = False
        refuses(name, good | {key: read_only}, ValueError, f"{key}: got a read-only array")
        refuses(name, good | {key: np.asfortranarray(good[key])}, ValueError, f"{key}: got an array of strides")
        refuses(name, good | {key: good[key].astype(np.int64)}, TypeError, f"{key}: got int64")
        tensor = torch.from_numpy(good[key]).requires_grad_()
        refuses(name, good | {key: tensor}, ValueError, f"{key}: got a tensor that requires grad")


@every_update
def test_the_compiled_update_refuses_anything(name):
    """It is what stands between memory and the caller, whatever the Python front forgets."""
    good = sample(name, 7, 3, 33)
    compiled = getattr(native.arrays, name)
    names = list(importlib.import_module("inspect").signature(getattr(ops, name)).parameters)
    if name == "q_lambda_update":
        good["replacing"] = True
    for key in names:
        if key == "replacing":
            continue
        for value in (None, "a", object(), [], good[key].tolist(), good[key][:0], good[key].astype("U"), np.zeros(())):
            assert not compiled(*({**good, key: value}[name] for name in names))
    assert compiled(*(good[name] for name in names))


def test_other_threads_run_meanwhile():
    arguments = sample("q_update", 1000, 6, 3_000_000, np.float32)
    ticks = []
    working = threading.Event()

    def work():
        working.set()
        for _ in range(3):
            ops.q_update(**arguments)

    thread = threading.Thread(target=work)
    thread.start()
    working.wait()
    while thread.is_alive():
        ticks.append(None)
    thread.join()
    assert len(ticks) > 100


@pytest.mark.parametrize("replacing", [True, False])
def test_q_lambda_over_lanes_is_each_lane_alone(replacing):
    S, A, N = 6, 3, 5
    arguments = sample("q_lambda_update", S, A, N, traces=3)
    arguments["trace"][:] = np.random.default_rng(0).random((N, S, A)) * (
        np.random.default_rng(1).random((N, S, A)) > 0.5
    )
    wanted = copied(arguments)
    for lane in range(N):
        rows = {key: value[lane : lane + 1] for key, value in wanted.items() if key not in ("q_table", "trace")}
        q_lambda_loop(wanted["q_table"], wanted["trace"][lane], **rows, replacing=replacing)
    ops.q_lambda_update(**arguments, replacing=replacing)
    assert_same_bits([arguments["q_table"], arguments["trace"]], [wanted["q_table"], wanted["trace"]])


@pytest.mark.parametrize("replacing", [True, False])
def test_a_split_trajectory_with_its_trace_is_the_whole_one(replacing):
    arguments = sample("q_lambda_update", 6, 3, 40)
    whole, split = copied(arguments), copied(arguments)
    ops.q_lambda_update(**whole, replacing=replacing)
    for part in (slice(0, 13), slice(13, 14), slice(14, 40)):
        rows = {key: value[part] for key, value in split.items() if key not in ("q_table", "trace")}
        ops.q_lambda_update(split["q_table"], split["trace"], **rows, replacing=replacing)
    assert_same_bits([split["q_table"], split["trace"]], [whole["q_table"], whole["trace"]])


@both_dtypes
def test_special_cases_are_each_other(dtype):
    """λ = 0 is Q-learning; one table twice is Q-learning; certainty of an action is SARSA."""
    arguments = sample("q_update", 7, 4, 60, dtype)
    (wanted,) = updated(q_loop, "q_update", arguments)
    batch = {key: value for key, value in arguments.items() if key != "q_table"}
    q, trace = arguments["q_table"].copy(), np.zeros((7, 4), dtype)
    ops.q_lambda_update(q, trace, **batch, next_action=np.zeros(60, np.int64), lambda_=0.0)
    assert_same_bits([q, trace], [wanted, np.zeros_like(trace)])
    q = arguments["q_table"].copy()
    ops.double_q_update(q, q, np.arange(60) % 2 == 0, **batch)
    assert_same_bits([q], [wanted])
    next_action = np.arange(60) % 4
    one, other = arguments["q_table"].copy(), arguments["q_table"].copy()
    ops.sarsa_update(one, **batch, next_action=next_action)
    ops.expected_sarsa_update(other, **batch, next_probability=np.eye(4, dtype=dtype)[next_action])
    assert_same_bits([one], [other])
