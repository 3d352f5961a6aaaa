"""The commands as a user types them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from click.testing import Result
from typer.testing import CliRunner

import pyagent
from pyagent.cli.commands import app

Run = Callable[..., Result]


@pytest.fixture
def pyagent_command() -> Run:
    return lambda *arguments, **settings: CliRunner().invoke(app, [str(each) for each in arguments], **settings)


def test_tasks_lists_every_registered_level(pyagent_command: Run) -> None:
    result = pyagent_command("tasks")
    assert result.exit_code == 0
    for task in pyagent.envs.tasks():
        assert task.id in result.stdout


def test_info_names_versions_and_backends(pyagent_command: Run) -> None:
    result = pyagent_command("info")
    assert result.exit_code == 0
    assert pyagent.__version__ in result.stdout
    assert "cuda" in result.stdout


def test_no_command_shows_the_help(pyagent_command: Run) -> None:
    result = pyagent_command()
    for command in ("train", "eval", "chat", "tasks", "info"):
        assert command in result.output


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
