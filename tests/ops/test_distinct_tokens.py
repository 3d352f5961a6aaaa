"""The distinct tokens of a batch against torch.unique."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyagent.ops import distinct_tokens
from pyagent.ops.distinct_tokens import distinct_tokens_reference

# T, B, vocabulary: empty, one word, all words, few of many (found by sorting instead of in a table).
CASES = [(0, 3, 5), (3, 0, 5), (0, 0, 0), (1, 1, 1), (5, 4, 3), (4, 3, 50), (2, 3, 100_000), (30, 20, 1000)]


def sample_inputs(T, B, V):
    return torch.randint(0, max(V, 1), (T, B), generator=torch.Generator().manual_seed(T + V)), V


@pytest.mark.parametrize(("T", "B", "V"), CASES)
def test_equals_the_reference(T, B, V):
    tokens, V = sample_inputs(T, B, V)
    for got, wanted in zip(distinct_tokens(tokens, V), distinct_tokens_reference(tokens, V), strict=True):
        assert torch.equal(got, wanted)


@given(tokens=st.lists(st.integers(0, 20), min_size=1), spare=st.integers(0, 2000))
@settings(max_examples=50)
def test_every_place_finds_its_token(tokens, spare):
    batch = torch.tensor(tokens)[:, None]
    ids, row_index = distinct_tokens(batch, max(tokens) + 1 + spare)
    assert ids.tolist() == sorted(set(tokens))
    assert torch.equal(ids[row_index], batch)


def test_ignores_memory_layout():
    tokens = torch.arange(12).view(3, 4) % 5
    ids, row_index = distinct_tokens(tokens.t().contiguous().t(), 5)
    assert ids.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(row_index, tokens)


@pytest.mark.parametrize(("T", "B", "V"), [(3, 2, 50), (0, 2, 4)])
def test_opcheck(T, B, V):
    torch.library.opcheck(torch.ops.pyagent.distinct_tokens.default, sample_inputs(T, B, V))


def test_compiled_ids_are_padded_to_a_size_known_in_advance():
    tokens = torch.tensor([[7, 3], [3, 7]])
    compiled = torch.compile(distinct_tokens, fullgraph=True, backend="aot_eager")
    ids, row_index = compiled(tokens, 10)
    assert ids.tolist() == [3, 7, 0, 0]
    assert row_index.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("tokens", "V", "error", "message"),
    [
        (torch.tensor([[0, 4]]), 4, IndexError, "tokens: got 4, want 0 to 3"),
        (torch.tensor([[-1, 2]]), 4, IndexError, "tokens: got -1, want 0 to 3"),
        (torch.tensor([[2**63 - 1]]), 4, IndexError, "tokens: got 9223372036854775807"),
        (torch.tensor([1]), 4, ValueError, r"tokens: got shape \(1,\)"),
        (torch.tensor([[1.0]]), 4, TypeError, "tokens: got float32, want int64"),
        ([[1]], 4, TypeError, "tokens: got list"),
        (torch.tensor([[1]]), -1, ValueError, "num_embeddings: got -1"),
    ],
)
def test_bad_input_names_the_argument(tokens, V, error, message):
    with pytest.raises(error, match=message):
        distinct_tokens(tokens, V)


def test_a_vocabulary_beyond_memory_costs_nothing():
    ids, row_index = distinct_tokens(torch.tensor([[5, 2**61]]), 2**62)
    assert ids.tolist() == [5, 2**61]
    assert row_index.tolist() == [[0, 1]]
