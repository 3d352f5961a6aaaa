"""Packed batches against each pair alone."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyagent.text import Tokenizer, batches

ALPHABET = ["a", "b", "c", "d", "e", "f", "g", "h"]
TOKENIZER = Tokenizer.train([" ".join(ALPHABET)])
phrases = st.lists(st.sampled_from(ALPHABET), max_size=6).map(" ".join)
pair_lists = st.lists(st.tuples(phrases, phrases), max_size=12)


def alone(pair):
    """(tokens, response tokens) of one pair, written out by hand."""
    prompt, response = (TOKENIZER.encode(text) for text in pair)
    return [TOKENIZER.bos_id, *prompt, *response, TOKENIZER.eos_id], [*response, TOKENIZER.eos_id]


def lanes_of(packed):
    """The windows joined again: tokens, reset, mask of each lane, every row once."""
    joined = [torch.cat([part[:-1] for part in parts] + [parts[-1][-1:]]) for parts in zip(*packed, strict=True)]
    return list(zip(*(part.T.tolist() for part in joined), strict=True))


@settings(max_examples=80)
@given(pair_lists, st.integers(1, 4), st.integers(2, 9), st.sampled_from([None, 0, 7]))
def test_every_pair_stands_whole_in_one_lane_and_every_response_counts_once(pairs, lanes, length, seed):
    packed = list(batches(pairs, TOKENIZER, batch_size=lanes, length=length, seed=seed))
    if not pairs:
        assert packed == []
        return
    for tokens, reset, mask in packed:
        assert tokens.shape == reset.shape == mask.shape == (length, lanes)
        assert (tokens.dtype, reset.dtype, mask.dtype) == (torch.int64, torch.bool, torch.bool)
        assert not mask[-1].any()
    for before, after in pairwise(packed):
        assert torch.equal(before.tokens[-1], after.tokens[0])
        assert torch.equal(before.reset[-1], after.reset[0])
    found = []
    for tokens, reset, mask in lanes_of(packed):
        starts = [row for row, start in enumerate(reset) if start]
        assert starts[0] == 0
        for start, stop in zip(starts, [*starts[1:], len(tokens)], strict=True):
            targets = [tokens[row + 1] for row in range(start, min(stop, len(tokens) - 1)) if mask[row]]
            if targets:
                found.append((tokens[start:stop], targets))
            else:  # filler: pairs already seen, cut off at the end
                assert any(alone(pair)[0][: stop - start] == tokens[start:stop] for pair in pairs)
    assert sorted(found) == sorted(alone(pair) for pair in pairs)


def test_one_lane_in_order_is_the_naive_construction():
    pairs = [("a b", "c"), ("", "d e"), ("f", "")]
    (batch,) = batches(pairs, TOKENIZER, batch_size=1, length=12)
    (a, b, c, d, e, f), (bos, eos) = TOKENIZER.encode("a b c d e f"), (1, 2)
    assert batch.tokens[:, 0].tolist() == [bos, a, b, c, eos, bos, d, e, eos, bos, f, eos]
    assert batch.reset[:, 0].tolist() == [row in (0, 5, 9) for row in range(12)]
    assert batch.loss_mask[:, 0].tolist() == [row in (2, 3, 5, 6, 7, 10) for row in range(12)]


class Model(torch.nn.Module):
    """A small recurrent language model that steps through time and knows resets."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(len(TOKENIZER), 5)
        self.cell = torch.nn.GRUCell(5, 7)
        self.head = torch.nn.Linear(7, len(TOKENIZER))

    def forward(self, tokens, state, reset):
        outputs = []
        for row, start in zip(tokens, reset, strict=True):
            state = self.cell(self.embedding(row), torch.where(start[:, None], 0.0, state))
            outputs.append(self.head(state))
        return torch.stack(outputs), state


@pytest.mark.parametrize(("lanes", "length"), [(1, 4), (3, 5), (4, 50)])
def test_packed_losses_are_those_of_each_pair_alone(lanes, length):
    torch.manual_seed(0)
    model = Model().double()
    pairs = [(" ".join(ALPHABET[i % 3 : i % 5]), " ".join(ALPHABET[i % 4 : i % 7])) for i in range(20)]
    expected = []
    for tokens, targets in map(alone, pairs):
        column = torch.tensor(tokens)[:, None]
        logits, _ = model(column, torch.zeros(1, 7).double(), torch.zeros(len(tokens), 1, dtype=torch.bool))
        losses = torch.nn.functional.cross_entropy(logits[:-1, 0], column[1:, 0], reduction="none")
        expected += losses[len(losses) - len(targets) :].tolist()
    found, state = [], torch.zeros(lanes, 7).double()
    for tokens, reset, mask in batches(pairs, TOKENIZER, batch_size=lanes, length=length):
        logits, state = model(tokens[:-1], state, reset[:-1])
        chosen = mask[:-1]
        found += torch.nn.functional.cross_entropy(logits[chosen], tokens[1:][chosen], reduction="none").tolist()
    torch.testing.assert_close(torch.tensor(sorted(found)), torch.tensor(sorted(expected)))


def test_a_seed_shuffles_and_repeats():
    pairs = [(letter, letter) for letter in ALPHABET]

    def prompts(seed):
        return [window.tokens.tolist() for window in batches(pairs, TOKENIZER, batch_size=2, length=8, seed=seed)]

    assert prompts(1) == prompts(1)
    assert prompts(1) != prompts(2)


@pytest.mark.parametrize(("name", "options"), [("batch_size", (0, 8)), ("length", (1, 1))])
def test_bad_sizes_are_named_at_the_call(name, options):
    with pytest.raises(ValueError, match=f"{name} must be"):
        batches([("a", "b")], TOKENIZER, batch_size=options[0], length=options[1])
