"""Peers besides torch.nn, one module each: they get torch.nn's weights and must give its results.

A module has a `NAME`; `sequences(data, mode)`, a contender of which the method `mode` (train or infer) is timed; and
`acting(data)`, a call that plays the steps; or, for returns, `returns(op, steps)`, a call that gives what our op does.
What it cannot do it raises NotImplementedError for, with the reason. Importing it needs the peer to be installed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from ..acting import Acting
from ..comparison import Call
from ..recurrent import Data, assert_same, torch_nn
from ..returns import Steps

NAMES = {
    "torch_compile": "torch.compile",
    "jax_scan": "JAX",
    "onnx_runtime": "ONNX Runtime",
    "keras_layers": "Keras",
}  # of recurrent layers, by module
RETURNS = {"torchrl_returns": "TorchRL"}


class Others(NamedTuple):
    """Calls by the peer's name, verified; and the peers that are absent, with the reason."""

    calls: dict[str, Call]
    absent: dict[str, str]


class Selection:
    """The peers besides torch.nn, or none of them."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted

    def sequences(self, data: Data, mode: str) -> Others:
        """Contenders on a problem; `mode` is train or infer."""

        def make(peer: Any) -> Call:
            contender = peer.sequences(data, mode)
            assert_same(contender, torch_nn(data), only_output=mode == "infer")
            return getattr(contender, mode)

        return self.of(NAMES, make)

    def acting(self, data: Acting) -> Others:
        """Players of an acting problem."""

        def make(peer: Any) -> Call:
            act = peer.acting(data)
            torch.testing.assert_close(
                torch.from_numpy(np.asarray(act()).copy()), data.torch_nn(), atol=1e-5, rtol=1e-4
            )
            return act

        return self.of(NAMES, make)

    def returns(self, op: str, steps: Steps, wanted: torch.Tensor) -> Others:
        """Calls that give what an op does, `[B, T, 1]`; `wanted` is that, `[T, B]`."""

        def make(peer: Any) -> Call:
            call = peer.returns(op, steps)
            torch.testing.assert_close(call()[..., 0].t(), wanted, atol=1e-4, rtol=1e-4)
            return call

        return self.of(RETURNS, make)

    def of(self, names: Mapping[str, str], make: Callable[[Any], Call]) -> Others:
        """What `make` makes of each of these modules, where peers are wanted."""
        others = Others({}, {})
        for module, name in names.items() if self._wanted else ():
            try:
                others.calls[name] = make(importlib.import_module(f".{module}", __package__))
            except ModuleNotFoundError as error:
                others.absent[name] = f"{error.name} is not installed (pip install 'pyagent[peers]')"
            except NotImplementedError as error:
                others.absent[name] = str(error)
        return others
