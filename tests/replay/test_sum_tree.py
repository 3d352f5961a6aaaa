import pickle
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyagent.replay import SumTree

# One node of 16, its border, two and three levels, and a tree whose last nodes are mostly empty.
CAPACITIES = [1, 2, 15, 16, 17, 33, 256, 257, 1000, 4097]


class Reference:
    """Priorities in an array; whole numbers, so that every sum is exact."""

    def __init__(self, capacity):
        self.priority = np.zeros(capacity)

    def update(self, index, priority):
        for i, p in zip(index, priority, strict=True):
            self.priority[i] = p

    def find(self, prefix):
        found = [np.flatnonzero(np.cumsum(self.priority) > s) for s in prefix]
        return np.array([i[0] if len(i) else np.flatnonzero(self.priority)[-1] for i in found])

    def sample(self, uniforms, stratified):
        n, total = len(uniforms), self.priority.sum()
        return self.find([((i + u) / n if stratified else u) * total for i, u in enumerate(uniforms)])


def filled(capacity, seed=0, share_of_zeros=0.3):
    random = np.random.default_rng(seed)
    priority = random.integers(1, 100, capacity) * (random.random(capacity) >= share_of_zeros)
    priority[random.integers(capacity)] = 7.0
    tree, reference = SumTree(capacity), Reference(capacity)
    for each in (tree, reference):
        each.update(np.arange(capacity), priority)
    return tree, reference


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_equals_the_reference(capacity):
    tree, reference = filled(capacity)
    random = np.random.default_rng(1)
    for n in (0, 1, 17, 33, 500):
        index, priority = random.integers(0, capacity, n), random.integers(0, 50, n)
        for each in (tree, reference):
            each.update(index, priority)
        assert tree.total == reference.priority.sum()
        np.testing.assert_array_equal(tree.get(np.arange(capacity)), reference.priority)
        if tree.total == 0.0:
            continue
        prefix = np.append(random.random(n) * tree.total, [0.0, tree.total])
        np.testing.assert_array_equal(tree.find(prefix), reference.find(prefix))
        uniforms = random.random(n)
        for stratified in (True, False):
            found, p = tree.sample(uniforms, stratified=stratified)
            np.testing.assert_array_equal(found, reference.sample(uniforms, stratified))
            np.testing.assert_array_equal(p, reference.priority[found])


@given(
    capacity=st.integers(1, 600),
    updates=st.lists(
        st.lists(st.tuples(st.integers(0, 599), st.integers(0, 1000)), max_size=40), min_size=1, max_size=5
    ),
)
def test_any_updates_equal_the_reference(capacity, updates):
    tree, reference = SumTree(capacity), Reference(capacity)
    for pairs in updates:
        index = np.array([i % capacity for i, _ in pairs], dtype=np.int64)
        priority = np.array([p for _, p in pairs], dtype=np.float64)
        tree.update(index, priority)
        reference.update(index, priority)
        assert tree.total == reference.priority.sum()
    if tree.total > 0.0:
        prefix = np.arange(tree.total)
        np.testing.assert_array_equal(tree.find(prefix), np.repeat(np.arange(capacity), reference.priority.astype(int)))


@given(
    priority=st.lists(
        st.one_of(st.just(0.0), st.floats(1e-300, 3e38), st.floats(0.9, 1.1), st.just(5e-324)),
        min_size=1,
        max_size=300,
    ).filter(any),
    uniforms=st.lists(st.one_of(st.floats(0.0, 1.0), st.just(1.0 - 2.0**-53)), min_size=1, max_size=50),
)
def test_nothing_of_priority_0_is_drawn_whatever_rounding_does(priority, uniforms):
    tree = SumTree(len(priority) + 9)
    tree.update(np.arange(len(priority)), priority)
    for stratified in (True, False):
        index, drawn = tree.sample(uniforms, stratified=stratified)
        assert (index >= 0).all()
        assert (index < len(priority)).all()
        assert (drawn > 0.0).all()
        kept = np.float32(np.array(priority)[index])
        np.testing.assert_array_equal(drawn, np.maximum(kept, np.finfo(np.float32).smallest_subnormal))


def test_a_tree_is_a_function_of_its_priorities():
    """No drift: after many updates it draws what a new tree of the same priorities draws."""
    random = np.random.default_rng(0)
    tree = SumTree(3000)
    for _ in range(300):
        tree.update(random.integers(0, 3000, 100), 10.0 ** random.uniform(-9, 9, 100))
    fresh = SumTree(3000)
    order = random.permutation(3000)
    fresh.update(order, tree.get(order))
    assert fresh.total == tree.total
    for other in (fresh, pickle.loads(pickle.dumps(tree))):
        np.testing.assert_array_equal(other.sample(999, 5)[0], tree.sample(999, 5)[0])


def test_frequencies_follow_the_priorities():
    priority = np.array([1.0, 0.0, 2.0, 4.0, 0.5, 0.5] * 20)
    tree = SumTree(len(priority))
    tree.update(np.arange(len(priority)), priority)
    n, expected = 160_000, priority / priority.sum()
    counts = np.bincount(tree.sample(n, 0, stratified=False)[0], minlength=len(priority))
    np.testing.assert_allclose(counts / n, expected, atol=5 * np.sqrt(expected.max() / n))
    counts = np.bincount(tree.sample(n, 0)[0], minlength=len(priority))
    np.testing.assert_allclose(counts, n * expected, atol=2)  # a stratum may lie across either border


def test_the_generator_decides():
    tree, _ = filled(500)
    np.testing.assert_array_equal(tree.sample(64, 3)[0], tree.sample(64, np.random.default_rng(3))[0])
    generator = np.random.default_rng(3)
    assert not np.array_equal(tree.sample(64, generator)[0], tree.sample(64, generator)[0])
    np.testing.assert_array_equal(tree.sample(64, 3)[0], tree.sample(np.random.default_rng(3).random(64))[0])


def test_takes_any_integer_and_float_dtype_and_layout():
    tree = SumTree(40)
    tree.update(np.arange(40, dtype=np.uint8)[::-2], np.arange(20, dtype=np.float32)[::-1])
    tree.update([0, 2], 3)
    tree.update([], [])
    expected = np.zeros(40)
    expected[39::-2] = np.arange(20)[::-1]
    expected[[0, 2]] = 3
    np.testing.assert_array_equal(tree.get(range(40)), expected)
    assert len(tree) == tree.capacity == 40


def test_state_dict_restores():
    tree, _ = filled(77)
    other = SumTree(77)
    other.update([3], [1e9])
    other.load_state_dict(tree.state_dict())
    np.testing.assert_array_equal(other.sample(100, 0)[0], tree.sample(100, 0)[0])
    with pytest.raises(ValueError, match=r"priority: got shape \(77,\), want \[78\]"):
        SumTree(78).load_state_dict(tree.state_dict())


BIG = 6.8e38  # twice what float32 holds


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda tree: tree.update([0, 10], [1.0, 1.0]), IndexError, "index: got 10, want 0 to 9"),
        (lambda tree: tree.update([0, -1], [1.0, 1.0]), IndexError, "index: got -1"),
        (lambda tree: tree.update(np.array([2**63], np.uint64), [1.0]), IndexError, "index: got -"),
        (lambda tree: tree.update([0, 1], [1.0, np.nan]), ValueError, "priority: got nan"),
        (lambda tree: tree.update([0, 1], [1.0, -1.0]), ValueError, "priority: got -1, want 0 to"),
        (lambda tree: tree.update([0, 1], [1.0, np.inf]), ValueError, "priority: got inf"),
        (lambda tree: tree.update([0, 1], [1.0, BIG]), ValueError, "priority: got 6.8"),
        (lambda tree: tree.update([0, 1], [1.0]), ValueError, "priority: got 1, want 2"),
        (lambda tree: tree.update([[0, 1]], [1.0, 1.0]), ValueError, "index: got 2 dimensions"),
        (lambda tree: tree.update([0, 1], [[1.0, 1.0]]), ValueError, "priority: got 2 dimensions"),
        (lambda tree: tree.update([0.0], [1.0]), TypeError, "index: got float64, want integers"),
        (lambda tree: tree.update([True], [1.0]), TypeError, "index: got bool"),
        (lambda tree: tree.update([0], ["1"]), TypeError, "priority: got <U1"),
        (lambda tree: tree.update([0], [1j]), TypeError, "priority: got complex128"),
        (lambda tree: tree.get([10]), IndexError, "index: got 10"),
        (lambda tree: tree.get(3), ValueError, "index: got 0 dimensions"),
        (lambda tree: tree.find([-1e-300]), ValueError, "prefix_sums: got -1e-300"),
        (lambda tree: tree.find([55.1]), ValueError, "prefix_sums: got 55.1"),
        (lambda tree: tree.find([np.nan]), ValueError, "prefix_sums: got nan"),
        (lambda tree: tree.sample([0.5, np.nan]), ValueError, "uniforms: got nan"),
        (lambda tree: tree.sample([1.5]), ValueError, "uniforms: got 1.5"),
        (lambda tree: tree.sample([-0.5]), ValueError, "uniforms: got -0.5"),
        (lambda tree: tree.sample(3), TypeError, "generator: got None"),
        (lambda tree: tree.sample(-3, 0), ValueError, "draws: got -3"),
        (lambda tree: SumTree(10).sample(1, 0), ValueError, "no priority is above 0"),
        (lambda tree: SumTree(0), ValueError, "capacity: got 0"),
        (lambda tree: SumTree(-5), ValueError, "capacity: got -5"),
        (lambda tree: SumTree(2.0), TypeError, "capacity: got float"),
        (lambda tree: SumTree(2**62), ValueError, "capacity: got 4611686018427387904, want 1 to"),
    ],
)
def test_bad_input_names_the_argument_and_changes_nothing(call, error, message):
    tree = SumTree(10)
    tree.update(np.arange(10), np.arange(1.0, 11.0))
    with pytest.raises(error, match=message):
        call(tree)
    np.testing.assert_array_equal(tree.get(np.arange(10)), np.arange(1.0, 11.0))
    assert tree.total == 55.0


def test_threads_take_turns():
    tree = SumTree(5000)
    tree.update(np.arange(5000), 1.0)
    errors = []

    def work(seed):
        random = np.random.default_rng(seed)
        for _ in range(200):
            index, priority = tree.sample(64, random)
            if (priority <= 0.0).any():
                errors.append(index)
            tree.update(index, random.integers(1, 5, 64))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert tree.total == tree.get(np.arange(5000)).sum()
