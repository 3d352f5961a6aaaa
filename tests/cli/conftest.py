"""The command as typed, an untrained agent in a run's folder, and a run that `pyagent train` made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pyagent.agents import LanguageAgent
from pyagent.cli.commands import app
from pyagent.envs import ACTION_WORDS
from pyagent.learning.run_folder import RunFolder
from pyagent.text import Tokenizer


class TrainedRun(NamedTuple):
    path: Path
    result: Result


def _invoke(*arguments: object, **settings: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], **settings)


@pytest.fixture
def pyagent_command() -> Callable[..., Result]:
    return _invoke


@pytest.fixture
def run_path(tmp_path: Path) -> Path:
    tokenizer = Tokenizer.train(["go to the red ball . you see a ball ."], words=ACTION_WORDS)
    run = RunFolder(tmp_path / "run")
    run.write_config({"level": "pyagent/GoToLocalS5N2-v0"})
    LanguageAgent(tokenizer, ACTION_WORDS, hidden_size=16).save(run.path)
    return run.path


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    path = tmp_path_factory.mktemp("trained") / "run"
    return TrainedRun(path, _invoke("train", "--tiny", "--run-folder", path))
