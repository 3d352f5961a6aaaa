"""JAX: the recurrence as `lax.scan`, jitted with its gradient; acting as a jitted step."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import cycle
from typing import Any

import torch

from ..acting import Acting
from ..recurrent import NUDGE, Data

# XLA has as many threads as there are processors when its client is made, and no way to have fewer afterwards.
if not hasattr(os, "sched_setaffinity"):
    raise NotImplementedError("cannot be held to one thread on this system")
_processors = os.sched_getaffinity(0)
os.sched_setaffinity(0, {min(_processors)})
try:
    import jax
    import jax.numpy as jnp
    from jax import lax

    jax.config.update("jax_platforms", "cpu")
    jax.devices()
finally:
    os.sched_setaffinity(0, _processors)

Array = jax.Array
Weights = dict[str, Array]
W_HH = "rnn.weight_hh_l0"


def one_thread_only() -> None:
    if torch.get_num_threads() != 1:
        raise NotImplementedError("compared on one thread only: XLA fixes its threads when it starts")


def to_jax(tensor: torch.Tensor) -> Array:
    """A copy: XLA must not see what torch goes on to change."""
    return jnp.array(tensor.detach().numpy())


def to_torch(array: Any) -> torch.Tensor:
    return torch.from_numpy(jax.device_get(array).copy())


def cell_step(cell: str, weights: Weights, row: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
    """One step from a row of input pre-activations (without b_hh)."""
    h, c = state
    product = h @ weights[W_HH].T + weights["rnn.bias_hh_l0"]
    if cell == "RNN":
        return jnp.tanh(row + product), c
    if cell == "GRU":
        (x_r, x_z, x_n), (h_r, h_z, h_n) = jnp.split(row, 3, -1), jnp.split(product, 3, -1)
        r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
        return (1 - z) * jnp.tanh(x_n + r * h_n) + z * h, c
    i, f, g, o = jnp.split(row + product, 4, -1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def input_rows(weights: Weights, input: Array) -> Array:
    x = weights["embedding.weight"][input] if "embedding.weight" in weights else input
    return x @ weights["rnn.weight_ih_l0"].T + weights["rnn.bias_ih_l0"]


def run(cell: str, weights: Weights, input: Array, reset: Array | None) -> Array:
    rows = input_rows(weights, input)
    zeros = jnp.zeros((rows.shape[1], weights[W_HH].shape[1]))

    def step(state: tuple[Array, Array], at: tuple[Array, Array | None]) -> tuple[tuple[Array, Array], Array]:
        row, restart = at
        if restart is not None:
            keep = ~restart[:, None]
            state = state[0] * keep, state[1] * keep
        state = cell_step(cell, weights, row, state)
        return state, state[0]

    return lax.scan(step, (zeros, zeros), (rows, reset))[1]


class ScanContender:
    """The whole sequence as one compiled function of weights and input."""

    def __init__(self, data: Data) -> None:
        cell, dense = data.problem.cell, not data.problem.tokens
        self._weights = {name: to_jax(value) for name, value in data.reference.state_dict().items()}
        self._inputs = [to_jax(x) for x in data.inputs]
        self._next = cycle(self._inputs)
        reset = None if data.reset is None else to_jax(data.reset)
        weigh = to_jax(data.weigh)

        def weighed(weights: Weights, input: Array) -> tuple[Array, Array]:
            output = run(cell, weights, input, reset)
            return (output * weigh).sum(), output

        self._value_and_grad = jax.jit(jax.value_and_grad(weighed, (0, 1) if dense else 0, has_aux=True))
        self._run = jax.jit(lambda weights, input: run(cell, weights, input, reset))

    def results(self) -> dict[str, torch.Tensor]:
        (_, output), grads = self._value_and_grad(self._weights, self._inputs[0])
        of_weights, *of_input = grads if isinstance(grads, tuple) else (grads,)
        found = {**of_weights, **dict(zip(["input"], of_input, strict=False)), "output": output}
        return {name: to_torch(value) for name, value in found.items()}

    def train(self) -> object:
        return jax.block_until_ready(self._value_and_grad(self._nudged(), next(self._next)))

    def infer(self) -> object:
        return jax.block_until_ready(self._run(self._nudged(), next(self._next)))

    def _nudged(self) -> Weights:
        self._weights = {**self._weights, W_HH: self._weights[W_HH] + NUDGE}
        return self._weights


def sequences(data: Data, mode: str) -> ScanContender:
    one_thread_only()
    return ScanContender(data)


def acting(data: Acting) -> Callable[[], Any]:
    one_thread_only()
    weights = {name: to_jax(value) for name, value in data.reference.state_dict().items()}
    tokens = [to_jax(token) for token in data.tokens]
    start = (jnp.zeros((data.B, data.H)),) * 2

    @jax.jit
    def step(weights: Weights, token: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        return cell_step(data.cell, weights, input_rows(weights, token), state)

    def act() -> Array:
        state = start
        for token in tokens:
            state = step(weights, token, state)
        return state[0].block_until_ready()

    return act
