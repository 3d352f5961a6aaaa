"""The CUDA Q-update against the loop over the batch in numpy, bit for bit."""

import ctypes

import numpy as np
import pytest

SOURCES = ["q_update.cu"]
POINTER = ctypes.c_void_p
# [N, S, A]. A block takes 1024 updates at a time; a single state makes every update wait for the one before it.
SIZES = [(0, 3, 2), (1, 1, 1), (37, 1, 3), (100, 5, 4), (257, 1000, 7), (1030, 400, 2)]


class QUpdate(ctypes.Structure):
    """csrc/cuda/q_update.h"""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("N", "S", "A")),
        *((name, POINTER) for name in ("q_table", "state", "action", "next_state", "reward", "discount", "alpha")),
        *((name, ctypes.c_int64) for name in ("discount_stride", "alpha_stride")),
        *((name, POINTER) for name in ("workspace", "bad_index")),
    )


def loop(q, state, action, reward, next_state, discount, alpha):
    """The contract, in the table's dtype; a discount or alpha of one entry is for all."""
    q = q.copy()
    for i in range(len(state)):
        target = reward[i] + discount[i % len(discount)] * q[next_state[i]].max()
        cell = q[state[i], action[i]]
        q[state[i], action[i]] = cell + alpha[i % len(alpha)] * (target - cell)
    return q


def prepared(device, q, state, action, reward, next_state, discount, alpha):
    """Launcher, arguments, and the buffers that they point to."""
    held = dict(q_table=q, state=state, action=action, next_state=next_state, reward=reward, discount=discount)
    held |= dict(alpha=alpha, bad_index=np.zeros(1, np.int32))
    buffers = {name: device.upload(array) for name, array in held.items()}
    buffers["workspace"] = device.workspace("pyagent_q_update_workspace_bytes", len(q))
    sizes = dict(N=len(state), S=q.shape[0], A=q.shape[1])
    sizes |= dict(discount_stride=int(len(discount) > 1), alpha_stride=int(len(alpha) > 1))
    arguments = QUpdate(**sizes, **{name: buffer.pointer for name, buffer in buffers.items()})
    return f"pyagent_q_update_f{8 * q.itemsize}", arguments, buffers


def updated(device, **batch):
    """The table afterwards and the flag of a bad index."""
    launcher, arguments, buffers = prepared(device, **batch)
    device.call(launcher, arguments)
    return buffers["q_table"].download(), int(buffers["bad_index"].download()[0])


def random_batch(N, S, A, dtype, one_for_all=False, seed=0):
    random = np.random.default_rng(seed)
    each = 1 if one_for_all else N
    return dict(
        q=random.normal(size=(S, A)).astype(dtype),
        state=random.integers(0, S, N),
        action=random.integers(0, A, N),
        reward=random.normal(size=N).astype(dtype),
        next_state=random.integers(0, S, N),
        discount=random.choice([0, 0.9, 0.99], each).astype(dtype),
        alpha=random.uniform(0, 1, each).astype(dtype),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES)
def test_is_the_loop(device, size, dtype):
    batch = random_batch(*size, dtype)
    table, bad_index = updated(device, **batch)
    assert bad_index == 0
    assert np.array_equal(table.view(np.uint8), loop(**batch).view(np.uint8))


def test_one_discount_and_alpha_for_all(device):
    batch = random_batch(60, 8, 3, np.float32, one_for_all=True)
    assert np.array_equal(updated(device, **batch)[0], loop(**batch))


def test_nan_and_infinities_go_where_the_loop_takes_them(device):
    batch = random_batch(200, 30, 3, np.float32)
    batch["q"][3, 1], batch["q"][7, 0], batch["q"][8, 2] = np.nan, np.inf, -np.inf
    batch["reward"][:3] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        expected = loop(**batch)
    assert np.isnan(expected).sum() > 3
    assert np.array_equal(updated(device, **batch)[0], expected, equal_nan=True)


@pytest.mark.parametrize("name", ["state", "action", "next_state"])
@pytest.mark.parametrize("index", [-1, "size", 2**40])
def test_a_bad_index_changes_nothing(device, name, index):
    S, A = 6, 3
    batch = random_batch(50, S, A, np.float32)
    batch[name][-1] = {"size": A if name == "action" else S}.get(index, index)
    table, bad_index = updated(device, **batch)
    assert bad_index == 1
    assert np.array_equal(table, batch["q"])


@pytest.mark.parametrize("shape", [(0, 2), (2, 0)])
def test_an_empty_table_has_no_good_index(device, shape):
    batch = random_batch(3, 1, 1, np.float32) | dict(q=np.zeros(shape, np.float32))
    assert updated(device, **batch)[1] == 1
