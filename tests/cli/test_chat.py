"""The conversation: what is shown, what is remembered, what is forgotten."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from pyagent.agents import LanguageAgent
from pyagent.cli.chat import Conversation, pieces_line, value_bars
from pyagent.text import Tokenizer


@pytest.fixture
def agent() -> LanguageAgent:
    tokenizer = Tokenizer.train(["go to the red ball . you see a ball ."], words=["left", "forward"])
    return LanguageAgent(tokenizer, ["left", "forward"], hidden_size=16)


def _hold(agent: LanguageAgent, *lines: str) -> str:
    console = Console(file=StringIO(), width=200)
    Conversation(agent, console).hold(lines)
    return console.file.getvalue()  # type: ignore[attr-defined]


def _probabilities(shown: str) -> list[dict[str, float]]:
    """Of each turn shown, the probability of every action."""
    turns: list[dict[str, float]] = []
    for line in shown.splitlines():
        if line.startswith("reads"):
            turns.append({})
        elif line.startswith("  "):
            word, value = line.split()[:2]
            turns[-1][word] = float(value)
    return turns


def _expected(agent: LanguageAgent, *observations: str) -> list[dict[str, float]]:
    turns, state = [], None
    for observation in observations:
        reply = agent.reply(observation, state)
        turns.append(pytest.approx(reply.probabilities, abs=6e-4))
        state = reply.state
    return turns


def test_a_turn_shows_tokens_probabilities_value_and_reply(agent: LanguageAgent) -> None:
    lines = _hold(agent, "go to the blorp\n").splitlines()
    reply = agent.reply("go to the blorp .")
    assert lines[0] == "reads  go to the ?blorp? . (5 tokens, 1 unknown)"
    best, other = sorted(reply.probabilities.items(), key=lambda item: -item[1])
    assert lines[1].split()[:2] == [best[0], f"{best[1]:.3f}"]
    assert lines[2].split()[:2] == [other[0], f"{other[1]:.3f}"]
    assert lines[3] == f"value  {reply.value:.3f}"
    assert lines[4] == f"reply  {reply.text}".rstrip()


def test_the_mission_holds_and_the_memory_is_carried(agent: LanguageAgent) -> None:
    shown = _hold(
        agent, "go to the red ball", "You see a ball", "go to the ball . you see a ball .", "", "you see a red ball"
    )
    assert _probabilities(shown) == _expected(
        agent,
        "go to the red ball .",
        "go to the red ball . you see a ball .",
        "go to the ball . you see a ball .",
        "go to the ball . you see a red ball .",
    )


def test_reset_starts_anew_and_quit_ends(agent: LanguageAgent) -> None:
    shown = _hold(agent, "go to the red ball", "/reset", "you see a ball", "/quit", "never read")
    turns = _probabilities(shown)
    assert turns[:1] == _expected(agent, "go to the red ball .")
    assert turns[1:] == _expected(agent, "you see a ball .")
    assert "a new conversation" in shown
    shown = _hold(agent, "/help")
    assert "/reset forgets" in shown
    assert "reads" not in shown


@pytest.mark.parametrize("line", [".", "[bold]", "ünïcödé 日本語 🙂", "x" * 5000, ". . go", "you"])
def test_no_line_is_too_odd(agent: LanguageAgent, line: str) -> None:
    assert len(_probabilities(_hold(agent, line))) == 1


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
