"""A memory of the choices taken, told in the text itself."""

from __future__ import annotations

from pyagent.text.choices import split_choices, with_choices

_AGAIN = " again"


class TriedChoices:
    """Marks the choices of an episode that were taken before in the same place: their lines end with ``again``.

    What was tried and where is a growing set, which a core of fixed size forgets; a search needs it whole.

    Args:
        place: the sentence that begins so tells the place; in texts without one all places are the same.
    """

    def __init__(self, place: str = "you are in") -> None:
        self.place = place
        self._taken: set[tuple[str, str]] = set()

    def begin(self) -> None:
        """A new episode."""
        self._taken.clear()

    def take(self, text: str, number: int) -> None:
        """Notes that of the choices of `text`, unmarked, the one with this number is taken.

        Raises:
            IndexError: there is no such choice.
        """
        facts, choices = split_choices(text)
        self._taken.add((self._place_in(facts), choices[number]))

    def mark(self, text: str) -> str:
        """The text with marks."""
        facts, choices = split_choices(text)
        place = self._place_in(facts)
        return with_choices(facts, [one + _AGAIN if (place, one) in self._taken else one for one in choices])

    def _place_in(self, facts: str) -> str:
        sentences = (sentence.strip() for sentence in facts.split("."))
        return next((sentence for sentence in sentences if sentence.startswith(self.place)), "")
