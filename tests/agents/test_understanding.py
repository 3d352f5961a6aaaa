"""Reading turns: distinct sentences once, in any order and company, while learning and while acting."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyagent.agents import Understanding
from pyagent.text import Tokenizer


@pytest.fixture
def understanding(tokenizer):
    torch.manual_seed(1)
    return Understanding(tokenizer, 12, embedding_dim=6, hidden_size=8, num_heads=2)


def test_each_sentence_is_kept_once(understanding, texts):
    turns = understanding.prepare(texts)
    sentences = {piece.strip() for text in texts for piece in text.split(".") if piece.strip()}
    assert len(turns) == len(texts)
    assert turns.tokens.shape[1] == len(sentences) == len(turns.lengths)
    assert (turns.sentences >= 0).sum().item() == sum(text.count(".") for text in texts)


def test_a_turn_is_read_the_same_alone_and_in_company(understanding, texts):
    together = understanding(understanding.prepare(texts))
    alone = torch.cat([understanding(understanding.prepare([text])) for text in texts])
    torch.testing.assert_close(together, alone)


def test_selected_turns_are_read_as_they_were(understanding, texts):
    turns = understanding.prepare(texts)
    rows = torch.tensor([2, 1, 1])
    selected = turns.select(rows)
    torch.testing.assert_close(understanding(selected), understanding(turns)[rows])
    assert selected.tokens.shape[1] < turns.tokens.shape[1]


def test_the_order_of_what_is_seen_does_not_matter_but_the_mission_does(understanding):
    seen = ["you see a red ball 2 steps forward .", "you see a blue key 1 step left .", "you carry nothing ."]
    one, other = " ".join(["go to the red ball .", *seen]), " ".join(["go to the red ball .", *reversed(seen)])
    third = " ".join(["go to the blue key .", *seen])
    read = understanding(understanding.prepare([one, other, third]))
    torch.testing.assert_close(read[0], read[1])
    assert not torch.allclose(read[0], read[2])


def test_acting_reads_as_learning_does(understanding, texts):
    want = understanding(understanding.prepare(texts))
    torch.testing.assert_close(understanding.step(texts), want)
    with understanding.frozen():
        for text, row in zip(texts, want, strict=True):
            torch.testing.assert_close(understanding.step([text])[0], row)
        assert not understanding.step(texts).requires_grad


def test_frozen_reads_a_sentence_once_and_forgets_afterwards(understanding, texts):
    with understanding.frozen():
        before = understanding.step(texts)
        with torch.no_grad():
            understanding.reader.embedding.weight.add_(1.0)
        torch.testing.assert_close(understanding.step(texts), before)
    assert not torch.allclose(understanding.step(texts), before)


def test_every_part_gets_a_gradient(understanding, texts):
    understanding(understanding.prepare(texts)).square().sum().backward()
    for name, parameter in understanding.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@settings(deadline=None, max_examples=30)
@given(texts=st.lists(st.text(alphabet="ab .\t!é", max_size=20), min_size=1, max_size=4))
def test_any_text_is_read(texts):
    torch.manual_seed(0)
    understanding = Understanding(Tokenizer.train(["a b"]), 4, embedding_dim=3, hidden_size=4, num_heads=2)
    read = understanding(understanding.prepare(texts))
    assert read.shape == (len(texts), 4)
    assert read.isfinite().all()


def test_no_turns_at_all(understanding):
    assert understanding(understanding.prepare([])).shape == (0, 12)


@pytest.mark.parametrize("texts", ["one string", [1, 2]])
def test_other_things_than_texts_are_refused(understanding, texts):
    with pytest.raises(TypeError, match="texts"):
        understanding.prepare(texts)


def test_heads_must_divide_the_sentence_vector(tokenizer):
    with pytest.raises(ValueError, match="hidden_size"):
        Understanding(tokenizer, hidden_size=10, num_heads=4)
