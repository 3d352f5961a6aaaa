"""Marks of choices that were taken before."""

import pytest

from pyagent.text.choices import with_choices
from pyagent.text.tried_choices import TriedChoices

KITCHEN = with_choices("a task . you are in the kitchen . you see a coin .", ["move east", "take coin"])
PANTRY = with_choices("a task . you are in the pantry .", ["move east", "move west"])


def test_choices_are_marked_where_they_were_taken_until_the_episode_ends():
    tried = TriedChoices()
    assert tried.mark(KITCHEN) == KITCHEN
    tried.take(KITCHEN, 0)
    assert tried.mark(KITCHEN) == KITCHEN.replace("move east", "move east again")
    assert tried.mark(PANTRY) == PANTRY
    tried.take(PANTRY, 0)
    assert tried.mark(PANTRY) == PANTRY.replace("move east", "move east again")
    tried.begin()
    assert tried.mark(KITCHEN) == KITCHEN


def test_texts_without_a_place_are_one_place():
    tried = TriedChoices()
    tried.take("who is there ?\nme\nnobody", 1)
    assert tried.mark("and now ?\nme\nnobody") == "and now ?\nme\nnobody again"
    assert tried.mark("no choices") == "no choices"


def test_a_choice_that_is_not_there():
    with pytest.raises(IndexError):
        TriedChoices().take(PANTRY, 2)
