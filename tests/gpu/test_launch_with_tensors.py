"""The launchers as pyagent calls them: the same functions that are the ops' CUDA implementations, run by the emulation
on CPU tensors, beside the ops' CPU implementations."""

import pytest
import torch

from pyagent import cuda, native
from pyagent.ops import q_update, recurrence_cuda, recurrent_layer, recurrent_layer_cuda
from pyagent.ops.q_update_cuda import q_update_cuda
from pyagent.ops.recurrence import CELLS, GATES
from pyagent.ops.segment_sum import segment_sum, segment_sum_reference
from tests.gpu.devices import Emulated

SOURCES = ["recurrence_forward.cu", "recurrence_backward.cu", "segment_sum.cu", "q_update.cu", "error_string.cu"]
pytestmark = pytest.mark.rung(2)


@pytest.fixture(autouse=True)
def emulated(monkeypatch):
    monkeypatch.setattr(native, "cuda", Emulated(SOURCES).library)
    monkeypatch.setattr(cuda, "_words", {})


def case(cell, T=5, B=9, H=11, R=6, seed=0):
    """Arguments of recurrence_forward up to the cell."""
    generator = torch.Generator().manual_seed(seed)
    G, number = GATES[cell], CELLS.index(cell)

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    return (
        normal(R, G * H),
        torch.randint(R, (T, B), generator=generator),
        normal(G * H, H) / H**0.5,
        normal(H) if cell == "gru" else None,
        normal(B, H),
        normal(B, H) if cell == "lstm" else None,
        torch.rand(T, B, generator=generator) < 0.2,
        torch.randint(T + 1, (B,), generator=generator),
        number,
    )


def close(got, wanted):
    for x, y in zip(got, wanted, strict=True):
        assert x.shape == y.shape
        assert x.dtype == y.dtype
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("save", [True, False])
@pytest.mark.parametrize("gathered", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_both_passes_are_those_of_the_cpu(cell, gathered, save):
    rows, row_index, *others = case(cell)
    if not gathered:
        rows, row_index = rows[row_index], None
    arguments = (rows, row_index, *others, save)
    got = recurrence_cuda.recurrence_forward(*arguments)
    wanted = torch.ops.pyagent.recurrence_forward.default(*arguments)
    close(got, wanted)
    if not save:
        return
    grads = [torch.randn_like(x) if x.numel() else None for x in wanted[:3]]
    weight_hh, _, h_0, c_0, reset, lengths, number = others
    output, _, _, gates, cells = wanted
    num_rows = len(rows) if gathered else 0
    of_states = (row_index, weight_hh, h_0, c_0, reset, lengths, output, gates, cells, number)
    for needs in ((True, True, True), (True, False, False), (False, True, False)):
        given = (*grads, num_rows, *of_states, *needs)
        close(
            recurrence_cuda.recurrence_backward(*given),
            torch.ops.pyagent.recurrence_backward.default(*given),
        )


def test_bfloat16_is_near_float32():
    *tensors, number = case("lstm", H=16)
    wanted = recurrence_cuda.recurrence_forward(*tensors, number, True)
    lowered = [x.bfloat16() if i != 5 and x is not None and x.is_floating_point() else x for i, x in enumerate(tensors)]
    got = recurrence_cuda.recurrence_forward(*lowered, number, True)
    assert [x.dtype for x in got] == [torch.bfloat16, torch.bfloat16, torch.float32, torch.bfloat16, torch.float32]
    for x, y in zip(got, wanted, strict=True):
        torch.testing.assert_close(x.float(), y, rtol=0, atol=0.03)


@pytest.mark.parametrize("argument", ["row_index", "lengths"])
def test_out_of_range_is_raised_by_check_once(argument):
    arguments = list(case("gru"))
    {"row_index": arguments[1], "lengths": arguments[7]}[argument].view(-1)[3] = 99
    output = recurrence_cuda.recurrence_forward(*arguments, False)[0]
    assert output.isnan().any()
    with pytest.raises(IndexError, match="row_index or a length"):
        cuda.check()
    cuda.check()


def test_debugging_raises_at_once(monkeypatch):
    monkeypatch.setenv("PYAGENT_DEBUG", "1")
    arguments = list(case("tanh"))
    arguments[1][0, 0] = -1
    with pytest.raises(IndexError, match="row_index or a length"):
        recurrence_cuda.recurrence_forward(*arguments, False)


def test_without_the_cuda_half_the_error_says_so(monkeypatch):
    monkeypatch.setattr(native, "cuda", None)
    monkeypatch.setattr(native, "cuda_missing_because", "not built")
    with pytest.raises(RuntimeError, match="pyagent_q_update_f32: the CUDA half is not built"):
        cuda.launch("pyagent_q_update_f32", cuda.Arguments(), torch.device("cuda"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_segment_sum(dtype):
    values = torch.randn(300, 7).to(dtype)
    segment = torch.randint(-1, 6, (300,))
    torch.testing.assert_close(segment_sum(values, segment, 5), segment_sum_reference(values, segment, 5))


def transitions(dtype, scalars, N=50, S=6, A=3):
    q_table = torch.randn(S, A, dtype=dtype)
    state, next_state = torch.randint(S, (2, N))
    discount, alpha = (0.9, 0.5) if scalars else torch.rand(2, N, dtype=dtype)
    return q_table, state, torch.randint(A, (N,)), torch.randn(N, dtype=dtype), next_state, discount, alpha


@pytest.mark.parametrize("scalars", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_q_update_is_the_loop_bit_for_bit(dtype, scalars):
    q_table, *batch = transitions(dtype, scalars)
    wanted = q_table.clone()
    q_update(wanted, *batch)
    version = q_table._version
    q_update_cuda(q_table, *batch)
    assert torch.equal(q_table, wanted)
    assert q_table._version > version


def test_q_update_refuses_before_it_writes():
    q_table, state, action, *others = transitions(torch.float32, True)
    before = q_table.clone()
    with pytest.raises(ValueError, match="action: got shape"):
        q_update_cuda(q_table, state, action[:-1], *others)
    with pytest.raises(ValueError, match="q_table"):
        q_update_cuda(q_table.t(), state, action, *others)
    action[7] = 3
    q_update_cuda(q_table, state, action, *others)
    with pytest.raises(IndexError, match="outside of the table"):
        cuda.check()
    assert torch.equal(q_table, before)


@pytest.mark.parametrize("vocabulary", [5, 200])  # fewer rows than tokens, and more
@pytest.mark.parametrize("cell", CELLS)
def test_a_layer_from_its_parts(cell, vocabulary):
    T, B, E, H, G = 4, 7, 6, 8, GATES[cell]
    tokens = torch.randint(vocabulary, (T, B))
    shapes = [(vocabulary, E), (G * H, E), (G * H, H), (G * H,), (G * H,), (B, H)]
    parameters = [torch.randn(shape, requires_grad=True) for shape in shapes]
    results = []
    for layer in (recurrent_layer_cuda.recurrent_layer_cuda, recurrent_layer):
        embedding, weight_ih, weight_hh, bias_ih, bias_hh, h_0 = parameters
        given = (tokens, embedding, weight_ih, weight_hh, bias_ih, bias_hh, h_0, None, None, None)
        output, h_n, _ = layer(*given, cell=cell, padding_idx=1)
        results.append((output, h_n, *torch.autograd.grad((output * output).sum() + h_n.sum(), parameters)))
    for x, y in zip(*results, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4)


def test_a_token_outside_a_large_vocabulary_reads_nothing():
    embedding = torch.randn(100, 3)
    inputs, row_index = recurrent_layer_cuda.rows_and_index(torch.tensor([[4, 100], [-1, 2]]), embedding, None)
    assert row_index.tolist() == [[0, -1], [-1, 3]]
    assert torch.equal(inputs[[0, 3]], embedding[[4, 2]])
