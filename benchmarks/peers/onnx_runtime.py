"""ONNX Runtime: its LSTM, GRU and RNN operators below a Gather; inference only, on weights fixed at the start."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from ..acting import Acting
from ..problem import GATES
from ..recurrent import Data, TorchRecurrent

# Blocks of ONNX's gates as numbers of torch's: i o f c from i f g o, and z r h from r z n.
_ORDER = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 3, 1, 2]}
_OPSET, _IR_VERSION = 17, 10


def _reordered(cell: str, weight: torch.Tensor) -> np.ndarray:
    blocks = weight.detach().chunk(GATES[cell])
    return torch.cat([blocks[i] for i in _ORDER[cell]]).numpy()


def session(cell: str, reference: TorchRecurrent, tokens: bool) -> onnxruntime.InferenceSession:
    """Inputs `input [T, B]` (dense `[T, B, H]`) and the state `[1, B, H]`; outputs Y `[T, 1, B, H]` and the state."""
    weights = {name: value for name, value in reference.rnn.named_parameters()}
    H = reference.rnn.hidden_size
    bias = [_reordered(cell, weights[f"bias_{side}_l0"]) for side in ("ih", "hh")]
    constants = {
        "W": _reordered(cell, weights["weight_ih_l0"])[None],
        "R": _reordered(cell, weights["weight_hh_l0"])[None],
        "b": np.concatenate(bias)[None],
    }
    nodes = []
    if tokens:
        constants["embedding"] = reference.embedding.weight.detach().numpy()
        nodes.append(helper.make_node("Gather", ["embedding", "input"], ["x"]))
    states = ["h", "c"] if cell == "LSTM" else ["h"]
    inputs = ["x" if tokens else "input", "W", "R", "b", "", *states]
    extra = {"linear_before_reset": 1} if cell == "GRU" else {}
    nodes.append(helper.make_node(cell, inputs, ["Y", *(f"{s}_n" for s in states)], hidden_size=H, **extra))
    array, kind = (["T", "B"], TensorProto.INT64) if tokens else (["T", "B", H], TensorProto.FLOAT)
    state = [1, "B", H]
    graph = helper.make_graph(
        nodes,
        cell,
        [
            helper.make_tensor_value_info("input", kind, array),
            *(helper.make_tensor_value_info(s, TensorProto.FLOAT, state) for s in states),
        ],
        [
            helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["T", 1, "B", H]),
            *(helper.make_tensor_value_info(f"{s}_n", TensorProto.FLOAT, state) for s in states),
        ],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _zeros(cell: str, B: int, H: int) -> dict[str, np.ndarray]:
    return {name: np.zeros((1, B, H), np.float32) for name in (("h", "c") if cell == "LSTM" else ("h",))}


class InferenceContender:
    """Whole sequences from a state of zeros."""

    def __init__(self, data: Data) -> None:
        problem = data.problem
        self._session = session(problem.cell, data.reference, problem.tokens)
        state = _zeros(problem.cell, problem.B, problem.H)
        self._feeds = [{"input": x.detach().numpy(), **state} for x in data.inputs]
        self._next = cycle(self._feeds)

    def results(self) -> dict[str, torch.Tensor]:
        return {"output": torch.from_numpy(self._session.run(["Y"], self._feeds[0])[0][:, 0].copy())}

    def infer(self) -> object:
        return self._session.run(["Y"], next(self._next))


def sequences(data: Data, mode: str) -> InferenceContender:
    if mode != "infer":
        raise NotImplementedError("inference only")
    if data.reset is not None:
        raise NotImplementedError("cannot reset inside a sequence")
    return InferenceContender(data)


def acting(data: Acting) -> Callable[[], Any]:
    run = session(data.cell, data.reference, tokens=True).run
    tokens = [token.numpy()[None] for token in data.tokens]
    start = _zeros(data.cell, data.B, data.H)
    states = [f"{name}_n" for name in start]

    def act() -> np.ndarray:
        state = start
        for token in tokens:
            state = dict(zip(start, run(states, {"input": token, **state}), strict=True))
        return state["h"][0]

    return act
