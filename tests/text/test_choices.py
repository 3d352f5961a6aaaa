"""Texts that end with choices."""

import pytest

from pyagent.text.choices import split_choices, with_choices


@pytest.mark.parametrize("choices", [[], ["go"], ["take coin", "move north", "move south"]])
def test_split_undoes_with(choices):
    assert split_choices(with_choices("you see a coin .", choices)) == ("you see a coin .", choices)


@pytest.mark.parametrize(("text", "choices"), [("two\nlines", []), ("one", ["two\nlines"]), ("one", [""])])
def test_what_would_not_split_is_refused(text, choices):
    with pytest.raises(ValueError, match="single lines"):
        with_choices(text, choices)
