"""A conversation with a trained agent on the terminal: what it reads, how likely each action is, what it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from pyagent.agents import LanguageAgent

HELP = (
    "Type a mission (go to the red ball), what the agent sees next (you see a red ball 2 steps forward), or both in "
    "one line, sentences ending with a full stop. The mission holds until you type another. /reset forgets the "
    "conversation, /help shows this, /quit ends."
)
_BAR_WIDTH = 32


class Conversation:
    """Keeps the mission and the agent's memory from line to line.

    Args:
        agent: who answers.
        console: where the answers go.
    """

    def __init__(self, agent: LanguageAgent, console: Console) -> None:
        self._agent = agent
        self._console = console
        self._mission = ""
        self._memory: Any = None

    def hold(self, lines: Iterable[str]) -> None:
        """Answer line after line until they end or one of them is `/quit`."""
        with self._agent.frozen():
            for line in lines:
                text = " ".join(line.split())
                if text == "/quit":
                    return
                if text == "/reset":
                    self._mission, self._memory = "", None
                    self._console.print("a new conversation")
                elif text.startswith("/"):
                    self._console.print(HELP, highlight=False)
                elif text:
                    self._answer(text)

    def _answer(self, text: str) -> None:
        reply = self._agent.reply(self._observation(text), self._memory)
        self._memory = reply.state
        self._console.print(pieces_line(reply.pieces), soft_wrap=True)
        for bar in value_bars(reply.probabilities):
            self._console.print(bar)
        self._console.print(Text.assemble(("value  ", "dim"), f"{reply.value:.3f}"))
        self._console.print(Text.assemble(("reply  ", "dim"), (reply.text, "bold green")))

    def _observation(self, text: str) -> str:
        """The line as the agent's environments word a turn: the mission first, each sentence ended by a stop."""
        sentences = [sentence.strip() for sentence in text.split(".") if sentence.strip()]
        if sentences and sentences[0].split()[0].lower() == "you" and self._mission:
            sentences.insert(0, self._mission)
        elif sentences:
            self._mission = sentences[0]
        return " ".join(f"{sentence} ." for sentence in sentences)


def pieces_line(pieces: Sequence[tuple[str, int, bool]]) -> Text:
    """The pieces as read; unknown ones between question marks and in red, so that they show without colour too."""
    line = Text("reads  ", style="dim")
    for piece, _, known in pieces:
        line.append(piece if known else f"?{piece}?", style="not dim" if known else "not dim bold red")
        line.append(" ")
    unknown = sum(not known for _, _, known in pieces)
    line.append(f"({len(pieces)} tokens, {unknown} unknown)")
    return line


def value_bars(values: Mapping[str, float]) -> list[Text]:
    """One line an action, best first: its word, its probability or Q-value, and a bar.

    A bar starts at 0, or at the smallest value if that is below, and is full at 1, or at the greatest if that is above.
    """
    low = min(0.0, *values.values())
    span = max(1.0, *values.values()) - low
    width = max(len(word) for word in values)
    bars = []
    for word, value in sorted(values.items(), key=lambda item: -item[1]):
        filled = round(_BAR_WIDTH * (value - low) / span)
        bars.append(Text.assemble(f"  {word:<{width}} {value:7.3f} ", ("█" * filled, "cyan")))
    return bars
