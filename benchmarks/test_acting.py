"""Acting steps, tokens in, inside `frozen()`, against nn.Embedding and torch.nn's layer on sequences of one."""

from __future__ import annotations

import pytest
import torch

from .acting import STEPS, Acting
from .problem import GATES
from .sequences import cells


@pytest.mark.benchmark(group="acting")
@pytest.mark.parametrize("B", [1, 8, 64], ids="B{}".format)
@pytest.mark.parametrize("H", [128, pytest.param(256, marks=pytest.mark.full), 512], ids="H{}".format)
@cells
def test_acting(compare, other_peers, cell: str, H: int, B: int) -> None:
    data = Acting(cell, B, H)
    module, act = data.ours()
    others = other_peers.acting(data)
    with module.frozen():
        torch.testing.assert_close(act(), data.torch_nn(), atol=1e-5, rtol=1e-4)
        compare(
            act,
            data.torch_nn,
            f"nn.Embedding + nn.{cell}",
            peers=others.calls,
            absent=others.absent,
            flops=2 * STEPS * B * GATES[cell] * H * H,
            peer_flops=4 * STEPS * B * GATES[cell] * H * H,
            bytes=4 * STEPS * (GATES[cell] * H * H + B * (GATES[cell] + 4) * H),
            steps=STEPS,
        )
