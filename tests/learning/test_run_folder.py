"""A run folder keeps what it is given, survives torn files, and reopens where it stood."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from pyagent.learning.run_folder import RunFolder


def test_a_run_is_written_and_opened_again(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "runs" / "one")
    run.write_config({"level": "GoToLocal", "seed": 3, "name": "ü"})
    run.save_weights({"w": torch.ones(2)})
    run.save_checkpoint({"step": 5, "w": torch.ones(2)})
    run.write_text("table.md", "| a |\n")
    again = RunFolder.open(tmp_path / "runs" / "one")
    assert again.read_config() == {"level": "GoToLocal", "seed": 3, "name": "ü"}
    assert again.load_weights()["w"].tolist() == [1, 1]
    assert again.has_checkpoint
    assert again.load_checkpoint()["step"] == 5
    names = {file.name for file in run.path.iterdir()}
    assert names == {"config.json", "weights.safetensors", "checkpoint.safetensors", "table.md"}


def test_opening_what_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no run at"):
        RunFolder.open(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError, match="want a folder"):
        RunFolder(tmp_path / "file")
    run = RunFolder(tmp_path / "empty")
    assert not run.has_checkpoint
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        run.load_checkpoint()
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        run.read_config()


def test_a_config_that_is_not_json_is_named(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not JSON"):
        run.read_config()
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="want a JSON object"):
        run.read_config()


def test_what_a_crash_left_behind_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.safetensors.0123.tmp").write_bytes(b"half")
    (tmp_path / "notes.tmp").write_text("the user's own")
    RunFolder(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.tmp"]


def test_each_line_of_metrics_is_on_disk_at_once(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.logger(tensorboard=False) as logger:
        logger.record("train/loss", torch.tensor(0.5))
        logger.record("rollout/success_rate", np.float32(0.25))
        logger.record("eval/mean_reward", math.nan)
        for reward in (1, 2, 6):
            logger.record_mean("rollout/ep_rew_mean", reward)
        logger.dump(10)
        (line,) = run.metrics()
        assert line.pop("seconds") >= 0
        assert line == {
            "step": 10,
            "train/loss": 0.5,
            "rollout/success_rate": 0.25,
            "eval/mean_reward": None,
            "rollout/ep_rew_mean": 3.0,
        }
        logger.record_mean("rollout/ep_rew_mean", 7)
        logger.dump(20)
        assert run.metrics()[1]["rollout/ep_rew_mean"] == 7
        assert "train/loss" not in run.metrics()[1]


def test_a_torn_last_line_is_left_out_and_not_run_into(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.metrics_path.write_text('{"step": 1, "a": 1}\n{"step": 2, "a"')
    assert run.metrics() == [{"step": 1, "a": 1}]
    with run.logger(tensorboard=False) as logger:
        logger.record("a", 3)
        logger.dump(3)
    assert [(line["step"], line["a"]) for line in run.metrics()] == [(1, 1), (3, 3)]


def test_a_broken_line_before_the_last_is_an_error(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.metrics_path.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(ValueError, match="line 2 is not JSON"):
        run.metrics()


def test_resuming_drops_the_steps_after_the_checkpoint(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.logger(tensorboard=False) as logger:
        for step in (1, 2, 3):
            logger.record("a", step)
            logger.dump(step)
    with run.logger(tensorboard=False, after=2) as logger:
        logger.record("a", 30)
        logger.dump(3)
    assert [(line["step"], line["a"]) for line in run.metrics()] == [(1, 1), (2, 2), (3, 30)]


def test_tensorboard_shows_the_same_figures(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = RunFolder(tmp_path)
    with run.logger() as logger:
        logger.record("rollout/ep_rew_mean", 0.75)
        logger.record("note", "text")
        logger.dump(7)
    events = EventAccumulator(str(run.tensorboard_path)).Reload()
    (scalar,) = events.Scalars("rollout/ep_rew_mean")
    assert (scalar.step, scalar.value) == (7, 0.75)
    assert json.loads(run.metrics_path.read_text())["rollout/ep_rew_mean"] == 0.75
