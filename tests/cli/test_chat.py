"""The conversation: what is marked, what is remembered, what is forgotten."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from pyagent.cli.chat import Conversation, Turn, pieces_line, value_bars

WORDS = {"go", "to", "the", "red", "ball", "you", "see", "a", "."}


class Parrot:
    """Knows a few words, counts its turns, and says what it heard."""

    values_name = "probability"

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def turn(self, text: str, memory: Any) -> tuple[Turn, Any]:
        self.heard.append((text, memory))
        pieces = [(word, index, word in WORDS) for index, word in enumerate(text.split())]
        return Turn(pieces, {"left": 0.25, "forward": 0.75}, "forward"), (memory or 0) + 1


def _hold(*lines: str) -> tuple[Parrot, str]:
    parrot, console = Parrot(), Console(file=StringIO(), width=120)
    Conversation(parrot, console).hold(lines)
    return parrot, console.file.getvalue()  # type: ignore[attr-defined]


def test_a_turn_shows_tokens_values_and_reply() -> None:
    _, shown = _hold("go to the blorp\n")
    lines = shown.splitlines()
    assert lines[0] == "reads  go to the ?blorp? . (5 tokens, 1 unknown)"
    assert lines[1] == "probability"
    assert lines[2].split()[:2] == ["forward", "0.750"]
    assert lines[3].split()[:2] == ["left", "0.250"]
    assert (lines[2].count("█"), lines[3].count("█")) == (24, 8)
    assert lines[4] == "reply  forward"


def test_the_mission_holds_and_the_memory_is_carried() -> None:
    parrot, _ = _hold(
        "go to the red ball", "You see a ball", "go to the ball . you see a ball .", "", "you see a red ball"
    )
    assert parrot.heard == [
        ("go to the red ball .", None),
        ("go to the red ball . You see a ball .", 1),
        ("go to the ball . you see a ball .", 2),
        ("go to the ball . you see a red ball .", 3),
    ]


def test_reset_starts_anew_and_quit_ends() -> None:
    parrot, shown = _hold("go to the red ball", "/reset", "you see a ball", "/quit", "never read")
    assert parrot.heard == [("go to the red ball .", None), ("you see a ball .", None)]
    assert "a new conversation" in shown
    parrot, shown = _hold("/help")
    assert parrot.heard == []
    assert "/reset forgets" in shown


@pytest.mark.parametrize("line", [".", "[bold]", "ünïcödé 日本語 🙂", "x" * 5000, ". . go", "you"])
def test_no_line_is_too_odd(line: str) -> None:
    parrot, shown = _hold(line)
    assert len(parrot.heard) == 1
    assert "reply" in shown


def test_nothing_read_is_shown_too() -> None:
    assert pieces_line([]).plain == "reads  (0 tokens, 0 unknown)"


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ({"a": 0.75, "b": 0.25}, [24, 8]),  # probabilities: full is 1
        ({"a": 1.0, "b": -1.0}, [32, 0]),  # Q-values may lie below 0: the smallest has no bar
        ({"a": 4.0, "b": 1.0, "c": 0.0}, [32, 8, 0]),
        ({"a": -3.0, "b": -1.0}, [16, 0]),
        ({"only": 0.0}, [0]),
    ],
)
def test_bars_share_one_scale(values: dict[str, float], bars: list[int]) -> None:
    assert [line.plain.count("█") for line in value_bars(values)] == bars
