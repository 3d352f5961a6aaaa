"""The CUDA recurrence under many schedules of its threads, and with what it should not be given."""

import numpy as np
import pytest

from tests.gpu.devices import Emulated
from tests.gpu.recurrence_launch import DOES_NOT_FIT, LAUNCHERS, RESIDENT, Case, check, run, run_plan
from tests.gpu.recurrence_reference import CELLS, GATES, backward, forward

SOURCES = LAUNCHERS
DTYPES = ["float32", "bfloat16"]
EVERY_CELL = pytest.mark.parametrize("cell", CELLS)
GRIDS = ["grid", "grid in chunks", "cluster", "streamed"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("plan", GRIDS)
@pytest.mark.parametrize(("cell", "H"), [("gru", 17), ("lstm", 24)])  # copied by elements, and by vectors
def test_any_schedule(device, cell, dtype, H, plan):
    case = Case(cell, dtype, T=3, B=10, H=H)
    got = run_plan(device, case, plan)
    check(case, got)
    assert got["out_of_range"] == 0


@pytest.mark.parametrize("name", ["row_index", "lengths"])
@EVERY_CELL
def test_out_of_range_is_nan_and_reads_nothing(device, cell, name):
    case = Case(cell, "float32", T=4, B=9, H=9)
    values = getattr(case, name)
    values.flat[[0, 5, 8]] = [-1, 2**40, 7]
    got = run(device, case)
    check(case, got)
    assert np.isnan(got["output"]).any()
    assert got["out_of_range"] == 1


@pytest.mark.parametrize("size", [(0, 3, 5), (2, 0, 5), (2, 3, 0), (0, 0, 0)])
@EVERY_CELL
def test_empty_sizes(device, cell, size):
    case = Case(cell, "float32", *size)
    got = run(device, case)
    assert got["out_of_range"] == 0
    if size == (0, 3, 5):
        check(case, got)


@pytest.mark.rung(2)
@pytest.mark.parametrize("plan", GRIDS)
def test_the_schedule_does_not_change_a_bit(plan):
    case = Case("lstm", "float32", T=4, B=10, H=24)
    runs = [run_plan(Emulated(SOURCES, seed=seed), case, plan) for seed in range(4)]
    assert all(np.array_equal(run[name], runs[0][name]) for run in runs for name in runs[0])


@pytest.mark.rung(2)
def test_what_does_not_fit_is_an_error():
    with pytest.raises(RuntimeError, match=DOES_NOT_FIT):
        run(Emulated(SOURCES), Case("lstm", "float32", T=1, B=1, H=64), variant=RESIDENT, shared_bytes=4096)


@pytest.mark.rung(2)
@EVERY_CELL
def test_gradients_of_the_reference(cell):
    """Along a random direction of all arguments at once, against a difference of values."""
    T, B, H = 5, 4, 3
    random = np.random.default_rng(0)
    G = GATES[cell]
    sizes = dict(x=(T, B, G * H), weight_hh=(G * H, H), bias_hn=(H,), h_0=(B, H), c_0=(B, H))
    point, direction = ({name: random.normal(size=size) for name, size in sizes.items()} for _ in range(2))
    reset, lengths = random.random((T, B)) < 0.3, np.array([5, 2, 0, 4])
    grad_output, grad_h_n, grad_c_n = (random.normal(size=size) for size in ((T, B, H), (B, H), (B, H)))
    grad_c_n *= cell == "lstm"

    def saved_and_loss(step):
        moved = {name: value + step * direction[name] for name, value in point.items()}
        saved = forward(cell, **moved, reset=reset, lengths=lengths)
        return saved, sum((grad * saved[name]).sum() for name, grad in weights.items())

    weights = dict(output=grad_output, h_n=grad_h_n, c_n=grad_c_n)
    saved, _ = saved_and_loss(0)
    grads = backward(cell, saved, point["weight_hh"], reset, lengths, grad_output, grad_h_n, grad_c_n)
    gates = grads["grad_gates"].reshape(T, B, -1, H)
    of_products, of_rows = gates[:, :, :G], gates[:, :, [0, 1, 3]] if cell == "gru" else gates
    gradient = dict(
        x=of_rows.reshape(T, B, -1),
        weight_hh=np.einsum("tbk,tbh->kh", of_products.reshape(T, B, -1), saved["h_prev"]),
        bias_hn=gates[:, :, 2].sum((0, 1)) if cell == "gru" else np.zeros(H),
        h_0=grads["grad_h_0"],
        c_0=grads["grad_c_0"] if cell == "lstm" else np.zeros((B, H)),
    )
    slope = sum((gradient[name] * direction[name]).sum() for name in gradient)
    step = 1e-6
    difference = (saved_and_loss(step)[1] - saved_and_loss(-step)[1]) / (2 * step)
    assert abs(slope - difference) <= 1e-7 * abs(difference)
