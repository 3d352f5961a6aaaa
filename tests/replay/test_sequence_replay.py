import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyagent.replay import SequenceReplay


def draw_all(replay, n=4000):
    return replay.sample(n, 0.5, 0)


@pytest.mark.parametrize("p_some_lanes", [0.0, 0.4])
def test_samples_are_what_was_added(make, sizes, p_some_lanes):
    replay, oracle, player = make(sizes)
    for steps in (1, 3, 9, 40, 7, 31, 200):
        player.steps(steps, p_some_lanes)
        there = oracle.sequences()
        assert replay.num_sequences == len(there)
        assert len(replay) == sum(min(len(lane), oracle.rows) for lane in oracle.lanes)
        assert replay.needs_state.tolist() == [len(lane) % oracle.period == 0 for lane in oracle.lanes]
        if not there:
            with pytest.raises(ValueError, match="no sequence of"):
                replay.sample(1, 0.5, 0)
            continue
        batch = draw_all(replay, 17 * len(there))
        assert set(batch.ids.tolist()) == set(there)  # equal priorities: none is left out
        np.testing.assert_array_equal(batch.weights, 1.0)
        batch = replay.sample(33, 0.5, 1)
        assert batch.reset.shape == (oracle.T, 33)
        oracle.assert_holds(batch, ((2, 5), (2, 5)))


@given(data=st.data())
def test_any_sizes_and_any_order_of_lanes(make, data):
    B = data.draw(st.integers(1, 4))
    burn_in, length, n_step, period = (data.draw(st.integers(least, 6)) for least in (0, 1, 0, 1))
    rows = burn_in + length + n_step + data.draw(st.integers(0, 15))
    state = data.draw(st.sampled_from([(), ((1, 3),), ((2, 5), (2, 5))]))
    extra = data.draw(st.integers(0, B - 1))
    replay, oracle, player = make((rows * B + extra, B, burn_in, length, n_step, period), state)
    player.steps(data.draw(st.integers(0, 3 * rows)), 0.3)
    there = oracle.sequences()
    assert replay.num_sequences == len(there)
    if there:
        batch = draw_all(replay, 5 * len(there))
        assert set(batch.ids.tolist()) == set(there)
        assert len(batch.state) == len(state)
        oracle.assert_holds(batch, state)


def priority_of(td_error, valid, alpha, eta, epsilon):
    errors = [abs(float(e)) for e, counts in zip(td_error, valid, strict=True) if counts]
    if not errors:
        return epsilon**alpha
    return (eta * max(errors) + (1 - eta) * sum(errors) / len(errors) + epsilon) ** alpha


@pytest.mark.parametrize("mask", [False, True])
def test_priorities_decide_frequencies_and_weights(make, mask):
    replay, oracle, player = make("R2D2's halves", alpha=0.7, eta=0.8, epsilon=0.01)
    player.steps(70)
    expected = dict.fromkeys(oracle.sequences(), 1.0)  # new ones have 1, the largest so far
    largest, random = 1.0, np.random.default_rng(0)
    for seed in range(4):
        ids = replay.sample(16, 0.5, seed).ids
        td_error = random.standard_normal((8, 16)) * 3
        valid = random.random((8, 16)) < 0.8
        if mask:
            td_error[~valid] = np.nan
        replay.update_priorities(ids, td_error, valid if mask else None)
        for i, id in enumerate(ids):
            counts = valid[:, i] if mask else np.ones(8, bool)
            expected[int(id)] = priority_of(td_error[:, i], counts, 0.7, 0.8, 0.01)
            largest = max(largest, expected[int(id)])
        total = sum(expected.values())
        n = 4000
        batch = replay.sample(n, 0.6, seed)
        counts = dict(zip(*np.unique(batch.ids, return_counts=True), strict=True))
        for id, priority in expected.items():
            assert abs(counts.get(id, 0) - n * priority / total) <= 2
        N = len(expected)
        w = np.array([(N * expected[int(id)] / total) ** -0.6 for id in batch.ids])
        np.testing.assert_allclose(batch.weights, w / w.max(), rtol=1e-6)
    # What comes next gets the largest priority that there ever was.
    before = set(oracle.sequences())
    player.steps(8)
    new = set(oracle.sequences()) - before
    expected = {id: expected.get(id, largest) for id in oracle.sequences()}
    batch = replay.sample(4000, 1.0, 0)
    counts = dict(zip(*np.unique(batch.ids, return_counts=True), strict=True))
    assert new
    for id in new:
        assert abs(counts[id] - 4000 * largest / sum(expected.values())) <= 2


@pytest.mark.parametrize("sizes", ["R2D2's halves", "ring no multiple of the period"])
def test_overwritten_sequences_keep_out(make, sizes):
    """Neither their late priorities nor their ids reach the sequences that took their places."""
    replay, oracle, player = make(sizes)
    player.steps(60)
    batch = draw_all(replay)
    for steps in (1, 2, 3, 5, 40, 200):
        player.steps(steps)
        there = oracle.sequences()
        gone = np.array([id for id in batch.ids if int(id) not in there], np.int64)
        replay.update_priorities(gone, np.full((replay.sequence_length, len(gone)), 1e6))
        assert replay.num_sequences == len(there)
        after = draw_all(replay)
        np.testing.assert_array_equal(after.weights, 1.0)
        assert set(after.ids.tolist()) == set(there)


def test_the_last_of_equal_ids_counts(make):
    replay, _, player = make("one-step transitions", alpha=1.0, epsilon=1e-9)
    player.steps(20)
    ids = replay.sample(50, 1.0, 0).ids
    replay.update_priorities(ids, np.ones((1, 50)))
    replay.update_priorities([ids[0]] * 3, [[9.0, 5.0, 4.0]])
    batch = replay.sample(1000, 1.0, 0)
    np.testing.assert_allclose(batch.weights[batch.ids == ids[0]], 0.25, rtol=1e-6)


def test_uniform_sampling_takes_no_priorities(make):
    replay, oracle, player = make("R2D2's halves", prioritized=False)
    player.steps(50)
    ids = replay.sample(16, 0.5, 0).ids
    replay.update_priorities(ids, np.full((8, 16), 100.0))
    batch = draw_all(replay)
    np.testing.assert_array_equal(batch.weights, 1.0)
    counts = np.unique(batch.ids, return_counts=True)[1]
    assert len(counts) == len(oracle.sequences())
    assert np.ptp(counts) <= 2


def test_beta_0_weighs_nothing(make):
    replay, _, player = make("one-step transitions")
    player.steps(20)
    ids = replay.sample(50, 1.0, 0).ids
    replay.update_priorities(ids, np.arange(50.0)[None])
    np.testing.assert_array_equal(replay.sample(64, 0.0, 0).weights, 1.0)
    weights = replay.sample(64, 1.0, 0).weights
    assert weights.max() == 1.0
    assert 0.0 < weights.min() < 1.0


def test_a_step_that_the_environment_ignored_is_only_an_observation():
    """One-step transitions: the final observation is the second row of the last transition, never the first of one."""
    replay = SequenceReplay(100, 1, {"t": ((), "int64")}, prioritized=False)
    for t in range(60):
        replay.add({"t": [t]}, None, [t % 10 == 0], [t % 10 != 9])
    batch = replay.sample(2000, 0.0, 0)
    first, second = batch.fields["t"]
    np.testing.assert_array_equal(second, first + 1)
    assert set(first % 10) == set(range(9))
    assert not batch.reset[1].any()
    np.testing.assert_array_equal(batch.valid[1], second % 10 != 9)


def test_period_is_half_a_sequence_by_default():
    assert [SequenceReplay(100, 1, {}, sequence_length=n).period for n in (1, 2, 3, 8)] == [1, 1, 2, 4]


def test_steps_are_stored_once():
    """Ten overlapping sequences a step cost no more than one."""
    sizes = []
    for period in (1, 10):
        replay = SequenceReplay(1000, 1, {"x": ((100,), "float32")}, sequence_length=10, period=period)
        replay.add({"x": np.zeros((1, 100))}, None, [True])
        for _ in range(999):
            replay.add({"x": np.zeros((1, 100))}, None, [False])
        sizes.append(sum(array.nbytes for name, array in replay.state_dict()["arrays"].items() if name != "priority"))
    assert sizes[0] == sizes[1]


def wrong_step(**changes):
    step = {
        "observation": np.zeros((4, 3), np.float32),
        "tokens": np.zeros((4, 2, 2), np.int64),
        "action": np.zeros(4, np.int64),
        "reward": np.zeros(4),
    }
    return {**step, **changes}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"fields": {"reward": np.zeros(4)}}, ValueError, r"fields: got \['reward'\], want \['action', 'obs"),
        ({"fields": wrong_step(more=np.zeros(4))}, ValueError, "fields: got"),
        ({"fields": wrong_step(reward=np.zeros(3))}, ValueError, r"fields\['reward'\]: got shape \(3,\), want \(4,\)"),
        ({"fields": wrong_step(action=np.zeros(4))}, TypeError, r"fields\['action'\]: got float64, want int64"),
        ({"fields": wrong_step(tokens=np.full((4, 2, 2), 2**31))}, ValueError, r"fields\['tokens'\]: got 2147483648"),
        ({"fields": wrong_step(action=np.full(4, 2**63, np.uint64))}, ValueError, r"fields\['action'\]: got 9"),
        ({"fields": wrong_step(reward=np.array(["a"] * 4))}, TypeError, r"fields\['reward'\]: got <U1"),
        ({"reset": np.zeros(3, bool)}, ValueError, "reset: got shape"),
        ({"reset": np.zeros(4)}, TypeError, "reset: got float64, want bool"),
        ({"valid": np.zeros(5, bool)}, ValueError, "valid: got shape"),
        ({"state": (np.zeros((2, 4, 5)),)}, ValueError, "state: got 1 arrays, want 2"),
        ({"state": (np.zeros((2, 4, 5)), np.zeros((2, 4, 6)))}, ValueError, r"state\[1\]: got shape \(2, 4, 6\)"),
        ({"lanes": [0, 1, 2, 4]}, IndexError, "lanes: got 0 to 4, want 0 to 3"),
        ({"lanes": [-1, 1, 2, 3]}, IndexError, "lanes: got -1"),
        ({"lanes": [0, 1, 1, 2]}, ValueError, "lanes: got a lane twice"),
        ({"lanes": [0.0, 1.0, 2.0, 3.0]}, TypeError, "lanes: got float64"),
        ({"lanes": [0, 1]}, ValueError, "got shape"),
    ],
)
def test_a_bad_step_is_named_and_not_stored(make, arguments, error, message):
    replay, _, player = make("one-step transitions")
    player.steps(50)
    before = replay.sample(64, 1.0, 0)
    with pytest.raises(error, match=message):
        replay.add(**{"fields": wrong_step(), "state": None, "reset": np.zeros(4, bool), **arguments})
    after = replay.sample(64, 1.0, 0)
    np.testing.assert_array_equal(after.ids, before.ids)
    np.testing.assert_array_equal(after.fields["reward"], before.fields["reward"])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"td_error": [[np.nan, 1.0]]}, ValueError, "td_error: got nan"),
        ({"td_error": [[np.inf, 1.0]]}, ValueError, "td_error: got inf"),
        ({"td_error": [[np.nan, 1.0]], "valid": [[True, True]]}, ValueError, "td_error: got nan"),
        ({"td_error": [[1e308, 1e308]]}, ValueError, "priority: got"),
        ({"td_error": [1.0, 1.0]}, ValueError, r"td_error: got shape \(2,\), want \(1, 2\)"),
        ({"ids": [0, -1]}, IndexError, "ids: got -1"),
        ({"ids": [0, 10**12]}, IndexError, "ids: got 1000000000000"),
        ({"ids": [0, 49 * 4]}, IndexError, "ids: got 196"),  # its second step is yet to come
        ({"ids": [0.0, 1.0]}, TypeError, "ids: got float64"),
        ({"valid": [[True]]}, ValueError, "valid: got shape"),
    ],
)
def test_bad_priorities_are_named_and_change_nothing(make, arguments, error, message):
    replay, _, player = make((1000, 4, 0, 1, 1, 1), alpha=1.0)
    player.steps(50)
    with pytest.raises(error, match=message):
        replay.update_priorities(**{"ids": [1, 2], "td_error": [[1.0, 1.0]], **arguments})
    np.testing.assert_array_equal(draw_all(replay).weights, 1.0)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"capacity": 7}, ValueError, "capacity: got 7, want at least 8"),
        ({"capacity": 0}, ValueError, "capacity: got 0"),
        ({"num_lanes": 0}, ValueError, "num_lanes: got 0"),
        ({"burn_in": -1}, ValueError, "burn_in: got -1"),
        ({"sequence_length": 0}, ValueError, "sequence_length: got 0"),
        ({"sequence_length": 1.5}, ValueError, "sequence_length: got 1.5"),
        ({"period": 0}, ValueError, "period: got 0"),
        ({"alpha": 1.1}, ValueError, "alpha: got 1.1"),
        ({"eta": np.nan}, ValueError, "eta: got nan"),
        ({"epsilon": 0.0}, ValueError, "epsilon: got 0.0"),
        ({"fields": {"x": "float32"}}, TypeError, "field 'x': got 'float32', want"),
        ({"fields": {"x": ((2,), "O")}}, TypeError, "field 'x': got object"),
        ({"fields": {"x": ((-2,), "f4")}}, ValueError, "field 'x': got shape"),
        ({"state": [(5,)]}, ValueError, "state: got"),
    ],
)
def test_bad_settings_are_named(fields, settings, error, message):
    with pytest.raises(error, match=message):
        SequenceReplay(**{"capacity": 100, "num_lanes": 4, "fields": fields, **settings})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 0.5, 0), "batch_size: got 0"), ((4, 1.5, 0), "beta: got 1.5"), ((4, np.nan, 0), "beta")],
)
def test_bad_samples_are_named(make, arguments, message):
    replay, _, player = make("one-step transitions")
    player.steps(5)
    with pytest.raises(ValueError, match=message):
        replay.sample(*arguments)
