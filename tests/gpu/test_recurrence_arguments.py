"""The CUDA recurrence with any arguments, under one schedule of its threads. Too long for sanitizers:
test_sanitizers.py takes the modules that assign SOURCES."""

import numpy as np
import pytest

from tests.gpu.recurrence_launch import LAUNCHERS as SOURCES  # noqa: F401, what `device` builds
from tests.gpu.recurrence_launch import Case, check, plans, run, run_plan
from tests.gpu.recurrence_reference import CELLS

DTYPES = ["float32", "bfloat16"]
SIZES = [(1, 1, 1), (2, 5, 7), (9, 17, 33), (2, 40, 64), (3, 17, 130)]

pytestmark = [
    pytest.mark.parametrize("device", ["schedule0", pytest.param("gpu", marks=pytest.mark.gpu)], indirect=True),
    pytest.mark.parametrize("dtype", DTYPES),
    pytest.mark.parametrize("cell", CELLS),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("plan", plans())
def test_every_plan(device, cell, dtype, plan, size):
    if plan == "one block" and size[2] > 64:
        pytest.skip("the weights do not fit")
    case = Case(cell, dtype, *size)
    got = run_plan(device, case, plan)
    check(case, got)


@pytest.mark.parametrize("number", range(8))
def test_any_of_the_optional_arguments(device, cell, dtype, number):
    random = np.random.default_rng(number)
    given = [name for name in sorted(Case.OPTIONAL) if random.random() < 0.5] if number else []
    case = Case(cell, dtype, T=6, B=11, H=20, given=given, seed=number)
    check(case, run(device, case))


def test_without_what_the_backward_pass_needs(device, cell, dtype):
    case = Case(cell, dtype, T=6, B=11, H=20)
    got = run(device, case, keep=False)
    check(case, got, but=["gates", "cells", "grad_gates", "grad_h_0", "grad_c_0"])


def test_without_gradients_of_the_initial_state(device, cell, dtype):
    case = Case(cell, dtype, T=6, B=11, H=20)
    got = run(device, case, initial=False)
    check(case, got, but=["grad_h_0", "grad_c_0"])


def test_more_steps_with_wide_lanes(device, cell, dtype):
    case = Case(cell, dtype, T=20, B=70, H=24)
    check(case, run(device, case, lanes=64))


@pytest.mark.parametrize("name", ["rows", "weight_hh", "h_0"])
def test_nan_in_nan_out(device, cell, dtype, name):
    case = Case(cell, dtype, T=4, B=9, H=9)
    getattr(case, name)[1, 2] = np.nan
    got = run(device, case)
    assert np.isnan(got["output"]).any()
    # Gradients through such a weight are NaN also where nothing flows: zero times NaN.
    check(case, got, but=["grad_gates", "grad_h_0", "grad_c_0"] if name == "weight_hh" else [])


def test_a_length_out_of_range_of_no_steps(device, cell, dtype):
    case = Case(cell, dtype, T=0, B=3, H=5)
    case.lengths[1] = 1
    got = run(device, case)
    check(case, got)
    assert np.isnan(got["h_n"][1]).all()
    assert got["out_of_range"] == 1
