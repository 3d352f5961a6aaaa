"""The table of an evaluation: one row an agent, every figure with its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pyagent.evaluation.statistics import EpisodeStatistics

if TYPE_CHECKING:
    from rich.table import Table

HEADERS = ("agent", "success", "mean reward", "episode length")


def evaluation_table(results: Mapping[str, EpisodeStatistics], title: str | None = None) -> Table:
    """A `rich` table of `results` (agent's name → its episodes), the seeds named below.

    Raises:
        ImportError: `rich` is not installed.
        ValueError: no results.
    """
    try:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
    except ImportError as error:
        raise ImportError("a table on the terminal needs rich: pip install 'pyagent[train]'") from error
    # Without vertical lines four intervals fit the 80 columns of a pipe or a small terminal.
    table = Table(title=title, caption=_seed_line(results), box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for header in HEADERS:
        table.add_column(header, justify="left" if header == "agent" else "right", no_wrap=True)
    for row in _rows(results):
        table.add_row(*row)
    return table


def markdown_table(results: Mapping[str, EpisodeStatistics]) -> str:
    """The same table in Markdown, ending in a newline.

    Raises:
        ValueError: no results.
    """
    caption = _seed_line(results)
    lines = ["| " + " | ".join(HEADERS) + " |", "|---|---:|---:|---:|"]
    lines += ["| " + " | ".join(row) + " |" for row in _rows(results)]
    return "\n".join([*lines, "", caption, ""])


def _rows(results: Mapping[str, EpisodeStatistics]) -> list[tuple[str, str, str, str]]:
    return [
        (
            name,
            "not told" if episodes.successes is None else str(episodes.success_rate),
            str(episodes.mean_reward),
            episodes.mean_length.format(digits=1),
        )
        for name, episodes in results.items()
    ]


def _seed_line(results: Mapping[str, EpisodeStatistics]) -> str:
    if not results:
        raise ValueError("results: want at least one agent's episodes, got none")
    seeds = {name: episodes.seeds_text() for name, episodes in results.items()}
    distinct = set(seeds.values())
    named = distinct.pop() if len(distinct) == 1 else "; ".join(f"{name}: {text}" for name, text in seeds.items())
    return f"one episode a seed, {named}; in brackets 95 % intervals"
