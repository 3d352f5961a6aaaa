"""Keras on JAX: its Embedding and LSTM, GRU or SimpleRNN, jitted with their gradient."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import torch

os.environ["KERAS_BACKEND"] = "jax"
from .jax_scan import Array, jax, one_thread_only, to_jax, to_torch  # isort: skip  (before Keras imports JAX)

import keras

from ..acting import Acting
from ..problem import GATES, VOCABULARY
from ..recurrent import NUDGE, Data

_LAYER = {"RNN": "SimpleRNN", "GRU": "GRU", "LSTM": "LSTM"}
# Blocks of Keras's gates as numbers of torch's: z r h from r z n; the others stand alike.
_ORDER = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 1, 2, 3]}
RECURRENT_KERNEL = -2  # among a layer's weights: kernel, recurrent kernel, bias


def _reordered(cell: str, weight: torch.Tensor) -> torch.Tensor:
    blocks = weight.detach().chunk(GATES[cell])
    return torch.cat([blocks[i] for i in _ORDER[cell]])  # each order is its own inverse


class LayersContender:
    """A Keras model, batch first as Keras has it, as one compiled function of its weights and input."""

    def __init__(self, data: Data) -> None:
        problem, reference = data.problem, data.reference
        self._cell, self._tokens = problem.cell, problem.tokens
        layers = [keras.layers.Embedding(VOCABULARY, problem.H)] if problem.tokens else []
        layers.append(getattr(keras.layers, _LAYER[problem.cell])(problem.H, return_sequences=True))
        self._inputs = [to_jax(x.transpose(0, 1)) for x in data.inputs]
        self._next = cycle(self._inputs)
        model = keras.Sequential(layers)
        model(np.asarray(self._inputs[0]))
        embedding = [reference.embedding.weight.detach().numpy()] if problem.tokens else []
        model.set_weights([*embedding, *self._kernels(dict(reference.rnn.named_parameters()))])
        self._weights = [variable.value for variable in model.trainable_variables]
        self._state = [variable.value for variable in model.non_trainable_variables]
        weigh = to_jax(data.weigh.transpose(0, 1))

        def run(weights: list[Array], input: Array) -> Array:
            return model.stateless_call(weights, self._state, input, training=True)[0]

        def weighed(weights: list[Array], input: Array) -> tuple[Array, Array]:
            output = run(weights, input)
            return (output * weigh).sum(), output

        self._value_and_grad = jax.jit(jax.value_and_grad(weighed, 0 if problem.tokens else (0, 1), has_aux=True))
        self._run = jax.jit(run)

    def _kernels(self, weights: dict[str, torch.Tensor]) -> list[np.ndarray]:
        """torch's weights as Keras has them: transposed, and one bias but for the GRU."""
        ih, hh, bias_ih, bias_hh = (
            _reordered(self._cell, weights[name])
            for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        )
        bias = torch.stack((bias_ih, bias_hh)) if self._cell == "GRU" else bias_ih + bias_hh
        return [ih.t().numpy(), hh.t().numpy(), bias.numpy()]

    def results(self) -> dict[str, torch.Tensor]:
        (_, output), grads = self._value_and_grad(self._weights, self._inputs[0])
        of_weights, of_input = (grads, None) if self._tokens else grads
        *embedding, kernel, recurrent, bias = map(to_torch, of_weights)
        biases = bias if self._cell == "GRU" else (bias, bias)
        found = {"weight_ih": kernel.t(), "weight_hh": recurrent.t(), "bias_ih": biases[0], "bias_hh": biases[1]}
        results = {f"rnn.{name}_l0": _reordered(self._cell, grad) for name, grad in found.items()}
        results["output"] = to_torch(output).transpose(0, 1)
        if self._tokens:
            return {**results, "embedding.weight": embedding[0]}
        return {**results, "input": to_torch(of_input).transpose(0, 1)}

    def train(self) -> object:
        return jax.block_until_ready(self._value_and_grad(self._nudged(), next(self._next)))

    def infer(self) -> object:
        return jax.block_until_ready(self._run(self._nudged(), next(self._next)))

    def _nudged(self) -> list[Array]:
        self._weights[RECURRENT_KERNEL] = self._weights[RECURRENT_KERNEL] + NUDGE
        return self._weights


def sequences(data: Data, mode: str) -> LayersContender:
    one_thread_only()
    if data.reset is not None:
        raise NotImplementedError("cannot reset inside a sequence")
    return LayersContender(data)


def acting(data: Acting) -> Callable[[], Any]:
    raise NotImplementedError("a jitted Keras cell is the step that JAX is timed on")
