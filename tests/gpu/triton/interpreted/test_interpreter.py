"""That the strict interpreter finds what it is there for."""

import pytest
import torch
import triton
import triton.language as tl
from triton.runtime.errors import InterpreterError


@triton.jit
def copy_kernel(x_ptr, y_ptr, N: tl.int64, SHIFT: tl.constexpr, BLOCK: tl.constexpr):
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + n, tl.load(x_ptr + n + SHIFT, n < N), n < N)


@triton.jit
def sum_kernel(x_ptr, y_ptr, N: tl.int64, ATOMIC: tl.constexpr, BLOCK: tl.constexpr):
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.sum(tl.load(x_ptr + n, n < N, 0.0))
    if ATOMIC:
        tl.atomic_add(y_ptr, x)
    else:
        tl.store(y_ptr, tl.load(y_ptr) + x)


@triton.jit
def chain_kernel(y_ptr):
    program = tl.program_id(0)
    tl.store(y_ptr + program + 1, tl.load(y_ptr + program) + 1)


@triton.jit
def scale_kernel(y_ptr, by, exactly_by: tl.float64):
    y = tl.load(y_ptr)
    tl.store(y_ptr, y * by)
    tl.store(y_ptr + 1, y * exactly_by)


@triton.jit
def difference(a, b):
    return a - b


@triton.jit
def first_of_pairs(a, b):
    return b + a


@triton.jit
def scan_kernel(x_ptr, y_ptr, ASSOCIATIVE: tl.constexpr):
    n = tl.arange(0, 8)
    x = tl.load(x_ptr + n)
    y = tl.associative_scan(x, 0, first_of_pairs) if ASSOCIATIVE else tl.associative_scan(x, 0, difference)
    tl.store(y_ptr + n, y)


@triton.jit
def dot_kernel(a_ptr, b_ptr, c_ptr):
    i, j = tl.arange(0, 16)[:, None], tl.arange(0, 16)[None, :]
    tl.store(c_ptr + i * 16 + j, tl.dot(tl.load(a_ptr + i * 16 + j), tl.load(b_ptr + i * 16 + j)))


@triton.jit
def assert_kernel(LIMIT: tl.constexpr):
    tl.device_assert(tl.arange(0, 4) < LIMIT, "too many")


@pytest.mark.parametrize("shift", [-1, 1])
@pytest.mark.parametrize("N", [1, 16, 21])
def test_out_of_bounds_is_found(N, shift):
    x, y = torch.ones(N), torch.empty(N)
    copy_kernel[(2,)](x, y, N, 0, BLOCK=16)
    assert torch.equal(x, y)
    with pytest.raises(InterpreterError, match=r"load: 1 of .* out of bounds"):
        copy_kernel[(2,)](x, y, N, shift, BLOCK=16)


def test_out_of_a_slice_is_out_of_bounds():
    memory = torch.ones(10)
    with pytest.raises(InterpreterError, match=r"store: 1 of .* out of bounds"):
        copy_kernel[(1,)](memory, torch.empty(20)[:9], 10, 0, BLOCK=16)


def test_missing_mask_is_found():
    with pytest.raises(InterpreterError, match="out of bounds"):
        copy_kernel[(1,)](torch.ones(5), torch.empty(5), 16, 0, BLOCK=16)


def test_race_is_found():
    x, y = torch.ones(40), torch.zeros(1)
    with pytest.raises(RuntimeError, match=r"sum_kernel: .* accesses race"):
        sum_kernel[(3,)](x, y, 40, False, BLOCK=16)
    sum_kernel[(1,)](x[:16], y.zero_(), 16, False, BLOCK=16)  # one program does not race
    assert y == 16
    sum_kernel[(3,)](x, y.zero_(), 40, True, BLOCK=16)
    assert y == 40


def test_reading_what_another_program_writes_is_a_race():
    with pytest.raises(RuntimeError, match="race"):
        chain_kernel[(2,)](torch.zeros(3))


def test_unannotated_number_is_float32():
    y = torch.ones(2, dtype=torch.float64)
    scale_kernel[(1,)](y, 0.1, 0.1)
    assert y.tolist() == [torch.tensor(0.1).item(), 0.1]


def test_combination_that_is_not_associative_shows():
    x = torch.arange(8, dtype=torch.float64) + 1
    y = torch.empty_like(x)
    scan_kernel[(1,)](x, y, True)
    assert torch.equal(y, x.cumsum(0))
    scan_kernel[(1,)](x, y, False)
    assert not torch.equal(y, 2 * x[0] - x.cumsum(0))  # what one after another would make


def test_bfloat16_products_are_right():
    a, b, c = torch.randn(16, 16).bfloat16(), torch.randn(16, 16).bfloat16(), torch.empty(16, 16)
    dot_kernel[(1,)](a, b, c)
    torch.testing.assert_close(c, a.float() @ b.float())


def test_assertions_are_live():
    assert_kernel[(1,)](4)
    with pytest.raises(InterpreterError, match="too many"):
        assert_kernel[(1,)](3)
