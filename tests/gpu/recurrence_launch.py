"""Random cases of the recurrence, and its CUDA launchers called from numpy."""

import ctypes
import re

import numpy as np
import pytest

from tests.gpu.bf16 import bf16_bits, from_bf16_bits
from tests.gpu.recurrence_reference import CELLS, GATES, backward, forward

LAUNCHERS = ["recurrence_forward.cu", "recurrence_backward.cu"]
TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}
RESIDENT, CLUSTER, STREAMED = 1, 2, 3
DOES_NOT_FIT = "cudaErrorInvalidConfiguration|cudaError 9$"  # as a GPU, and as the emulation calls it
LEAST = -1  # stands for the least shared memory that a plan can do with

INTEGER, POINTER = ctypes.c_int64, ctypes.c_void_p


def fields(type_, names):
    return [(name, type_) for name in names.split()]


class Recurrence(ctypes.Structure):
    """csrc/cuda/recurrence.h, as are the two below."""

    _fields_ = (
        *fields(INTEGER, "cell bfloat16 T B H"),
        *fields(POINTER, "weight_hh h_0 c_0 reset lengths out_of_range workspace"),
        *fields(INTEGER, "variant units lanes multiprocessors shared_bytes"),
    )


class Forward(Recurrence):
    _fields_ = (
        ("rows", POINTER),
        ("num_rows", INTEGER),
        *fields(POINTER, "row_index bias_hn output h_n c_n gates cells"),
    )


class Backward(Recurrence):
    _fields_ = fields(POINTER, "output gates cells grad_output grad_h_n grad_c_n grad_gates grad_h_0 grad_c_0")


class Case:
    """Arguments of one call, some of them absent, and what it should give. `dtype` is what the kernels compute with;
    the numbers are exact in it."""

    OPTIONAL = frozenset(
        ["row_index", "bias_hn", "h_0", "c_0", "reset", "lengths", "grad_output", "grad_h_n", "grad_c_n"]
    )

    def __init__(self, cell, dtype, T, B, H, given=OPTIONAL, seed=0):
        self.cell, self.dtype, self.T, self.B, self.H = cell, dtype, T, B, H
        self.random = random = np.random.default_rng(seed)
        G, R = GATES[cell], 7
        self.rows = self.normal(R, G * H) if "row_index" in given else self.normal(T, B, G * H)
        self.row_index = random.integers(0, R, (T, B)) if "row_index" in given else None
        self.weight_hh = self.normal(G * H, H) / np.float32(2 ** np.ceil(np.log2(H + 1) / 2))
        self.reset = random.random((T, B)) < 0.2 if "reset" in given else None
        self.lengths = random.integers(0, T + 1, B) if "lengths" in given else None
        self.bias_hn = self.normal(H) if "bias_hn" in given and cell == "gru" else None
        self.grad_output = self.normal(T, B, H) if "grad_output" in given else None
        for name in ("h_0", "grad_h_n"):
            setattr(self, name, self.normal(B, H) if name in given else None)
        for name in ("c_0", "grad_c_n"):
            setattr(self, name, self.normal(B, H) if name in given and cell == "lstm" else None)

    def normal(self, *shape):
        x = self.random.normal(size=shape).astype(np.float32)
        return from_bf16_bits(bf16_bits(x)) if self.dtype == "bfloat16" else x

    def expected(self, output):
        """What both passes should write, in float64, with NaN where an index or a length is out of range. `output` is
        what the forward pass wrote: where rounding changed the sign of a relu, its gradient is that of the other side.
        """
        T, B, H = self.T, self.B, self.H

        def wide(x, *shape):
            return np.zeros(shape) if x is None else x.astype(np.float64)

        x = wide(self.rows)
        if self.row_index is not None:
            bad = (self.row_index < 0) | (self.row_index >= len(x))
            x = np.where(bad[..., None], np.nan, x[np.where(bad, 0, self.row_index)])
        lengths = np.full(B, T) if self.lengths is None else self.lengths
        poison = np.where((lengths < 0) | (lengths > T), np.nan, 0.0)[:, None]
        lengths = np.where((lengths < 0) | (lengths > T), T, lengths)
        reset = np.zeros((T, B), bool) if self.reset is None else self.reset
        weight_hh = wide(self.weight_hh)
        states = wide(self.h_0, B, H), wide(self.c_0, B, H)
        saved = forward(self.cell, x + poison, weight_hh, wide(self.bias_hn, H), *states, reset, lengths)
        saved["h_n"], saved["c_n"] = saved["h_n"] + poison, saved["c_n"] + poison
        taken = saved | (dict(output=output) if self.cell == "relu" else {})
        given = wide(self.grad_output, T, B, H), wide(self.grad_h_n, B, H), wide(self.grad_c_n, B, H)
        grads = backward(self.cell, taken, weight_hh, reset, lengths, *(grad + poison for grad in given))
        grads = {name: grad + poison for name, grad in grads.items()}
        names = ["output", "h_n"]
        names += ["gates"] if self.cell in ("gru", "lstm") else []
        names += ["c_n", "cells"] if self.cell == "lstm" else []
        names_of_grads = ["grad_gates", "grad_h_0", *(["grad_c_0"] if self.cell == "lstm" else [])]
        return {name: saved[name] for name in names} | {name: grads[name] for name in names_of_grads}


def as_type(x, dtype):
    """uint16 stands for the bits of bfloat16."""
    return bf16_bits(x) if dtype is np.uint16 else x.astype(dtype)


def prepared(device, case, keep=True, initial=True, **plan):
    """Of the forward and of the backward pass: launcher, arguments, and the buffers that they read and that they write.
    Without `keep`, the forward pass alone and nothing for the backward pass; without `initial`, no gradients of the
    initial state. `plan` are the fields of Recurrence from `variant` on."""
    T, B, H = case.T, case.B, case.H
    real = np.float32 if case.dtype == "float32" else np.uint16
    bfloat16 = int(case.dtype == "bfloat16")
    gated, lstm = case.cell in ("gru", "lstm"), case.cell == "lstm"
    cell = CELLS.index(case.cell)

    def upload(**dtypes):
        given = {name: dtype for name, dtype in dtypes.items() if getattr(case, name) is not None}
        arrays = {name: as_type(getattr(case, name), dtype) for name, dtype in given.items()}
        return {name: device.upload(array) for name, array in arrays.items()}

    def empty(dtype, wanted=True, **shapes):
        return {name: device.empty(shape, dtype) for name, shape in shapes.items()} if wanted else {}

    def call(launcher, type_, held, written):
        pointers = {name: buffer.pointer for name, buffer in (held | written).items()}
        return launcher, type_(cell=cell, bfloat16=bfloat16, T=T, B=B, H=H, **plan, **pointers), held, written

    held = upload(weight_hh=real, h_0=real, c_0=np.float32, reset=np.uint8, lengths=np.int64)
    held["out_of_range"] = device.zeros(1, np.int32)
    held["workspace"] = device.workspace("pyagent_recurrence_workspace_bytes", cell, bfloat16, B, H)
    rows = upload(rows=real, row_index=np.int64, bias_hn=real)
    states = empty(real, output=(T, B, H), h_n=(B, H)) | empty(np.float32, lstm, c_n=(B, H))
    saved = empty(real, gated and keep, gates=(T, B, 4 * H)) | empty(np.float32, lstm and keep, cells=(T, B, H))
    forward_call = call("pyagent_recurrence_forward", Forward, held | rows, states | saved)
    forward_call[1].num_rows = len(case.rows)
    if not keep:
        return [forward_call]
    held = held | saved | dict(output=states["output"])
    held |= upload(grad_output=real, grad_h_n=real, grad_c_n=np.float32)
    grads = empty(real, grad_gates=(T, B, 4 * H if gated else H)) | empty(real, initial, grad_h_0=(B, H))
    grads |= empty(np.float32, lstm and initial, grad_c_0=(B, H))
    return [forward_call, call("pyagent_recurrence_backward", Backward, held, grads)]


def run(device, case, **options):
    """Both passes on the device, with the options of `prepared`: a dict of every array that they write, and
    `out_of_range`."""
    calls = prepared(device, case, **options)
    got = {}
    for launcher, arguments, held, written in calls:
        device.call(launcher, arguments)
        got |= {name: buffer.download() for name, buffer in written.items()}
        got["out_of_range"] = int(held["out_of_range"].download()[0])
    return {name: from_bf16_bits(x) if getattr(x, "dtype", None) == np.uint16 else x for name, x in got.items()}


def tiles(H, count):
    """The multiple of 8 units that makes at most `count` tiles of H."""
    return -(-H // (8 * count)) * 8


def plans(B=1, H=1):
    """Ways to lay out a pass: of every variant, with one and with several tiles of units and of lanes a block, and with
    as little shared memory as does."""
    lanes = 16 if B > 8 else 8
    return {
        "one block": dict(variant=RESIDENT, units=tiles(H, 1), multiprocessors=1),
        "grid": dict(variant=RESIDENT, units=tiles(H, 3), lanes=8, multiprocessors=12),
        "grid of one column": dict(variant=RESIDENT, units=tiles(H, 3), lanes=lanes, multiprocessors=3),
        "grid in chunks": dict(variant=RESIDENT, units=tiles(H, 4), multiprocessors=4, shared_bytes=LEAST),
        "cluster": dict(variant=CLUSTER, units=tiles(H, 4), lanes=8, multiprocessors=8),
        "streamed": dict(variant=STREAMED, units=8, lanes=lanes, multiprocessors=4),
        "streamed in chunks": dict(variant=STREAMED, units=tiles(H, 8), multiprocessors=2, shared_bytes=LEAST),
    }


def run_plan(device, case, name, **options):
    plan = plans(case.B, case.H)[name]
    if plan["variant"] == CLUSTER and not device.has_clusters:
        pytest.skip("no clusters before Hopper")
    if plan.get("shared_bytes") != LEAST:
        return run(device, case, **options, **plan)
    for kibibytes in range(8, 228, 8):
        try:
            return run(device, case, **options, **(plan | dict(shared_bytes=1024 * kibibytes)))
        except RuntimeError as error:
            if not re.search(DOES_NOT_FIT, str(error)):
                raise
    raise AssertionError("fits in no shared memory")


def check(case, got, but=()):
    """Each array within the tolerance of its largest element, NaN in the same places. `but`: arrays left out."""
    for name, x in case.expected(got["output"]).items():
        if name in but:
            continue
        assert np.array_equal(np.isnan(got[name]), np.isnan(x)), f"{name}: NaN elsewhere"
        scale = np.nanmax(np.abs(x), initial=0)
        error = np.nanmax(np.abs(got[name] - x), initial=0)
        assert error <= TOLERANCE[case.dtype] * scale, f"{name}: off by {error}, of {scale}"
