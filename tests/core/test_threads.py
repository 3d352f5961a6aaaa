"""Threads: torch's inside an op, and Python's around it."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import pyagent.nn
from pyagent.ops import linear_cross_entropy

# Sizes whose every product is worth several threads (parallel.h), and none of which splits evenly.
T, B, H, V = 37, 21, 65, 50


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def build(name, **settings):
    torch.manual_seed(0)
    if name.startswith("Embedding"):
        return getattr(pyagent.nn, name)(V, H, H, **settings)
    return getattr(pyagent.nn, name)(H, H, **settings)


def sample_input(name, seed=0):
    random = torch.Generator().manual_seed(seed)
    if name.startswith("Embedding"):
        return torch.randint(0, V, (T, B), generator=random)
    return torch.randn(T, B, H, generator=random)


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def train(model, x):
    """Every result and gradient of one pass; nothing is left on the module, so threads may share it."""
    random = torch.Generator().manual_seed(1)
    reset, lengths = torch.rand(T, B, generator=random) < 0.1, torch.randint(0, T + 1, (B,), generator=random)
    x = x.clone().requires_grad_(x.is_floating_point())
    output, last = model(x, reset=reset, lengths=lengths)
    loss = output.mul(torch.randn(output.shape, generator=random)).sum() + sum(h.sum() for h in parts(last))
    wanted = [*model.parameters(), *([x] if x.requires_grad else [])]
    return [output.detach(), *(h.detach() for h in parts(last)), *torch.autograd.grad(loss, wanted)]


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM", "EmbeddingRNN", "EmbeddingGRU", "EmbeddingLSTM"])
def test_one_thread_is_two_threads_bit_for_bit(name, threads):
    model, x = build(name, num_layers=2), sample_input(name)
    results = []
    for count in (1, 2, 3):
        threads(count)
        results.append(train(model, x))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_one_thread_is_two_threads_in_a_step(name, threads):
    model = build(name, num_layers=2)
    x = sample_input(name).flatten(0, 1)
    results = []
    for count in (1, 2):
        threads(count)
        with model.frozen():
            output, state = model.step(x)
            results.append([output, *parts(state), model.step(x, state)[0]])
        results[-1].append(model.step(x, state)[0])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_one_thread_is_two_threads_in_the_head(reduction, threads):
    """Several blocks of classes, chunks of rows that are not equal, and ignored rows."""
    x, weight, bias = (torch.randn(*shape).requires_grad_() for shape in ((301, 65), (2000, 65), (2000,)))
    target = torch.randint(0, 2000, (301,))
    target[::7] = -100
    results = []
    for count in (1, 2, 3):
        threads(count)
        loss = linear_cross_entropy(x, weight, target, linear_bias=bias, reduction=reduction)
        results.append([loss.detach(), *torch.autograd.grad(loss.sum(), (x, weight, bias))])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize(("dtype", "split"), [(torch.bfloat16, False), (torch.float32, True)], ids=str)
def test_one_thread_is_two_threads_in_a_linear_map(dtype, split, threads):
    random = torch.Generator().manual_seed(0)
    input, weight, grad = (torch.randn(s, generator=random).to(dtype) for s in ((777, 300), (129, 300), (777, 129)))
    results = []
    for count in (1, 2, 3):
        threads(count)
        output = torch.ops.pyagent.linear_forward(input, weight, None, split)
        results.append([output, *torch.ops.pyagent.linear_backward(grad, input, weight, True, True, True, split)])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_one_thread_is_two_threads_in_linear_maps_with_tanh_between(dtype, threads):
    random = torch.Generator().manual_seed(0)
    shapes = ((777, 300), (129, 300), (5, 129), (129,), (5,), (777, 5))
    input, *weights, first, last, grad = (torch.randn(shape, generator=random).to(dtype) for shape in shapes)
    results = []
    for count in (1, 2, 3):
        threads(count)
        hidden, output = torch.ops.pyagent.tanh_layers_forward(input, weights, [first, last])
        grads = torch.ops.pyagent.tanh_layers_backward(grad, input, weights, [hidden], True)
        results.append([hidden, output, grads[0], *grads[1], *grads[2]])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("name", ["GRU", "EmbeddingLSTM"])
def test_python_threads_share_a_module(name, threads):
    model = build(name)
    inputs = [sample_input(name, seed) for seed in range(6)]
    alone = [train(model, x) for x in inputs]
    threads(2)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda x: train(model, x), inputs * 3))
    for got, wanted in zip(together, alone * 3, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


@pytest.mark.parametrize("name", ["GRU", "EmbeddingLSTM"])
def test_python_threads_enter_and_leave_frozen_as_they_please(name):
    model = build(name)
    inputs = [sample_input(name, seed)[0] for seed in range(6)]
    alone = [model.step(x)[0] for x in inputs]

    def act(number):
        for _ in range(20):
            if number % 3:
                with model.frozen():
                    output, _ = model.step(inputs[number])
            else:
                output, _ = model.step(inputs[number])
            torch.testing.assert_close(output, alone[number])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(act, range(6)))
    assert model._derived is None


def test_python_goes_on_while_an_op_runs():
    """With the interpreter's own switching off, the other thread gets on only if the op lets go of the lock."""
    model, x = pyagent.nn.LSTM(256, 256), torch.randn(60, 32, 256)
    started, finished = threading.Event(), []

    def work():
        with torch.no_grad():
            started.set()
            model(x)
            finished.append("op")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        started.wait()
        finished.append("python")
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert finished == ["python", "op"]
