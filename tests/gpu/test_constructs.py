"""The constructs of CUDA that the emulation has, beside numpy; on a GPU too, so that both mean the same."""

from pathlib import Path

import numpy as np
import pytest

from tests.gpu.bf16 import bf16_bits, from_bf16_bits
from tests.gpu.devices import Emulated

SOURCES = [Path(__file__).with_name("constructs.cu")]


def floats(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_lanes_of_a_warp_exchange(device):
    x = np.random.default_rng(0).integers(-99, 99, 96).astype(np.int32)
    out, odd = device.empty(96, np.int32), device.empty(96, np.uint32)
    device.call("pyagent_warp", device.upload(x), out, odd, 96)
    warps = x.reshape(3, 32)
    assert np.array_equal(out.download().reshape(3, 32), np.repeat(warps.sum(1, keepdims=True), 32, 1))
    bits = ((warps % 2).astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum(1)
    assert np.array_equal(odd.download().reshape(3, 32), np.repeat(bits[:, None], 32, 1))


def test_a_block_exchanges_through_shared_memory(device):
    x, out = floats(5, 64), device.empty((5, 64), np.float32)
    device.call("pyagent_reverse", device.upload(x), out, 5)
    assert np.array_equal(out.download(), x[:, ::-1])


def test_blocks_add_to_one_place(device):
    x, total = np.arange(1000, dtype=np.int32), device.zeros(1, np.int32)
    device.call("pyagent_count", device.upload(x), total, 1000)
    assert total.download()[0] == x.sum()


@pytest.mark.parametrize("groups", [False, True])
def test_blocks_wait_for_each_other(device, groups):
    T, N = 6, 15
    x = np.full((T + 1, N), np.nan, np.float32)
    x[0] = np.arange(N)
    held = device.upload(x)
    device.call("pyagent_neighbours", held, device.zeros(1, np.uint32), T, 5, groups)
    for t in range(T):
        x[t + 1] = x[t] + np.roll(x[t], -2)
    assert np.array_equal(held.download(), x)


def test_asynchronous_copies(device):
    x, out = floats(5, 256), device.empty((5, 256), np.float32)
    device.call("pyagent_staged", device.upload(x), out, 5)
    assert np.array_equal(out.download(), x + 1)


def test_a_cluster_shares_memory(device):
    if not device.has_clusters:
        pytest.skip("clusters came with compute capability 9.0")
    x, out = floats(2, 4, 64), device.empty((2, 4, 64), np.float32)
    device.call("pyagent_cluster", device.upload(x), out, 8, 4)
    assert np.array_equal(out.download(), np.roll(x, 1, axis=1))


def test_tensor_cores_by_instruction(device):
    a, b, c = bf16_bits(floats(16, 16)), bf16_bits(floats(8, 16)), device.empty((16, 8), np.float32)
    device.call("pyagent_mma", device.upload(a), device.upload(b), c)
    assert np.allclose(c.download(), from_bf16_bits(a) @ from_bf16_bits(b).T, rtol=0, atol=1e-5)


def test_tensor_cores_by_fragment(device):
    a, b, c = bf16_bits(floats(16, 48)), bf16_bits(floats(48, 16)), device.empty((16, 16), np.float32)
    device.call("pyagent_wmma", device.upload(a), device.upload(b), c, 48)
    assert np.allclose(c.download(), from_bf16_bits(a) @ from_bf16_bits(b), rtol=0, atol=2e-5)


# What follows is about the emulation alone: a GPU hangs or says nothing.
@pytest.fixture(params=[0, 1, 2])
def emulated(request):
    return Emulated(SOURCES, seed=request.param)


@pytest.mark.rung(2)
def test_a_divergent_barrier_is_an_error(emulated):
    with pytest.raises(RuntimeError, match="divergent collective"):
        emulated.call("pyagent_divergent_barrier")


@pytest.mark.rung(2)
def test_a_divergent_shuffle_is_an_error(emulated):
    with pytest.raises(RuntimeError, match="deadlock"):
        emulated.call("pyagent_divergent_shuffle", emulated.empty(32, np.int32))


@pytest.mark.rung(2)
def test_shared_memory_begins_as_nan(emulated):
    out = emulated.zeros(64, np.float32)
    emulated.call("pyagent_uninitialised", out)
    assert np.isnan(out.download()).all()


@pytest.mark.rung(2)
def test_an_impossible_launch_is_an_error(emulated):
    with pytest.raises(RuntimeError, match="a grid or block that no device takes"):
        emulated.call("pyagent_warp", *[emulated.zeros(2000, np.int32)] * 3, 2000)
