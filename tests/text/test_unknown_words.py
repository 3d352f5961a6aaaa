"""Names of unknown words."""

import numpy as np
import pytest

from pyagent.text.unknown_words import UnknownWords, count_words

KNOWN = {"take": 100, "the": 100, "coat": 3, "from": 50}


def test_words_are_counted_once_an_episode():
    assert count_words([["take the coat", "take"], ["the hat"]]) == {"take": 1, "the": 2, "coat": 1, "hat": 1}


def test_unknown_words_keep_their_names_until_the_next_episode():
    words = UnknownWords(KNOWN)
    assert words.rename("take the vase from the desk.\ntake vase") == (
        "take the unknown0 from the unknown1.\ntake unknown0"
    )
    assert words.rename("take the desk") == "take the unknown1"
    words.begin()
    assert words.rename("take the desk") == "take the unknown0"


def test_names_are_shared_when_they_run_out():
    assert UnknownWords({}, names=2).rename("a b c a") == "unknown0 unknown1 unknown0 unknown0"


@pytest.mark.parametrize("word", KNOWN)
def test_words_are_forgotten_as_often_as_they_should(word):
    words, alpha, N = UnknownWords(KNOWN, 6.0, seed=1), 6.0, 4000
    forgotten = 0
    for _ in range(N):
        words.begin()
        forgotten += words.rename(f"{word} {word}") == "unknown0 unknown0"
    p = alpha / (KNOWN[word] + alpha)
    assert abs(forgotten - N * p) < 5 * np.sqrt(N * p * (1 - p))


@pytest.mark.parametrize("wrong", [{"alpha": -1.0}, {"names": 0}])
def test_numbers_out_of_range(wrong):
    with pytest.raises(ValueError, match="alpha and names"):
        UnknownWords({}, **wrong)
