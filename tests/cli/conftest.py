"""A small untrained agent in a run's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyagent.agents import LanguageAgent
from pyagent.envs import ACTION_WORDS
from pyagent.learning.run_folder import RunFolder
from pyagent.text import Tokenizer


@pytest.fixture
def run_path(tmp_path: Path) -> Path:
    tokenizer = Tokenizer.train(["go to the red ball . you see a ball ."], words=ACTION_WORDS)
    run = RunFolder(tmp_path / "run")
    run.write_config({"level": "pyagent/GoToLocalS5N2-v0"})
    LanguageAgent(tokenizer, ACTION_WORDS, hidden_size=16).save(run.path)
    return run.path
