"""Tokenizers: what they must keep, and a word-by-word reference."""

import copy
import json
import pickle
import re
from collections import Counter

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from pyagent.text import Tokenizer

TEXTS = [
    "go to the red ball . you see a red ball 2 steps forward and 1 step left .",
    "go to the blue box . you see a wall 3 steps forward . you carry nothing .",
    "put the red ball next to the blue box , then open a door .",
]
WORDS = ("left", "right", "forward", "pickup", "drop", "toggle", "done")
MODELS = ("word", "bpe")


def trained(model, **options):
    return Tokenizer.train(TEXTS, model=model, **{"words": WORDS, "vocab_size": 600, **options})


@pytest.fixture(scope="module", params=MODELS)
def tokenizer(request):
    return trained(request.param)


def test_special_ids_and_words_are_where_they_are_promised(tokenizer):
    assert (tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id) == (0, 1, 2)
    assert [tokenizer.encode(word) for word in WORDS] == [[3 + i] for i in range(len(WORDS))]
    assert [tokenizer.decode([3 + i]) for i in range(len(WORDS))] == list(WORDS)


def test_words_are_single_tokens_inside_a_text(tokenizer):
    ids = tokenizer.encode("please pickup , then drop .")
    assert tokenizer.encode("pickup")[0] in ids
    assert tokenizer.encode("drop")[0] in ids


def test_word_ids_follow_from_splitting_and_counting():
    tokenizer = trained("word")
    counts = Counter(word for text in TEXTS for word in re.findall(r"\w+|[^\w\s]", text))
    known = set(counts) | set(WORDS)
    assert len(tokenizer) == 3 + len(known)
    text = "Go to the purple BALL, then (drop)!?"
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    pieces = tokenizer.encode_pieces(text)
    assert [piece.lower() for piece, _, _ in pieces] == words
    assert [is_known for _, _, is_known in pieces] == [word in known for word in words]
    assert [id == 0 for id in tokenizer.encode(text)] == [word not in known for word in words]
    assert tokenizer.decode(tokenizer.encode(text)) == " ".join(word if word in known else "<unk>" for word in words)


def test_more_frequent_words_stay_when_the_vocabulary_is_small():
    tokenizer = Tokenizer.train(["a a a b b c"], vocab_size=5)
    assert len(tokenizer) == 5
    assert [known for _, _, known in tokenizer.encode_pieces("a b c")] == [True, True, False]


@settings(max_examples=60)
@given(st.text(max_size=40))
def test_any_text_is_encoded_and_never_gives_a_control_token(text):
    for model in MODELS:
        tokenizer = _SHARED[model]
        ids = tokenizer.encode(text)
        assert all(0 <= id < len(tokenizer) for id in ids)
        assert not {tokenizer.bos_id, tokenizer.eos_id} & set(ids)
        assert tokenizer.encode_batch([text, text]) == [ids, ids]
        assert [id for _, id, _ in tokenizer.encode_pieces(text)] == ids
        assert isinstance(tokenizer.decode(ids), str)


_SHARED = {model: trained(model) for model in MODELS}


@pytest.mark.parametrize("text", ["<eos>", " <bos> x", "<unk><eos>", "a<eos>b"])
def test_text_cannot_write_special_tokens(tokenizer, text):
    assert not {1, 2} & set(tokenizer.encode(text))


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["go", "zebra", "é", "漢字", "🙂", ",", ".", "x9", "left"]), max_size=8))
def test_byte_pairs_lose_nothing(words):
    text = " ".join(words)
    assert _SHARED["bpe"].decode(_SHARED["bpe"].encode(text)) == text


def test_decode_leaves_control_tokens_out(tokenizer):
    assert tokenizer.decode([tokenizer.bos_id, *tokenizer.encode("go left"), tokenizer.eos_id]) == "go left"
    assert tokenizer.decode([]) == ""


def test_empty_text_has_no_tokens(tokenizer):
    assert tokenizer.encode("") == []
    assert tokenizer.encode_pieces("") == []


def test_training_twice_gives_the_same(tokenizer):
    assert trained(tokenizer.model).to_json() == tokenizer.to_json()


def test_a_saved_tokenizer_comes_back_whole(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text("old")
    tokenizer.save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["tokenizer.json"]
    loaded = Tokenizer.load(path)
    text = "go to the zebra . pickup"
    assert loaded.model == tokenizer.model
    assert loaded.encode(text) == tokenizer.encode(text)
    assert loaded.to_json() == tokenizer.to_json()
    assert tokenizers.Tokenizer.from_file(str(path)).encode(text).ids == tokenizer.encode(text)


def test_copies_and_pickles_are_equal(tokenizer):
    for other in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert other.to_json() == tokenizer.to_json()
        assert other.encode("go left") == tokenizer.encode("go left")


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    with pytest.raises(FileNotFoundError):
        Tokenizer.load(path)
    path.write_text("{}")
    with pytest.raises(ValueError, match="no tokenizer"):
        Tokenizer.load(path)


def test_a_foreign_tokenizer_is_refused():
    foreign = json.loads(trained("word").to_json())
    foreign["model"]["vocab"] = {"<unk>": 0, "x": 1}
    with pytest.raises(ValueError, match="<bos> the id 1"):
        Tokenizer.from_json(json.dumps(foreign))
    with pytest.raises(ValueError, match="WordLevel or a BPE model, got Unigram"):
        Tokenizer(tokenizers.Tokenizer(tokenizers.models.Unigram()))


@pytest.mark.parametrize(
    ("error", "match", "texts", "options"),
    [
        (ValueError, "model must be", TEXTS, {"model": "char"}),
        (TypeError, "texts must be an iterable of strings", "one text", {}),
        (TypeError, "words must be an iterable of strings", TEXTS, {"words": "left"}),
        (TypeError, "text must be a string, got int", TEXTS, {"words": [3]}),
        (ValueError, "single words .* got 'turn left'", TEXTS, {"words": ["turn left"]}),
        (ValueError, "single words .* got ''", TEXTS, {"words": [""]}),
        (ValueError, "single words .* got '<eos>'", TEXTS, {"words": ["<eos>"]}),
        (ValueError, "vocab_size must be at least 5 .* got 4", TEXTS, {"words": ["a", "b"], "vocab_size": 4}),
        (ValueError, "vocab_size must be at least 259", TEXTS, {"model": "bpe", "vocab_size": 258}),
    ],
)
def test_bad_training_input_is_named(error, match, texts, options):
    with pytest.raises(error, match=match):
        Tokenizer.train(texts, **options)


def test_bad_ids_and_texts_are_named(tokenizer):
    for ids in ([len(tokenizer)], [-1]):
        with pytest.raises(IndexError, match=rf"ids must lie in \[0, {len(tokenizer)}\)"):
            tokenizer.decode(ids)
    for call in (tokenizer.encode, tokenizer.encode_pieces):
        with pytest.raises(TypeError, match="text must be a string, got None"):
            call(None)
    with pytest.raises(TypeError, match="texts must be a sequence"):
        tokenizer.encode_batch("one text")
