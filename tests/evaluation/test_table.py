"""The table says the same on the terminal and in Markdown."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from pyagent.evaluation import EpisodeStatistics, evaluation_table, markdown_table


def _episodes(won: int, first_seed: int = 0) -> EpisodeStatistics:
    successes = np.arange(100) < won
    seeds = np.arange(first_seed, first_seed + 100)
    return EpisodeStatistics(seeds, successes * 0.5, np.arange(100) % 7, successes)


RESULTS = {"random": _episodes(10), "supervised": _episodes(60), "control": _episodes(62), "final": _episodes(90)}


def test_markdown_holds_every_figure_with_its_interval() -> None:
    lines = markdown_table(RESULTS).splitlines()
    assert lines[0] == "| agent | success | mean reward | episode length |"
    assert [line.split("|")[1].strip() for line in lines[2:6]] == ["random", "supervised", "control", "final"]
    final = RESULTS["final"]
    assert f"| {final.success_rate} | {final.mean_reward} | {final.mean_length.format(digits=1)} |" in lines[5]
    assert lines[-1] == "one episode a seed, 100 seeds 0…99; in brackets 95 % intervals"


def test_the_terminal_table_holds_the_same_rows() -> None:
    console = Console(file=StringIO(), width=120)
    console.print(evaluation_table(RESULTS, title="GoToLocal"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "GoToLocal" in text
    for name, episodes in RESULTS.items():
        assert name in text
        assert str(episodes.success_rate) in text
    assert "100 seeds 0…99" in text


def test_long_figures_fit_80_columns() -> None:
    seeds = np.arange(2**30, 2**30 + 5)
    episodes = EpisodeStatistics(seeds, np.array([-9.0, 0, 0, 0, 9]), np.array([100, 64, 900, 900, 900]), seeds > 2**30)
    console = Console(file=StringIO(), width=80)
    console.print(evaluation_table({"supervised": episodes}))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for figure in (episodes.success_rate, episodes.mean_reward, episodes.mean_length.format(digits=1)):
        assert str(figure) in text


def test_unknown_success_and_other_seeds_are_told() -> None:
    untold = EpisodeStatistics(np.arange(3), np.zeros(3), np.ones(3, dtype=np.int64), None)
    text = markdown_table({"a": untold, "b": _episodes(3, first_seed=500)})
    assert "| a | not told |" in text
    assert "a: 3 seeds 0…2; b: 100 seeds 500…599" in text
    for draw in (markdown_table, evaluation_table):
        with pytest.raises(ValueError, match="results"):
            draw({})
