"""A turn's text that ends with what can be done: the first line is read, each further line is one choice."""

from __future__ import annotations

from collections.abc import Iterable


def with_choices(text: str, choices: Iterable[str]) -> str:
    """`text`, and below it one line for each choice.

    Raises:
        ValueError: a line break in `text` or in a choice, or an empty choice.
    """
    lines = [text, *choices]
    if any("\n" in line for line in lines) or not all(lines[1:]):
        raise ValueError("text and choices: want single lines, and no empty choice")
    return "\n".join(lines)


def split_choices(text: str) -> tuple[str, list[str]]:
    """What `with_choices` joined; a text of one line has no choices."""
    first, *choices = text.split("\n")
    return first, choices
