"""FLOPs, bytes and memory against independent counts, and the facts of the machine."""

from __future__ import annotations

import importlib
import json
import mmap
import shutil

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pyagent.benchmarks import memory
from pyagent.benchmarks.machine import Machine, fma_peak
from pyagent.benchmarks.problem import VOCABULARY, Problem
from pyagent.benchmarks.recurrent import Data, TorchRecurrent

SHAPES = [(1, 1, 3), (3, 5, 7), (8, 40, 16)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tokens", [True, False])
@pytest.mark.parametrize("cell", ["RNN", "GRU"])  # the LSTM is one operation to the counter
def test_flops_are_those_torch_counts(cell, tokens, shape):
    problem = Problem(cell, *shape, tokens)
    data = Data(problem)
    input = data.inputs[0] if tokens else data.inputs[0].requires_grad_()
    h_0 = torch.zeros(1, problem.B, problem.H, requires_grad=True)  # so that the first step's product counts too
    with FlopCounterMode(display=False) as forward:
        x = data.reference.embedding(input) if tokens else input
        output, _ = data.reference.rnn(x, h_0)
    with FlopCounterMode(display=False) as backward:
        output.sum().backward()
    assert problem.flops(training=False, distinct=False) == forward.get_total_flops()
    assert problem.flops(training=True, distinct=False) == forward.get_total_flops() + backward.get_total_flops()


def test_distinct_tokens_bound_the_input_product():
    problem = Problem("LSTM", 64, 32, 16)
    saved = problem.flops(training=False, distinct=False) - problem.flops(training=False)
    assert saved == 2 * 4 * 16 * 16 * (64 * 32 - VOCABULARY)
    few = Problem("LSTM", 2, 3, 16)
    assert few.flops(training=True) == few.flops(training=True, distinct=False)


@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("tokens", [True, False])
def test_bytes_are_those_of_the_tensors(cell, tokens):
    problem = Problem(cell, 3, 5, 7, tokens)
    data = Data(problem)
    weights = sum(weight.nbytes for weight in TorchRecurrent(problem).parameters())
    assert problem.bytes(training=False) == weights + data.inputs[0].nbytes + data.weigh.nbytes
    with_gradients = weights + data.weigh.nbytes + (0 if tokens else data.inputs[0].nbytes)
    assert problem.bytes(training=True) == problem.bytes(training=False) + with_gradients


@pytest.mark.skipif(not memory.available, reason="peak memory is Linux's to tell")
def test_peak_memory_holds_what_a_call_must_hold():
    shapes = ((16, 32, 64), (32, 64, 128))
    found = memory.peaks("LSTM", shapes, True, 0.0)
    assert found.keys() == set(shapes)
    for shape, peaks in found.items():
        problem = Problem("LSTM", *shape)
        positions = problem.B * problem.T * problem.H * 4
        # output, cell states, and four gates: saved for the backward pass; gradients of the weights
        least = 6 * positions + 4 * problem.weights
        for name in ("ours", "peer"):
            assert least <= peaks[name] <= 4 * least, (shape, name)


KNOWN = """
import ctypes
import torch
from pyagent.benchmarks.memory import peak_of

def tensor(size):
    return peak_of(lambda: torch.ones(size // 4))

def freed_before_the_next(size):
    return peak_of(lambda: [torch.ones(size // 4).sum() for _ in range(3)])

def scratch(size):
    libc, block = ctypes.CDLL(None), ctypes.c_void_p()

    def call():
        libc.posix_memalign(ctypes.byref(block), 64, ctypes.c_size_t(size))
        ctypes.memset(block, 1, size)
        libc.free(block)

    return peak_of(call)
"""


@pytest.mark.skipif(not memory.available, reason="peak memory is Linux's to tell")
@pytest.mark.parametrize("kind", ["tensor", "freed_before_the_next", "scratch"])
@pytest.mark.parametrize("size", [2**20, 50 * 2**20])
def test_peak_memory_is_what_is_held_at_once(tmp_path, monkeypatch, kind, size):
    (tmp_path / "known.py").write_text(KNOWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = memory.measured(getattr(importlib.import_module("known"), kind), size)
    # Linux adds up pages 32 at a time, and the peak is the difference of two such counts.
    assert abs(found - size) <= 2 * 32 * mmap.PAGESIZE


def test_facts_can_be_saved():
    facts = json.loads(json.dumps(Machine(1).facts()))
    assert facts["threads"] == 1
    assert all(peak is None or peak > 0 for peak in facts["gflops"].values())


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_fma_peak_is_measured_where_there_is_a_compiler():
    assert fma_peak() > 0
