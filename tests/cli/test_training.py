"""`pyagent train` from its first line to its last, interrupted and resumed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from pyagent.cli.training import new_run
from pyagent.learning.run_folder import RunFolder

Run = Callable[..., Result]
SUMMARY = re.compile(r"success: random \d\.\d{3} supervised \d\.\d{3} final \d\.\d{3}")


def test_training_ends_with_the_table_and_the_summary(trained_run: Any) -> None:
    result, path = trained_run.result, trained_run.path
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert SUMMARY.fullmatch(lines[-1])
    for name in ("random", "supervised", "final"):
        assert any(line.strip().startswith(name) for line in lines)
    assert f"talk with it: pyagent chat {path}" in lines
    files = {file.name for file in path.iterdir()}
    assert files >= {"config.json", "tokenizer.json", "weights.safetensors", "metrics.jsonl", "learning_curve.png"}
    assert any((path / "tensorboard").iterdir())


def test_metrics_are_under_the_keys_of_stable_baselines3(trained_run: Any) -> None:
    keys = {key for line in RunFolder.open(trained_run.path).metrics() for key in line}
    assert keys >= {"step", "rollout/ep_rew_mean", "rollout/success_rate", "time/fps", "train/loss"}


def test_the_trained_agent_is_evaluated_and_talks(pyagent_command: Run, trained_run: Any) -> None:
    result = pyagent_command("eval", trained_run.path, "--episodes", 8)
    assert result.exit_code == 0, result.output
    figures = json.loads((trained_run.path / "evaluation.json").read_text())
    final = figures["results"][figures["level"]]["final"]
    assert f"{sum(final['successes']) / 8:.3f}" in result.stdout.split("agent ")[-1]
    said = pyagent_command("chat", trained_run.path, input="go to the red ball . you see a red ball 1 step forward .")
    assert "0 unknown" in said.stdout


def test_ctrl_c_saves_and_resuming_ends_as_if_nothing_had_happened(
    pyagent_command: Run, trained_run: Any, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    command = [
        sys.executable,
        "-c",
        "from pyagent.cli import main; main()",
        "train",
        "--tiny",
        "--run-folder",
        str(path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        while "demonstrations" not in training.stdout.readline():
            pass
        training.send_signal(signal.SIGINT)
        shown = training.stdout.read()
    assert training.returncode == 130
    assert shown.splitlines()[-1] == f"saved; go on with: pyagent train --resume {path}"
    result = pyagent_command("train", "--resume", path)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == trained_run.result.stdout.splitlines()[-1]
    assert (path / "evaluation.json").read_bytes() == (trained_run.path / "evaluation.json").read_bytes()
    assert (path / "weights.safetensors").read_bytes() == (trained_run.path / "weights.safetensors").read_bytes()


def test_a_run_is_not_overwritten(pyagent_command: Run, trained_run: Any) -> None:
    result = pyagent_command("train", "--run-folder", trained_run.path)
    assert result.exit_code == 1
    assert f"--resume {trained_run.path}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("NoSuchLevel",), "none of the tasks"),
        (("--resume", "no/run"), "no run at"),
        (("--resume", "{run}", "--seed", "1"), "the run's own settings hold"),
        (("GoToLocal", "--resume", "{run}"), "the run's own settings hold"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    pyagent_command: Run, trained_run: Any, arguments: tuple[str, ...], told: str
) -> None:
    result = pyagent_command("train", *(argument.format(run=trained_run.path) for argument in arguments))
    assert result.exit_code == 1
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_new_run_gets_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = []
    for _ in range(2):
        folder, config = new_run("GoToLocal", 3, None)
        names.append(folder.path.as_posix())
    assert names == ["runs/GoToLocal-seed3", "runs/GoToLocal-seed3-2"]
    assert (config.level, config.seed) == ("pyagent/GoToLocal-v0", 3)
    assert config.easier_level != config.level
