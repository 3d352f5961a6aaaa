"""The kernels of a recurrent step, interpreted, against the reference in float64."""

import pytest
import torch

from pyagent.kernels.bad_values import TOKEN
from pyagent.kernels.recurrence_step import recurrence_step
from pyagent.ops.recurrence import CELLS, GATES
from pyagent.ops.recurrence_step import StepWeights, recurrence_step_reference

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}
SIZES = [(1, 1, 1), (5, 3, 4), (0, 3, 4), (7, 5, 70)]
KINDS = ["dense", "dense projected", "tokens", "tokens projected"]
V = 11


def sample(cell, kind, B, E, H, *, L=2, bias=True, dtype=torch.float64):
    """input, weights, h, c, reset."""
    random = torch.Generator().manual_seed(B * 10000 + E * 100 + H)

    def draw(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64).to(dtype)

    width, projected = GATES[cell] * H, "projected" in kind
    table = draw(V, width if projected else E) if "tokens" in kind else None
    layers = []
    for layer in range(L):
        layers += [
            draw(width, H if layer else E) / 2,
            draw(width, H) / H**0.5,
            *((draw(width), draw(width)) if bias else ()),
        ]
    weights = StepWeights(table, tuple(layers), CELLS.index(cell), H, projected)
    tokens = torch.randint(V, (B,), generator=random, dtype=torch.int32 if B % 2 else torch.int64)
    x = draw(B, width if projected else E) if table is None else tokens
    c = draw(L, B, H) if cell == "lstm" else None
    return x, weights, draw(L, B, H), c, torch.rand(B, generator=random) < 0.4


def run(x, weights, h, c, reset):
    results = recurrence_step(x, h, c, reset, weights.table, list(weights.layers), *weights[2:])
    return results if CELLS[weights.cell] == "lstm" else (*results[:2], None)


def in_float64(x, weights, *states):
    x, table, *states = (
        y.double() if y is not None and y.is_floating_point() else y for y in (x, weights.table, *states)
    )
    return x, weights._replace(table=table, layers=tuple(y.double() for y in weights.layers)), *states


def check(arguments, dtype):
    for result, want in zip(run(*arguments), recurrence_step_reference(*in_float64(*arguments)), strict=True):
        if want is None:
            assert result is None
        else:
            assert result.dtype == dtype
            torch.testing.assert_close(result.double(), want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize(("B", "E", "H"), SIZES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", CELLS)
def test_step(cell, kind, B, E, H):
    check(sample(cell, kind, B, E, H), torch.float64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", CELLS)
def test_step_in_float32(cell, kind):
    check(sample(cell, kind, 7, 5, 70, dtype=torch.float32), torch.float32)


@pytest.mark.parametrize("cell", CELLS)
def test_without_biases_states_and_resets(cell):
    x, weights, *_ = sample(cell, "dense", 5, 3, 4, L=1, bias=False)
    check((x, weights, None, None, None), torch.float64)


@pytest.mark.parametrize("cell", CELLS)
def test_nothing_passes_a_reset(cell):
    x, weights, h, c, reset = sample(cell, "tokens projected", 7, 3, 4)
    wanted = run(x, weights, h, c, reset)
    for state in (h, c):
        if state is not None:
            state[:, reset] = torch.nan
    for result, want in zip(run(x, weights, h, c, reset), wanted, strict=True):
        assert result is want is None or torch.equal(result, want)


def test_gates_far_from_zero_are_finite():
    x, weights, h, c, reset = sample("lstm", "dense projected", 5, 3, 4)
    output, _, c_n = run(1e4 * x, weights, h, c, reset)
    assert output.isfinite().all()
    assert c_n.isfinite().all()


@pytest.mark.parametrize(("kind", "bad"), [("tokens", 2**40), ("tokens projected", -1), ("tokens projected", V)])
@pytest.mark.parametrize("cell", CELLS)
def test_bad_token_is_reported_and_its_lane_is_nan(cell, bad, kind, reported):
    x, weights, h, c, reset = sample(cell, kind, 6, 3, 4)
    wanted = run(x, weights, h, c, reset)
    assert reported() == 0
    x[4] = bad
    for result, want in zip(run(x, weights, h, c, reset), wanted, strict=True):
        if want is not None:
            want[..., 4, :] = torch.nan
            torch.testing.assert_close(result, want, equal_nan=True)
    assert reported() == TOKEN.value


def test_packed_weights_are_refused():
    x, weights, h, c, reset = sample("gru", "dense", 5, 3, 4)
    with pytest.raises(RuntimeError, match="packed"):
        run(x, weights._replace(packed=True), h, c, reset)
