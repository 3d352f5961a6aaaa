"""Both doors of the raw step given what no front would pass: an exception or refusal, never a crash or a wrong read."""

import pytest
import torch

from pyagent import native

ops = torch.ops.pyagent
B, H, L, V = 2, 5, 2, 3
TANH, RELU, GRU, LSTM = range(4)
HUGE = 2**62


def f32(*shape):
    return torch.zeros(shape)


def i64(*values):
    return torch.tensor(values)


BIASED = (f32(20, H), f32(20, H), f32(20), f32(20))
STEP = {
    "input": f32(B, H),
    "h": f32(L, B, H),
    "c": f32(L, B, H),
    "reset": torch.zeros(B, dtype=torch.bool),
    "table": None,
    "layers": BIASED * L,
    "cell": LSTM,
    "hidden_size": H,
    "projected": False,
    "packed": False,
}
TOKENS = {**STEP, "input": i64(0, 1), "table": f32(V, H)}
PROJECTED = {**TOKENS, "table": f32(V, 20), "projected": True}
PACKED = {**STEP, "packed": True, "layers": (ops.recurrence_step_pack(*BIASED, LSTM),) * L}
NO_STATE = {**STEP, "h": None, "c": None, "reset": None}
GOOD = [STEP, TOKENS, PROJECTED, PACKED, NO_STATE, {**TOKENS, "input": i64(2, 0).int()}]


def with_layer(number, tensor):
    layers = list(STEP["layers"])
    layers[number] = tensor
    return {"layers": tuple(layers)}


HOSTILE = [
    *((STEP, {"cell": cell}) for cell in (-1, TANH, GRU, 4, HUGE, -HUGE)),
    *((STEP, {"hidden_size": size}) for size in (-1, 0, 4, 6, 2**24 + 1, HUGE, -HUGE)),
    *((STEP, {"input": x}) for x in (f32(B), f32(B, 6), f32(B, 0), f32(3, H), f32(1, B, H), torch.tensor(1.0))),
    *((STEP, {"input": x}) for x in (f32(B, H).double(), i64(0, 1), f32(B, H).half(), f32(B, H).to_sparse())),
    *((STEP, {name: x}) for name in ("h", "c") for x in (f32(B, H), f32(1, B, H), f32(L, 3, H), f32(L, B, 6), f32(0))),
    *((STEP, {name: STEP[name].double()}) for name in ("h", "c")),
    *((STEP, {"reset": x.bool()}) for x in (f32(1), f32(3), f32(B, 1), torch.tensor(0.0))),
    (STEP, {"reset": f32(B)}),
    *((STEP, {"layers": x}) for x in ((), BIASED[:1], BIASED[:3], BIASED + BIASED[:2], BIASED * 3, (f32(20, H),) * 3)),
    *((STEP, with_layer(number, x)) for number in (0, 1, 4, 5) for x in (f32(20, 4), f32(15, H), f32(20), f32(0))),
    *((STEP, with_layer(number, x)) for number in (2, 3, 6, 7) for x in (f32(20, 1), f32(19), f32(0))),
    (STEP, with_layer(0, f32(20, H).double())),
    (STEP, with_layer(1, f32(20, H).bfloat16())),
    (NO_STATE, {"layers": tuple(x.half() for x in STEP["layers"])}),
    *((PACKED, {"layers": (x,) * L}) for x in (f32(0), f32(7), f32(10**5), f32(20, H))),
    (PACKED, {"layers": STEP["layers"]}),
    (PACKED, {"projected": True}),
    (STEP, {"projected": True}),
    (STEP, {"packed": True}),
    *((TOKENS, {"input": i64(x, 0)}) for x in (V, -1, HUGE, -HUGE)),
    *((TOKENS, {"input": i64(x, 0).int()}) for x in (V, -1, 2**31 - 1)),
    *((TOKENS, {"input": x}) for x in (f32(B), i64(0, 1).view(1, 2), i64(0, 1).short(), torch.tensor(1), i64(0, 1, 2))),
    *((TOKENS, {"table": x}) for x in (f32(0, H), f32(V), f32(V, 4), f32(V, 0), f32(V, H).double(), f32(1, V, H))),
    *((PROJECTED, {"table": x}) for x in (f32(V, 19), f32(V, 0), f32(V, 15))),
    ({**STEP, "cell": GRU, "layers": (f32(15, H), f32(15, H))}, {"h": None}),  # no c but for the LSTM
    # memory that does not exist, is elsewhere, or cannot be had
    *((TOKENS, {name: TOKENS[name].to("meta")}) for name in ("input", "h", "c", "reset", "table")),
    *((STEP, with_layer(number, STEP["layers"][number].to("meta"))) for number in range(4)),
    (NO_STATE, {"input": f32(1, H).expand(2**40, H)}),
    ({**NO_STATE, "table": f32(V, H)}, {"input": torch.zeros(1, dtype=torch.int64).expand(2**45)}),
    (NO_STATE, {"input": f32(0, 2**40)}),
    (NO_STATE, {"layers": (f32(1, 1).expand(2**26, 2**24),) * 2, "hidden_size": 2**24}),
]


@pytest.mark.parametrize(("arguments", "changes"), HOSTILE)
def test_a_hostile_argument_is_an_exception(arguments, changes):
    with pytest.raises((RuntimeError, ValueError, TypeError, IndexError, MemoryError)):
        ops.recurrence_step(**{**arguments, **changes})


@pytest.mark.parametrize(("arguments", "changes"), HOSTILE)
def test_past_the_dispatcher_it_is_refused(arguments, changes):
    try:
        results = native.core.recurrence_step(*{**arguments, **changes}.values())
    except MemoryError:
        results = None
    assert results is None


@pytest.mark.parametrize("arguments", GOOD)
def test_the_arguments_are_good_without_the_change(arguments):
    for results in (ops.recurrence_step(**arguments), native.core.recurrence_step(*arguments.values())):
        assert all((x == 0).all() for x in results)


@pytest.mark.parametrize("position", range(10))
@pytest.mark.parametrize("thing", [None, 0, 1.5, "x", (), (None,), [f32(1)], object(), 10**30, torch.nn.Linear(1, 1)])
def test_past_the_dispatcher_anything_may_come(position, thing):
    arguments = list(TOKENS.values())
    arguments[position] = thing
    try:
        results = native.core.recurrence_step(*arguments)
    except (TypeError, OverflowError):
        return
    # Absent states are fine, and so is any truth value.
    assert results is None or position in (1, 2, 3, 8, 9)


def test_past_the_dispatcher_all_arguments_are_wanted():
    for count in (0, 9, 11):
        with pytest.raises(TypeError, match=f"got {count} arguments, want 10"):
            native.core.recurrence_step(*[None] * count)


PACK = {"weight_ih": f32(20, 4), "weight_hh": f32(20, H), "bias_ih": f32(20), "bias_hh": f32(20), "cell": LSTM}


@pytest.mark.parametrize(
    "changes",
    [
        *({"cell": cell} for cell in (-1, 4, GRU, HUGE)),
        *({"weight_hh": x} for x in (f32(20), f32(0, 5), f32(15, 5), f32(20, 5).half(), f32(20, 5).double())),
        *({"weight_ih": x} for x in (f32(20), f32(15, 4), f32(20, 4).double(), f32(0, 2**40))),
        *({name: x} for name in ("bias_ih", "bias_hh") for x in (f32(19), f32(20, 1), f32(20).to("meta"))),
    ],
)
def test_a_hostile_argument_of_packing_is_an_exception(changes):
    with pytest.raises(RuntimeError):
        ops.recurrence_step_pack(**{**PACK, **changes})
    assert ops.recurrence_step_pack(**PACK).dim() == 1
