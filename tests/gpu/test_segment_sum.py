"""The CUDA segment sum against sums in float64."""

import ctypes

import numpy as np
import pytest

from tests.gpu.bf16 import bf16_bits, from_bf16_bits
from tests.gpu.devices import Emulated

SOURCES = ["segment_sum.cu"]
# [N, R, C]. Runs of 32 and of 32² positions are summed beforehand, 32 columns at a time.
SIZES = [(0, 3, 5), (1, 1, 1), (5, 9, 33), (31, 1, 31), (32, 1, 32), (130, 2, 3), (400, 40, 40), (2300, 3, 2)]


class SegmentSum(ctypes.Structure):
    """csrc/cuda/segment_sum.h"""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("N", "R", "C")),
        ("input", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("order", "begin", "out", "workspace")),
    )


def prepared(device, x, index, R, column=0, C=None):
    """Launcher, arguments, and the buffers that they point to."""
    N, stride = x.shape
    C = stride - column if C is None else C
    order = np.argsort(index, kind="stable")
    held = dict(input=x, order=order, begin=np.searchsorted(index[order], np.arange(R + 1)))
    buffers = {name: device.upload(array) for name, array in held.items()}
    buffers["out"] = device.empty((R, C), np.float32)
    buffers["workspace"] = device.workspace("pyagent_segment_sum_workspace_bytes", N, C)
    pointers = {name: buffer.pointer for name, buffer in buffers.items()}
    pointers["input"] += column * x.itemsize
    launcher = {np.float32: "pyagent_segment_sum_f32", np.uint16: "pyagent_segment_sum_bf16"}[x.dtype.type]
    return launcher, SegmentSum(N=N, R=R, C=C, stride=stride, **pointers), buffers


def summed(device, x, index, R, column=0, C=None):
    """Sums of columns `column` … `column + C − 1` of x, float32 or the bits of bfloat16, by segment."""
    launcher, arguments, buffers = prepared(device, x, index, R, column, C)
    device.call(launcher, arguments)
    return buffers["out"].download()


def expected_sums(x, index, R):
    out = np.zeros((R, x.shape[1]))
    kept = (index >= 0) & (index < R)
    np.add.at(out, index[kept], x[kept].astype(np.float64))
    return out


def random_index(N, R, random):
    """Most positions in one segment, which then has whole runs inside; of 2300, from 1024 to 2047."""
    return np.where(random.random(N) < 0.9, R // 2, random.integers(0, R, N))


def assert_close(out, x, index, R):
    """float32 sums may be off by a few roundings of what was added."""
    error = np.abs(out - expected_sums(x, index, R))
    assert (error <= 1e-6 * expected_sums(np.abs(x), index, R)).all()


@pytest.mark.parametrize("size", SIZES)
def test_float32(device, size):
    N, R, C = size
    random = np.random.default_rng(0)
    x, index = random.normal(size=(N, C)).astype(np.float32), random_index(N, R, random)
    assert_close(summed(device, x, index, R), x, index, R)


@pytest.mark.parametrize("size", SIZES)
def test_bfloat16_is_summed_in_float32(device, size):
    N, R, C = size
    random = np.random.default_rng(1)
    bits, index = bf16_bits(random.normal(size=(N, C))), random_index(N, R, random)
    assert_close(summed(device, bits, index, R), from_bf16_bits(bits), index, R)


def test_every_position_is_added_once(device):
    """Whole numbers add without rounding."""
    random = np.random.default_rng(2)
    x, index = random.integers(-9, 9, (2300, 2)).astype(np.float32), random_index(2300, 3, random)
    assert (index < 1).sum() < 1024
    assert (index < 2).sum() >= 2048
    assert np.array_equal(summed(device, x, index, 3), expected_sums(x, index, 3))


def test_some_of_the_columns(device):
    random = np.random.default_rng(3)
    x, index = random.integers(-9, 9, (100, 50)).astype(np.float32), random_index(100, 7, random)
    assert np.array_equal(summed(device, x, index, 7, 11, 35), expected_sums(x[:, 11:46], index, 7))


@pytest.mark.parametrize("outside", [-5, 7, 2**40])
def test_positions_outside_of_all_segments_are_left_out(device, outside):
    random = np.random.default_rng(4)
    x, index = random.integers(-9, 9, (400, 5)).astype(np.float32), random_index(400, 7, random)
    index[random.random(400) < 0.4] = outside
    assert np.array_equal(summed(device, x, index, 7), expected_sums(x, index, 7))


def test_nan_stays_in_its_segment(device):
    x, index = np.ones((200, 3), np.float32), np.arange(200) // 100
    x[150, 1] = np.nan
    out = summed(device, x, index, 3)
    assert np.isnan(out[1, 1])
    assert np.isnan(out).sum() == 1


@pytest.mark.rung(2)
def test_the_schedule_does_not_change_a_bit():
    random = np.random.default_rng(5)
    x, index = random.normal(size=(2300, 2)).astype(np.float32), random_index(2300, 3, random)
    runs = [summed(Emulated(SOURCES, seed=seed), x, index, 3) for seed in range(4)]
    assert all(np.array_equal(run, runs[0]) for run in runs)
