"""Products of bfloat16, and of float32 as sums of two, on AMX tiles, emulated: no processor with them is needed."""

import struct

import pytest
import torch

# Fewer rows than a tile, than two, one more than each; the same in k and in columns; beyond every block.
SIZES = [
    *((0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 1, 1), (1, 33, 65), (5, 17, 33), (16, 32, 32), (17, 33, 31)),
    *((33, 65, 64), (32, 31, 1), (47, 96, 257), (65, 16, 300), (70, 259, 2), (8, 5, 513), (530, 3, 259)),
]


@pytest.fixture(scope="module")
def multiply(run_emulated):
    """`multiply(case, a, b, bias)` by the amx target's body: a `[M, K]`, b `[K, N]`, each in the layout of the case."""
    program = run_emulated("emulated_amx_matmul.cpp")

    def run(a, b, bias, *, a_transposed=False, b_transposed=False, rounded=False, by_rows=False, split=0):
        (M, K), N = a.shape, b.shape[1]
        flags = a_transposed, b_transposed, bias is not None, rounded, by_rows
        case = struct.pack("10q", M, N, K, *flags, split, a.dtype == torch.float32)
        results = program(case, a.t() if a_transposed else a, b.t() if b_transposed else b, bias)
        dtype = torch.bfloat16 if rounded else torch.float32
        return torch.frombuffer(results or bytearray(4), dtype=dtype)[: M * N].view(M, N)

    return run


def sample_inputs(M, N, K):
    random = torch.Generator().manual_seed(M + N + K)
    a, b = (torch.randn(shape, generator=random).bfloat16() for shape in ((M, K), (K, N)))
    return a, b, torch.randn(N, generator=random)


def assert_is_the_product(got, a, b, bias, relative=1e-5):
    """Within `relative` (float32's rounding) of the sum of magnitudes, and half a unit of the last place of a bfloat16
    result."""
    bias = torch.zeros(b.shape[1]) if bias is None else bias
    wanted = a.double() @ b.double() + bias.double()
    magnitude = a.double().abs() @ b.double().abs() + bias.double().abs()
    bound = relative * magnitude + (wanted.abs() * 2**-8 if got.dtype == torch.bfloat16 else 0)
    assert ((got.double() - wanted).abs() <= bound).all()


@pytest.mark.parametrize("b_transposed", [False, True])
@pytest.mark.parametrize("a_transposed", [False, True])
@pytest.mark.parametrize(("M", "N", "K"), SIZES)
def test_product_on_tiles_equals_float64(multiply, M, N, K, a_transposed, b_transposed):
    a, b, bias = sample_inputs(M, N, K)
    layout = {"a_transposed": a_transposed, "b_transposed": b_transposed}
    for rounded, given in ((False, bias), (True, None), (True, bias)):
        assert_is_the_product(multiply(a, b, given, rounded=rounded, **layout), a, b, given)


@pytest.mark.parametrize("b_transposed", [False, True])
@pytest.mark.parametrize("a_transposed", [False, True])
def test_operands_given_row_by_row_change_no_bit(multiply, a_transposed, b_transposed):
    a, b, bias = sample_inputs(37, 41, 300)
    layout = {"a_transposed": a_transposed, "b_transposed": b_transposed}
    assert torch.equal(multiply(a, b, bias, by_rows=True, **layout), multiply(a, b, bias, **layout))


@pytest.mark.parametrize("a_transposed", [False, True])
@pytest.mark.parametrize("split", [1, 16, 45, 67])
def test_rows_split_over_threads_change_no_bit(multiply, a_transposed, split):
    a, b, bias = sample_inputs(67, 35, 270)
    whole = multiply(a, b, bias, a_transposed=a_transposed)
    assert torch.equal(multiply(a, b, bias, a_transposed=a_transposed, split=split), whole)


@pytest.mark.parametrize("b_transposed", [False, True])
@pytest.mark.parametrize("a_transposed", [False, True])
@pytest.mark.parametrize(("M", "N", "K"), SIZES)
def test_product_of_split_floats_equals_float64(multiply, M, N, K, a_transposed, b_transposed):
    random = torch.Generator().manual_seed(M + N + K)
    a, b = (torch.randn(shape, generator=random) for shape in ((M, K), (K, N)))
    bias = torch.randn(N, generator=random)
    for given in (None, bias):
        got = multiply(a, b, given, a_transposed=a_transposed, b_transposed=b_transposed)
        assert_is_the_product(got, a, b, given, relative=2e-5)


@pytest.mark.parametrize("a_transposed", [False, True])
def test_layouts_and_threads_change_no_bit_of_split_floats(multiply, a_transposed):
    random = torch.Generator().manual_seed(0)
    a, b = (torch.randn(shape, generator=random) for shape in ((67, 270), (270, 35)))
    whole = multiply(a, b, None)
    for b_transposed in (False, True):
        layout = {"a_transposed": a_transposed, "b_transposed": b_transposed}
        for split in (0, 1, 16, 45, 67):
            assert torch.equal(multiply(a, b, None, by_rows=split == 1, split=split, **layout), whole)


def test_split_infinity_and_nan_pass(multiply):
    a, b = torch.ones(17, 5), torch.ones(5, 3)
    a[0, 1], a[1, 2], a[2, 3], a[3, 4] = torch.inf, -torch.inf, torch.nan, 3.4e38
    got = multiply(a, b, None)
    assert (got[0] == torch.inf).all()
    assert (got[1] == -torch.inf).all()
    assert got[2].isnan().all()
    assert (got[3] == torch.inf).all()
    assert (got[4:] == 5).all()


def test_denormals_are_zeros_and_nan_and_infinity_pass(multiply):
    a, b = torch.ones(17, 40).bfloat16(), torch.ones(40, 17).bfloat16()
    a[0], a[1, 3], a[2, 5], b[7, 16] = 1e-39, torch.nan, torch.inf, -torch.inf
    got = multiply(a, b, None)
    assert (got[0, :16] == 0).all()
    assert got[1].isnan().all()
    assert (got[2, :16] == torch.inf).all()
    assert got[2, 16].isnan()
    assert (got[3:, 16] == -torch.inf).all()
    assert (got[3:, :16] == 40).all()
