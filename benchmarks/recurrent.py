"""Ours and torch.nn's on one recurrent problem: the same weights, inputs that rotate, weights that keep changing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from itertools import cycle
from typing import Any, Protocol

import torch
from torch import Tensor, nn

import pyagent.nn

from .problem import VOCABULARY, Problem

NUDGE = 1e-6  # what every call adds to W_hh first, so that nothing derived from weights can be kept
INPUTS = 4


class TorchRecurrent(nn.Module):
    """nn.RNN, GRU or LSTM, below it nn.Embedding where tokens come in; with resets the step loop that users write."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        if problem.tokens:
            self.embedding = nn.Embedding(VOCABULARY, problem.H)
        self.rnn = getattr(nn, problem.cell)(problem.H, problem.H)

    def forward(self, input: Tensor, reset: Tensor | None = None) -> Tensor:
        x = self.embedding(input) if hasattr(self, "embedding") else input
        return self.rnn(x)[0] if reset is None else self.step_loop(x, reset)

    def step_loop(self, x: Tensor, reset: Tensor) -> Tensor:
        lstm = isinstance(self.rnn, nn.LSTM)
        h = x.new_zeros(1, x.shape[1], self.rnn.hidden_size)
        state: Any = (h, h) if lstm else h
        outputs = []
        for t in range(x.shape[0]):
            keep = (~reset[t]).view(1, -1, 1).to(x.dtype)
            state = (state[0] * keep, state[1] * keep) if lstm else state * keep
            output, state = self.rnn(x[t : t + 1], state)
            outputs.append(output)
        return torch.cat(outputs)


class OurRecurrent(nn.Module):
    """pyagent's layer for a problem, with the parameter names of `TorchRecurrent`; keywords are the layer's."""

    def __init__(self, problem: Problem, **keywords: Any) -> None:
        super().__init__()
        if problem.tokens:
            layer = getattr(pyagent.nn, f"Embedding{problem.cell}")(VOCABULARY, problem.H, problem.H, **keywords)
            self.embedding, self.rnn, self._layer = layer.embedding, layer.rnn, [layer]
        else:
            self.rnn = getattr(pyagent.nn, problem.cell)(problem.H, problem.H, **keywords)
            self._layer = [self.rnn]  # in a list: registered once

    def forward(self, input: Tensor, reset: Tensor | None = None) -> Tensor:
        return self._layer[0](input, reset=reset)[0]


class Data:
    """What every contender of a problem is given, drawn from seed 0."""

    def __init__(self, problem: Problem) -> None:
        torch.manual_seed(0)
        B, T, H = problem.B, problem.T, problem.H
        self.problem = problem
        self.reference = TorchRecurrent(problem)
        self.inputs = [
            torch.randint(0, VOCABULARY, (T, B)) if problem.tokens else torch.randn(T, B, H) for _ in range(INPUTS)
        ]
        self.reset = torch.rand(T, B) < problem.p_reset if problem.p_reset else None
        self.weigh = torch.randn(T, B, H)


class Contender(Protocol):
    """One implementation on one `Data`."""

    def results(self) -> Mapping[str, Tensor]:
        """On the first input and the weights as they were drawn: output, and gradients by parameter (and `input`)."""
        ...

    def train(self) -> object:
        """The timed call: nudge the weights, take the next input, forward and backward."""
        ...

    def infer(self) -> object:
        """The timed call without gradient."""
        ...


class TorchContender:
    """A module of torch's or ours. Gradients start from None in every call, as after `zero_grad`.

    Args:
        data: the problem.
        module: with the parameters of `data.reference`, whose values it is given.
        forward: what runs it, if not its own call.
        dtype: of its parameters.
        autocast: run forward under bf16 autocast.
    """

    def __init__(
        self,
        data: Data,
        module: nn.Module,
        forward: Callable[[Tensor, Tensor | None], Tensor] | None = None,
        dtype: torch.dtype = torch.float32,
        autocast: bool = False,
    ) -> None:
        module.load_state_dict(data.reference.state_dict())
        self._module = module.to(dtype)
        self._forward, self._autocast = module if forward is None else forward, autocast
        self._reset = data.reset
        dense = not data.problem.tokens
        self._inputs = [x.to(dtype).requires_grad_() if dense else x for x in data.inputs]
        self._weigh = data.weigh.to(torch.bfloat16 if autocast else dtype)
        self._next = cycle(self._inputs)
        self._weight_hh = module.get_parameter("rnn.weight_hh_l0")

    def forget(self) -> None:
        """Drop all gradients."""
        self._module.zero_grad(set_to_none=True)
        for input in self._inputs:
            input.grad = None

    def _backward(self, input: Tensor) -> Tensor:
        self.forget()
        output = self._run(input)
        output.backward(self._weigh)
        return output

    def _run(self, input: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16) if self._autocast else nullcontext():
            return self._forward(input, self._reset)

    def results(self) -> dict[str, Tensor]:
        output = self._backward(self._inputs[0])
        found = {name: parameter.grad for name, parameter in self._module.named_parameters()}
        if self._inputs[0].requires_grad:
            found["input"] = self._inputs[0].grad
        return {"output": output.detach(), **found}

    def train(self) -> Tensor:
        self._nudge()
        return self._backward(next(self._next))

    def train_and_forget(self) -> None:
        """`train`, after which nothing is held but what was before."""
        self.train()
        self.forget()

    def infer(self) -> Tensor:
        self._nudge()
        with torch.no_grad():
            return self._run(next(self._next))

    def _nudge(self) -> None:
        with torch.no_grad():
            self._weight_hh.add_(NUDGE)


def ours(data: Data, checkpoint_every: int = 1, **keywords: Any) -> TorchContender:
    return TorchContender(data, OurRecurrent(data.problem, checkpoint_every=checkpoint_every), **keywords)


def torch_nn(data: Data, **keywords: Any) -> TorchContender:
    return TorchContender(data, TorchRecurrent(data.problem), **keywords)


def assert_same(got: Contender, want: Contender, only_output: bool = False) -> None:
    """Raise AssertionError unless outputs and gradients agree up to rounding; the weights must be as drawn."""
    want_results, got_results = want.results(), got.results()
    assert only_output or got_results.keys() == want_results.keys()
    for name in ["output"] if only_output else want_results:
        tolerance = {"atol": 1e-5, "rtol": 1e-4} if name == "output" else {"atol": 1e-3, "rtol": 1e-3}
        explain = partial("{}: {}".format, name)
        torch.testing.assert_close(got_results[name], want_results[name], **tolerance, msg=explain)


def assert_near(got: Contender, want: Contender, relative: float) -> None:
    """Raise AssertionError unless each result differs by at most `relative` of the wanted one's norm."""
    want_results, got_results = want.results(), got.results()
    for name, value in want_results.items():
        error = (got_results[name].float() - value.float()).norm() / value.float().norm()
        assert error <= relative, f"{name}: relative error {error:.4f}, want at most {relative}"
