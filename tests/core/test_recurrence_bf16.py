"""The recurrence of bfloat16, and of float32 as sums of two bfloat16, on AMX tiles, emulated: no processor with them is
needed."""

import struct

import pytest
import torch

from pyagent.ops.recurrence import CELLS, GATES, recurrence_reference


@pytest.fixture(scope="module")
def recur(run_emulated):
    """The amx target's output, gradient of the rows and of the initial state."""
    program = run_emulated("emulated_amx_recurrence.cpp")

    def run(cell, x, split):
        T, B, width = x["rows"].shape
        H, kept = width // GATES[cell], 1 if GATES[cell] == 1 else 4
        dtype = x["rows"].dtype
        header = struct.pack("6q", CELLS.index(cell), T, B, H, split, dtype == torch.float32)
        result = program(header, *x.values())
        sizes = (T * B * H * dtype.itemsize, T * B * kept * H * dtype.itemsize, B * H * 4, B * H * 4)
        parts = [part.clone() for part in torch.frombuffer(result, dtype=torch.uint8).split(sizes)]
        grad_gates = parts[1].view(dtype).view(T, B, kept, H)
        if cell == "gru":
            grad_gates = grad_gates[:, :, [0, 1, 3]]
        grads = grad_gates.reshape(T, B, width), parts[2].view(torch.float32).view(B, H)
        return [parts[0].view(dtype).view(T, B, H), *grads, parts[3].view(torch.float32).view(B, H)]

    return run


def sample_inputs(cell, T, B, H, dtype=torch.bfloat16):
    """What the program reads, in its order."""
    random = torch.Generator().manual_seed(T + B + H)
    width = GATES[cell] * H

    def draw(*shape, scale=1.0):
        return scale * torch.randn(shape, generator=random)

    return {
        "rows": draw(T, B, width).to(dtype),
        "weight_hh": draw(width, H, scale=H**-0.5).to(dtype),
        "h_0": draw(B, H).to(dtype),
        "c_0": draw(B, H),
        "bias_hn": draw(H),
        "reset": torch.rand(T, B, generator=random) < 0.2,
        "lengths": torch.randint(0, T + 1, (B,), generator=random),
        "grad_output": draw(T, B, H).to(dtype),
    }


def reference(cell, x):
    x = {name: value.double() if value.is_floating_point() else value for name, value in x.items()}
    grad_output = x.pop("grad_output")
    leaves = [x[name].requires_grad_() for name in ("rows", "h_0", "c_0")]
    x["bias_hn"] = x["bias_hn"] if cell == "gru" else None
    x["c_0"] = x["c_0"] if cell == "lstm" else None
    row_index = {"rows": x.pop("rows"), "row_index": None}
    output = recurrence_reference(**row_index, **x, cell=cell)[0]
    return [output, *torch.autograd.grad(output, leaves, grad_output, allow_unused=True, materialize_grads=True)]


# Fewer lanes than a tile has rows, than two have, more; units around a vector, and a panel of the backward pass.
shapes = pytest.mark.parametrize(("T", "B", "H"), [(3, 1, 1), (4, 5, 17), (3, 33, 16), (2, 70, 40), (5, 17, 70)])


@shapes
@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
def test_tiles_equal_the_reference(recur, cell, T, B, H):
    x = sample_inputs(cell, T, B, H)
    for got, wanted in zip(recur(cell, x, 0), reference(cell, x), strict=True):
        # Where everything is small, what it is the difference of is not: a bfloat16 near 1 is rounded by up to 2e-3.
        assert (got.double() - wanted).norm() <= max(1e-2 * wanted.norm(), 1e-3 * wanted.numel() ** 0.5)


@shapes
@pytest.mark.parametrize("cell", ["tanh", "relu", "gru", "lstm"])
def test_tiles_of_split_floats_equal_the_reference(recur, cell, T, B, H):
    x = sample_inputs(cell, T, B, H, torch.float32)
    for got, wanted in zip(recur(cell, x, 0), reference(cell, x), strict=True):
        assert (got.double() - wanted).norm() <= 1e-4 * wanted.norm()


@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
def test_a_long_sequence_of_split_floats_is_far_nearer_than_one_of_bfloat16(recur, cell):
    x = sample_inputs(cell, 60, 7, 65, torch.float32)
    rounded = {name: x[name].bfloat16() for name in ("rows", "weight_hh", "h_0", "grad_output")}
    for split, bf16, wanted in zip(
        recur(cell, x, 0), recur(cell, {**x, **rounded}, 0), reference(cell, x), strict=True
    ):
        error, error_bf16 = ((got.double() - wanted).norm() for got in (split, bf16))
        assert error <= 1e-5 * wanted.norm()
        assert error <= error_bf16 / 100


def test_infinity_and_nan_pass_through_split_floats(recur):
    x = sample_inputs("relu", 2, 3, 17, torch.float32)
    x["reset"][:], x["lengths"][:] = False, 2
    x["weight_hh"] = x["weight_hh"].abs()
    x["rows"][0, 0, 3], x["rows"][0, 1, 4] = torch.inf, torch.nan
    x["rows"][1] = 0
    output = recur("relu", x, 0)[0]
    assert (output[1, 0] == torch.inf).all()
    assert output[1, 1].isnan().all()
    assert output[1, 2].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("cell", ["relu", "gru", "lstm"])
def test_lanes_split_over_threads_change_no_bit(recur, cell, dtype):
    x = sample_inputs(cell, 4, 45, 33, dtype)
    whole = recur(cell, x, 0)
    for split in (1, 20, 33):
        assert all(torch.equal(a, b) for a, b in zip(recur(cell, x, split), whole, strict=True))
