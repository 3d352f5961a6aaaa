"""Layers in bfloat16: by autocast and by their parameters, against the same weights in float32."""

import pytest
import torch

import pyagent.nn

NAMES = ("RNN", "GRU", "LSTM")


def pair(name, V, **settings):
    """A layer in float32 and the same in bfloat16, weights as far as these go."""
    torch.manual_seed(0)
    lower = getattr(pyagent.nn, f"Embedding{name}")(V, 24, 40, dtype=torch.bfloat16, **settings)
    upper = getattr(pyagent.nn, f"Embedding{name}")(V, 24, 40, **settings)
    upper.load_state_dict(lower.state_dict())
    return upper, lower


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def assert_close(got, wanted):
    assert (got.double() - wanted.double()).norm() <= 2e-2 * wanted.double().norm()


def results(model, run):
    output, state = run()
    grads = torch.autograd.grad(output.float().sin().sum(), list(model.parameters()))
    return [output.detach(), *(x.detach() for x in parts(state))], list(grads)


@pytest.mark.parametrize("settings", [{}, {"num_layers": 2, "batch_first": True}], ids=str)
@pytest.mark.parametrize("V", [20, 5000])
@pytest.mark.parametrize("name", NAMES)
def test_autocast_and_parameters_are_close_to_float32(name, V, settings):
    upper, lower = pair(name, V, **settings)
    tokens, reset = torch.randint(0, V, (9, 7)), torch.rand(9, 7) < 0.2
    wanted, wanted_grads = results(upper, lambda: upper(tokens, reset=reset))
    of_lower, lower_grads = results(lower, lambda: lower(tokens, reset=reset))
    with torch.autocast("cpu", torch.bfloat16):
        cast, cast_grads = results(upper, lambda: upper(tokens, reset=reset))
    assert {x.dtype for x in of_lower + cast + lower_grads} == {torch.bfloat16}
    assert {x.dtype for x in cast_grads} == {torch.float32}
    for got in (of_lower + lower_grads, cast + cast_grads):
        for x, y in zip(got, wanted + wanted_grads, strict=True):
            assert_close(x, y)


@pytest.mark.parametrize("name", NAMES)
def test_the_state_goes_on(name):
    upper, lower = pair(name, 20)
    tokens = torch.randint(0, 20, (8, 3))
    whole = lower(tokens)[0]
    state = lower(tokens[:5])[1]
    assert_close(lower(tokens[5:], state)[0], whole[5:])
    with torch.autocast("cpu", torch.bfloat16):
        state = upper(tokens[:5])[1]
        assert_close(upper(tokens[5:], state)[0], whole[5:])


@pytest.mark.parametrize("name", NAMES)
def test_dense_layers_take_float32_and_bfloat16_under_autocast(name):
    model = getattr(pyagent.nn, name)(6, 10)
    x = torch.randn(5, 3, 6)
    with torch.autocast("cpu", torch.bfloat16):
        from_float32, from_bfloat16 = model(x)[0], model(x.bfloat16())[0]
    assert torch.equal(from_float32, from_bfloat16)
    with pytest.raises(TypeError, match="input: got bfloat16, want float32"):
        model(x.bfloat16())


@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_a_sequence_of_one_frozen_or_not(name):
    _, lower = pair(name, 20, num_layers=2)
    tokens = torch.randint(0, 20, (4, 3))
    state = lower(tokens[:3])[1]
    wanted, after = lower(tokens[3:], state)
    for frozen in (False, True):
        if frozen:
            with lower.frozen():
                output, last = lower.step(tokens[3], state)
        else:
            output, last = lower.step(tokens[3], state)
        assert output.dtype == torch.bfloat16
        assert_close(output, wanted[0])
        for x, y in zip(parts(last), parts(after), strict=True):
            assert x.dtype == torch.bfloat16
            assert_close(x, y)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_under_autocast_is_a_sequence_of_one(name):
    upper, _ = pair(name, 20)
    tokens = torch.randint(0, 20, (4, 3))
    with torch.autocast("cpu", torch.bfloat16):
        state = upper(tokens[:3])[1]
        wanted, _ = upper(tokens[3:], state)
        output, last = upper.step(tokens[3], state)
        dense, _ = upper.rnn.step(upper.embedding(tokens[3]).bfloat16(), state)
    assert {x.dtype for x in (output, dense, *parts(last))} == {torch.bfloat16}
    assert_close(output, wanted[0])
    assert_close(dense, wanted[0])
