"""bf16 training, by autocast and by bf16 parameters, against torch.nn's LSTM in fp32 and in bf16."""

from __future__ import annotations

import pytest
import torch

from .problem import Problem, Shape
from .recurrent import Data, TorchContender, assert_near, ours, torch_nn
from .sequences import shapes

SHAPES = [(32, 64, 128), (32, 64, 256), (64, 32, 512), (128, 32, 256)]
MODES = {"autocast": {"autocast": True}, "parameters": {"dtype": torch.bfloat16}}
RELATIVE_ERROR = 2e-2


def our_bf16(data: Data, mode: str) -> TorchContender:
    """Ours in bf16, or the test is skipped, with the reason."""
    try:
        contender = ours(data, **MODES[mode])
        dtype = contender.results()["output"].dtype
    except (TypeError, ValueError, RuntimeError) as error:
        pytest.skip(f"pyagent.nn has no bf16 by {mode} yet: {error}")
    if dtype != torch.bfloat16:
        pytest.skip(f"pyagent.nn has no bf16 by {mode} yet: the output is {dtype}")
    return contender


@pytest.mark.benchmark(group="bf16 training")
@shapes(SHAPES, quick=SHAPES[1:2])
@pytest.mark.parametrize("mode", MODES)
def test_bf16_training(compare, mode: str, shape: Shape) -> None:
    problem = Problem("LSTM", *shape)
    data = Data(problem)
    mine, fp32, bf16 = our_bf16(data, mode), torch_nn(data), torch_nn(data, **MODES[mode])
    assert_near(mine, fp32, RELATIVE_ERROR)
    assert_near(bf16, fp32, RELATIVE_ERROR)
    compare(
        mine.train,
        fp32.train,
        "nn.Embedding + nn.LSTM, fp32",
        peers={"nn.Embedding + nn.LSTM, bf16": bf16.train},
        flops=problem.flops(training=True),
        peer_flops=problem.flops(training=True, distinct=False),
        bytes=problem.bytes(training=True, width=2),
        dtype=torch.bfloat16,
    )
