"""The raw ops under torch.ops.pyagent, given what no front would pass: an exception, never a crash or a wrong read."""

import pytest
import torch

ops = torch.ops.pyagent
T, B, H = 3, 2, 5
TANH, GRU, LSTM = 0, 2, 3
HUGE = 2**62


def f32(*shape):
    return torch.zeros(shape)


def i64(*values):
    return torch.tensor(values)


FORWARD = {
    "rows": f32(T, B, 4 * H),
    "row_index": None,
    "weight_hh": f32(4 * H, H),
    "bias_hn": None,
    "h_0": f32(B, H),
    "c_0": f32(B, H),
    "reset": torch.zeros(T, B, dtype=torch.bool),
    "lengths": i64(3, 0),
    "cell": LSTM,
    "save": True,
}
INDEXED = {**FORWARD, "rows": f32(4, 4 * H), "row_index": torch.zeros(T, B, dtype=torch.int64)}
BACKWARD = {
    "grad_output": f32(T, B, H),
    "grad_h_n": f32(B, H),
    "grad_c_n": f32(B, H),
    "num_rows": 0,
    **{name: FORWARD[name] for name in ("row_index", "weight_hh", "h_0", "c_0", "reset", "lengths")},
    "output": f32(T, B, H),
    "gates": f32(T, B, 4 * H),
    "cells": f32(T, B, H),
    "cell": LSTM,
    "need_rows": True,
    "need_weight": True,
    "need_state": True,
}
LINEAR = {"input": f32(3, 4), "weight": f32(5, 4), "bias": f32(5)}
LINEAR_BACKWARD = {"grad": f32(3, 5), "input": f32(3, 4), "weight": f32(5, 4), **dict.fromkeys(
    ("need_input", "need_weight", "need_bias"), True)}  # fmt: skip
LINEAR_BF16 = {name: x.bfloat16() for name, x in LINEAR.items()}
LINEAR_BACKWARD_BF16 = {name: x.bfloat16() if isinstance(x, torch.Tensor) else x for name, x in LINEAR_BACKWARD.items()}
LAYERS = {"input": f32(3, 4), "weights": [f32(5, 4), f32(2, 5)], "biases": [f32(5), f32(2)]}
LAYERS_BACKWARD = {"grad": f32(3, 2), "input": f32(3, 4), "weights": [f32(5, 4), f32(2, 5)], "hidden": [f32(3, 5)],
                   "need_input": True}  # fmt: skip

HEAD = {
    "input": f32(3, 4),
    "linear_weight": f32(5, 4),
    "target": i64(0, 4, -100),
    "linear_bias": f32(5),
    "ignore_index": -100,
    "reduction": 1,
    **dict.fromkeys(("need_input", "need_weight", "need_bias"), True),
}
HEAD_BACKWARD = {"grad_loss": f32(3), **{name: x for name, x in HEAD.items() if name != "reduction"}}

HOSTILE = [
    # cells that do not exist, or do not fit the sizes
    *((ops.recurrence_forward, FORWARD, {"cell": cell}) for cell in (-1, 4, HUGE, -HUGE, TANH, GRU)),
    *((ops.recurrence_backward, BACKWARD, {"cell": cell}) for cell in (-1, 4, HUGE, TANH, GRU)),
    # dimensions and sizes
    *((ops.recurrence_forward, FORWARD, {"rows": x}) for x in (f32(T, B), f32(0), f32(T, B, 21), f32(T, B, 0))),
    (ops.recurrence_forward, FORWARD, {"rows": torch.tensor(1.0)}),
    (ops.recurrence_forward, FORWARD, {"rows": f32(T, B, 24)}),
    *((ops.recurrence_forward, FORWARD, {"weight_hh": x}) for x in (f32(20), f32(5, 20), f32(20, 6), f32(0, 0))),
    *((ops.recurrence_forward, FORWARD, {"h_0": x}) for x in (f32(B), f32(B + 1, H), f32(1, B, H), f32(0, H))),
    *((ops.recurrence_forward, FORWARD, {"c_0": x}) for x in (f32(B, H + 1), f32(B - 1, H))),
    (ops.recurrence_forward, {**FORWARD, "cell": GRU, "rows": f32(T, B, 15), "weight_hh": f32(15, 5), "c_0": None},
     {"bias_hn": f32(H - 1)}),
    (ops.recurrence_forward, FORWARD, {"reset": torch.zeros(T - 1, B, dtype=torch.bool)}),
    (ops.recurrence_forward, FORWARD, {"lengths": i64(1)}),
    (ops.recurrence_forward, FORWARD, {"row_index": i64(0)}),
    (ops.recurrence_forward, INDEXED, {"row_index": torch.zeros(T, B, 1, dtype=torch.int64)}),
    (ops.recurrence_forward, INDEXED, {"rows": f32(0, 4 * H)}),
    *((ops.recurrence_backward, BACKWARD, {name: f32(1)}) for name in ("grad_output", "grad_h_n", "grad_c_n")),
    *((ops.recurrence_backward, BACKWARD, {name: f32(1)}) for name in ("weight_hh", "h_0", "c_0")),
    *((ops.recurrence_backward, BACKWARD, {name: f32(1)}) for name in ("output", "gates", "cells")),
    (ops.recurrence_backward, BACKWARD, {"gates": f32(T, B, 3 * H)}),
    (ops.recurrence_backward, BACKWARD, {"cells": f32(T - 1, B, H)}),
    (ops.recurrence_backward, BACKWARD, {"output": f32(T, B, 0)}),
    (ops.recurrence_backward, BACKWARD, {"num_rows": -1}),
    (ops.recurrence_backward, BACKWARD, {"num_rows": 0, "row_index": torch.zeros(T, B, dtype=torch.int64)}),
    (ops.recurrence_backward, BACKWARD, {"num_rows": HUGE, "row_index": torch.zeros(T, B, dtype=torch.int64)}),
    (ops.linear_forward, LINEAR, {"input": f32(3, 5)}),
    (ops.linear_forward, LINEAR, {"input": f32(3)}),
    (ops.linear_forward, LINEAR, {"weight": f32(4)}),
    (ops.linear_forward, LINEAR, {"bias": f32(4)}),
    (ops.linear_forward, LINEAR_BF16, {"bias": f32(4).bfloat16()}),
    (ops.linear_forward, LINEAR_BF16, {"bias": f32(6)}),
    (ops.linear_backward, LINEAR_BACKWARD_BF16, {"grad": f32(5, 3).bfloat16()}),
    (ops.linear_backward, LINEAR_BACKWARD, {"grad": f32(5, 3)}),
    (ops.linear_backward, LINEAR_BACKWARD, {"weight": f32(5, 3)}),
    (ops.linear_backward, LINEAR_BACKWARD, {"input": f32(2, 3, 4)}),
    *((ops.tanh_layers_forward, LAYERS, {"weights": x})
      for x in ([], [f32(5, 4)], [f32(5, 4), f32(2, 4)], [f32(5)] * 2)),
    *((ops.tanh_layers_forward, LAYERS, {"biases": x}) for x in ([], [f32(5)], [f32(5), f32(3)], [f32(5), f32(2, 1)])),
    (ops.tanh_layers_forward, LAYERS, {"weights": [], "biases": []}),
    *((ops.tanh_layers_backward, LAYERS_BACKWARD, {"hidden": x})
      for x in ([], [f32(3, 4)], [f32(15)], [f32(3, 5)] * 2, [f32(3, 5).double()], [f32(3, 5).to("meta")])),
    *((ops.tanh_layers_backward, LAYERS_BACKWARD, {"weights": x}) for x in ([], [f32(5, 4)], [f32(5, 4), f32(2, 4)])),
    (ops.tanh_layers_backward, LAYERS_BACKWARD, {"grad": f32(2, 3)}),
    *((ops.linear_cross_entropy_forward, HEAD, {"input": x}) for x in (f32(3, 5), f32(2, 4), f32(4), f32(3, 4, 1))),
    *((ops.linear_cross_entropy_forward, HEAD, {"linear_weight": x}) for x in (f32(4), f32(4, 5), f32(5, 4, 1))),
    *((ops.linear_cross_entropy_forward, HEAD, {"target": x}) for x in (i64(0, 1), i64(0, 1, 2).view(3, 1))),
    *((ops.linear_cross_entropy_forward, HEAD, {"linear_bias": x}) for x in (f32(4), f32(5, 1))),
    *((ops.linear_cross_entropy_forward, HEAD, {"reduction": x}) for x in (-1, 3, HUGE)),
    *((ops.linear_cross_entropy_backward, HEAD_BACKWARD, {"grad_loss": x}) for x in (f32(2), f32(3, 1), f32())),
    # dtypes
    *((ops.recurrence_forward, FORWARD, {"rows": f32(T, B, 4 * H).to(d)}) for d in (torch.float64, torch.float16)),
    *((ops.recurrence_forward, FORWARD, {name: FORWARD[name].int()}) for name in ("rows", "h_0", "reset", "lengths")),
    (ops.recurrence_forward, INDEXED, {"row_index": torch.zeros(T, B, dtype=torch.int32)}),
    (ops.recurrence_backward, BACKWARD, {"gates": f32(T, B, 4 * H).double()}),
    (ops.linear_forward, LINEAR, {"weight": f32(5, 4).bfloat16()}),
    (ops.linear_forward, LINEAR, {"bias": f32(5).bfloat16()}),
    *((ops.linear_forward, LINEAR_BF16, {name: LINEAR_BF16[name].double()}) for name in LINEAR_BF16),
    *((ops.linear_forward, LINEAR_BF16, {name: LINEAR[name]}) for name in ("input", "weight")),
    *((ops.linear_backward, LINEAR_BACKWARD_BF16, {name: LINEAR_BACKWARD[name]}) for name in ("grad", "input")),
    (ops.distinct_tokens, {"tokens": i64(1).view(1, 1), "num_embeddings": 3}, {"tokens": f32(1, 1)}),
    *((ops.linear_cross_entropy_forward, HEAD, {x: HEAD[x].double()}) for x in ("linear_weight", "linear_bias")),
    (ops.linear_cross_entropy_forward, HEAD, {"input": f32(3, 4).bfloat16()}),
    (ops.linear_cross_entropy_forward, HEAD, {"target": torch.zeros(3, dtype=torch.int32)}),
    (ops.linear_cross_entropy_backward, HEAD_BACKWARD, {"grad_loss": f32(3).double()}),
    # values out of range
    *((ops.recurrence_forward, FORWARD, {"lengths": i64(*x)}) for x in ((4, 0), (-1, 0), (HUGE, -HUGE))),
    *((ops.recurrence_forward, INDEXED, {"row_index": torch.full((T, B), x)}) for x in (4, -1, HUGE, -HUGE)),
    *((ops.distinct_tokens, {"tokens": i64(x).view(1, 1), "num_embeddings": 3}, {}) for x in (3, -1, HUGE, -HUGE)),
    (ops.distinct_tokens, {"tokens": i64(1).view(1, 1), "num_embeddings": 3}, {"num_embeddings": -HUGE}),
    (ops.distinct_tokens, {"tokens": i64(1).view(1, 1), "num_embeddings": 3}, {"num_embeddings": 0}),
    *((ops.linear_cross_entropy_forward, HEAD, {"target": i64(0, x, 1)}) for x in (5, -1, HUGE, -HUGE)),
    *((ops.linear_cross_entropy_backward, HEAD_BACKWARD, {"target": i64(0, x, 1)}) for x in (5, -1, HUGE, -HUGE)),
    (ops.linear_cross_entropy_forward, HEAD, {"ignore_index": 3}),
    # memory that does not exist, or is elsewhere
    *((ops.recurrence_forward, FORWARD, {name: FORWARD[name].to("meta")}) for name in ("rows", "h_0", "reset")),
    (ops.recurrence_backward, BACKWARD, {"output": f32(T, B, H).to("meta")}),
    (ops.recurrence_backward, BACKWARD, {"grad_h_n": f32(B, H).to("meta")}),
    (ops.linear_forward, LINEAR, {"weight": f32(5, 4).to("meta")}),
    (ops.linear_forward, LINEAR_BF16, {"bias": f32(5).to("meta")}),
    (ops.linear_backward, LINEAR_BACKWARD, {"grad": f32(3, 5).to("meta")}),
    *((ops.linear_cross_entropy_forward, HEAD, {name: HEAD[name].to("meta")})
      for name in ("input", "linear_weight", "target", "linear_bias")),
    (ops.linear_cross_entropy_backward, HEAD_BACKWARD, {"grad_loss": f32(3).to("meta")}),
    (ops.linear_cross_entropy_forward, HEAD, {"input": f32(1, 1).expand(2**31, 2**31)}),
    *((ops.linear_cross_entropy_forward, HEAD, {"input": f32(3, 0), "linear_weight": f32(x, 0), "linear_bias": None})
      for x in (2**40, HUGE)),
    (ops.recurrence_forward, FORWARD, {"weight_hh": f32(1, 1).expand(2**32, 2**30), "rows": f32(0, 2, 2**32)}),
    (ops.linear_forward, LINEAR, {"input": f32(1, 1).expand(2**31, 2**31)}),
    (ops.linear_forward, LINEAR, {"input": f32(2**31, 0), "weight": f32(2**31, 0), "bias": None}),
    (ops.recurrence_forward, {**FORWARD, "h_0": None, "c_0": None, "reset": None, "lengths": None},
     {"rows": f32(0, 2**50, 4 * H)}),
    (ops.recurrence_forward, FORWARD, {"rows": f32(T, B, 4 * H).to_sparse()}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "arguments", "changes"), HOSTILE)
def test_a_hostile_argument_is_an_exception(op, arguments, changes):
    with pytest.raises((RuntimeError, ValueError, TypeError, IndexError, MemoryError)):
        op(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("op", "arguments"),
    [
        (ops.recurrence_forward, FORWARD),
        (ops.recurrence_forward, INDEXED),
        (ops.recurrence_backward, BACKWARD),
        (ops.recurrence_backward, {**BACKWARD, "num_rows": 3, "row_index": torch.zeros(T, B, dtype=torch.int64)}),
        (ops.linear_forward, LINEAR),
        (ops.linear_backward, LINEAR_BACKWARD),
        (ops.linear_cross_entropy_backward, HEAD_BACKWARD),
        (ops.linear_forward, LINEAR_BF16),
        (ops.linear_forward, {**LINEAR_BF16, "bias": f32(5)}),
        (ops.linear_backward, LINEAR_BACKWARD_BF16),
    ],
)
def test_the_arguments_are_good_without_the_change(op, arguments):
    results = op(**arguments)
    results = (results,) if isinstance(results, torch.Tensor) else results
    # Zeros in, zeros out, but for what recurrence_forward keeps of the gates.
    assert all((x == 0).all() for x in (results[:3] if op is ops.recurrence_forward else results))


def test_the_arguments_of_the_head_are_good_without_the_change():
    loss, grad_input, grad_weight, grad_bias = ops.linear_cross_entropy_forward(**HEAD)
    torch.testing.assert_close(loss, torch.tensor(5.0).log())
    assert not grad_input.any()
    assert not grad_weight.any()
    torch.testing.assert_close(grad_bias, torch.tensor([-0.3, 0.2, 0.2, 0.2, -0.3]))


def test_an_endless_but_empty_sequence_ends():
    rows = torch.empty(2**40, 0, 4)
    output, h_n, _, _, _ = ops.recurrence_forward(rows, None, f32(4, 1), None, None, None, None, None, LSTM, False)
    assert output.shape == (2**40, 0, 1)
    assert h_n.shape == (0, 1)


def test_an_endless_sequence_of_no_units_ends():
    rows = torch.empty(2**40, 1, 0)
    output, h_n, _, _, _ = ops.recurrence_forward(rows, None, f32(0, 0), None, None, None, None, None, LSTM, False)
    assert output.shape == (2**40, 1, 0)
    assert h_n.shape == (1, 0)
