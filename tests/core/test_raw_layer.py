"""The raw ops of a layer given what no front would pass: an exception, never a crash or a wrong read."""

import pytest
import torch

ops = torch.ops.pyagent
T, B, E, H, V = 3, 2, 4, 5, 6
TANH, GRU, LSTM = 0, 2, 3
HUGE = 2**62


def f32(*shape):
    return torch.zeros(shape)


def i64(*values):
    return torch.tensor(values)


DENSE = {
    "input": f32(T, B, E),
    "embedding": None,
    "weight_ih": f32(4 * H, E),
    "weight_hh": f32(4 * H, H),
    "bias_ih": f32(4 * H),
    "bias_hh": f32(4 * H),
    "h_0": f32(B, H),
    "c_0": f32(B, H),
    "reset": torch.zeros(T, B, dtype=torch.bool),
    "lengths": i64(3, 0),
    "cell": LSTM,
    "every": 1,
}
TOKENS = {**DENSE, "input": torch.zeros(T, B, dtype=torch.int64), "embedding": f32(V, E)}


def backward_of(forward, **changes):
    given = dict(forward)
    cell, every = given.pop("cell"), given.pop("every")
    arguments = {
        "grad_output": f32(T, B, H),
        "grad_h_n": f32(B, H),
        "grad_c_n": f32(B, H),
        **given,
        "output": f32(T, B, H),
        "gates": f32(T, B, 4 * H),
        "cells": f32(T, B, H),
        "cell": cell,
        "every": every,
        "padding_idx": -1,
        **dict.fromkeys(("need_input", "need_weight_ih", "need_weight_hh", "need_bias", "need_state"), True),
    }
    return {**arguments, **changes}


BACKWARD, BACKWARD_TOKENS = backward_of(DENSE), backward_of(TOKENS)
forward, backward = ops.recurrent_layer_forward, ops.recurrent_layer_backward
FLOATS = ("weight_hh", "weight_ih", "h_0", "c_0", "bias_ih", "bias_hh")

HOSTILE = [
    *((forward, DENSE, {"cell": cell}) for cell in (-1, 4, HUGE, -HUGE, TANH, GRU)),
    *((backward, BACKWARD, {"cell": cell}) for cell in (-1, 4, HUGE, TANH, GRU)),
    # dimensions and sizes
    *((forward, DENSE, {"input": x}) for x in (f32(T, B), f32(0), f32(T, B, E + 1), torch.tensor(1.0), f32(T, 0, E))),
    *((forward, DENSE, {name: f32(7)}) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "h_0", "c_0")),
    *((forward, DENSE, {name: f32(7, 7)}) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "h_0", "c_0")),
    (forward, DENSE, {"weight_hh": f32(1, 1).expand(2**32, 2**30)}),
    (forward, DENSE, {"reset": torch.zeros(B, T + 1, dtype=torch.bool)}),
    (forward, DENSE, {"lengths": i64(1, 1, 1)}),
    *((forward, TOKENS, {"embedding": x}) for x in (f32(V), f32(V, E + 1), f32(0, E), torch.tensor(1.0))),
    (forward, TOKENS, {"input": torch.zeros(T, dtype=torch.int64)}),
    *((backward, BACKWARD, {name: f32(T, B, H + 1)}) for name in ("output", "gates", "cells", "grad_output")),
    *((backward, BACKWARD, {name: f32(B, H + 1)}) for name in ("grad_h_n", "grad_c_n")),
    (backward, BACKWARD, {"cells": f32(0)}),
    (backward, BACKWARD, {"gates": f32(T, B, 8 * H)[..., ::2]}),
    # how gates are kept
    *((backward, BACKWARD, {"every": every}) for every in (0, -1, -HUGE, 2, HUGE)),
    *((backward, BACKWARD, {"every": 2, "gates": None, "cells": x}) for x in (f32(0), f32(T, B, H), f32(2, B, H))),
    *((backward, BACKWARD_TOKENS, {"padding_idx": i}) for i in (V, HUGE)),
    # dtypes
    *((forward, DENSE, {name: DENSE[name].double()}) for name in FLOATS),
    *((forward, DENSE, {name: DENSE[name].int()}) for name in (*FLOATS, "input", "reset", "lengths")),
    *((forward, DENSE, {name: DENSE[name].bfloat16()}) for name in ("input", "weight_hh", "h_0")),
    (forward, DENSE, {"weight_ih": f32(4 * H, E).half()}),
    (forward, TOKENS, {"input": torch.zeros(T, B, dtype=torch.int32)}),
    *((backward, BACKWARD, {name: BACKWARD[name].double()}) for name in ("output", "gates", "cells", "grad_h_n")),
    # values out of range
    *((forward, DENSE, {"lengths": i64(*x)}) for x in ((4, 0), (-1, 0), (HUGE, -HUGE))),
    *((forward, TOKENS, {"input": torch.full((T, B), x)}) for x in (V, -1, HUGE, -HUGE)),
    *((backward, BACKWARD_TOKENS, {"input": torch.full((T, B), x)}) for x in (V, -1, HUGE)),
    *((backward, BACKWARD, {"lengths": i64(*x)}) for x in ((4, 0), (-1, 0))),
    # elsewhere
    *((forward, DENSE, {name: DENSE[name].to("meta")}) for name in ("input", "weight_ih", "weight_hh", "reset")),
    *((backward, BACKWARD, {name: BACKWARD[name].to("meta")}) for name in ("output", "gates", "grad_output")),
]


@pytest.mark.parametrize(("op", "arguments", "changes"), HOSTILE)
def test_a_hostile_argument_is_an_exception(op, arguments, changes):
    with pytest.raises((RuntimeError, ValueError, NotImplementedError)):
        op(*{**arguments, **changes}.values())


@pytest.mark.parametrize(
    ("op", "arguments"),
    [
        (forward, DENSE),
        (forward, TOKENS),
        (forward, {**DENSE, "every": HUGE}),
        (forward, {**DENSE, "every": -HUGE}),
        (forward, {name: x.bfloat16() if getattr(x, "dtype", 0) == torch.float32 else x for name, x in TOKENS.items()}),
        (backward, BACKWARD),
        (backward, BACKWARD_TOKENS),
        (backward, {**BACKWARD, "gates": None}),
        (backward, {**BACKWARD, "every": 2, "gates": None, "cells": f32(1, B, H)}),
        (backward, {**BACKWARD, "every": HUGE, "gates": None, "cells": f32(0, B, H)}),
        (backward, {**BACKWARD_TOKENS, "padding_idx": -HUGE}),
        (forward, {**DENSE, "split": True}),
        (forward, {**TOKENS, "split": True}),
        (
            forward,
            {**{name: x.bfloat16() if name in (*FLOATS, "input") else x for name, x in DENSE.items()}, "split": True},
        ),
        (backward, {**BACKWARD, "split": True}),
        (backward, {**BACKWARD_TOKENS, "split": True}),
    ],
)
def test_the_arguments_are_good_without_the_change(op, arguments):
    op(*arguments.values())
