"""Peers besides torch.nn, one module each: they get torch.nn's weights and must give its results.

A module has `NAME`, and of these what the peer can do: `TRAINS` and `INFERS`, the cells of which its
`sequences(data)` makes a contender that trains and infers; `ACTS`, the cells of which `acting(data)` makes a call.
Importing it needs the peer to be installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from ..acting import Acting
from ..comparison import Call
from ..recurrent import Data, assert_same

MODULES: dict[str, str] = {}


class Others(NamedTuple):
    """Calls by the peer's name, verified; and the peers that are absent, with the reason."""

    calls: dict[str, Call]
    absent: dict[str, str]


class Selection:
    """The peers besides torch.nn, or none of them."""

    def __init__(self, wanted: bool) -> None:
        self._names = tuple(MODULES) if wanted else ()

    def sequences(self, data: Data, mode: str) -> Others:
        """Contenders on a problem; `mode` is train or infer."""

        def make(peer: Any) -> Call:
            contender = peer.sequences(data)
            assert_same(contender, data.reference_contender())
            return getattr(contender, mode)

        return self._others({"train": "TRAINS", "infer": "INFERS"}[mode], data.problem.cell, make)

    def acting(self, data: Acting) -> Others:
        def make(peer: Any) -> Call:
            act = peer.acting(data)
            torch.testing.assert_close(torch.from_numpy(np.array(act())), data.torch_nn(), atol=1e-5, rtol=1e-4)
            return act

        return self._others("ACTS", data.cell, make)

    def _others(self, ability: str, cell: str, make: Callable[[Any], Call]) -> Others:
        others = Others({}, {})
        return others
