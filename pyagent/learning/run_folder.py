"""The folder of a run: what it was asked, what it has learned, and where it stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pyagent.files import load_weights, save_weights, write_atomically
from pyagent.learning.checkpoint import load_checkpoint, save_checkpoint
from pyagent.learning.logger import Logger, read_metrics


class RunFolder:
    """A folder with the files of one run, each of which is replaced whole or, as metrics are, appended line by line.

    - `config.json`: the settings
    - `tokenizer.json`: the tokenizer, written by the tokenizer itself
    - `weights.safetensors`: the trained weights
    - `checkpoint.safetensors`: all that resuming needs, in one file so that no crash can mix two moments
    - `metrics.jsonl`: one JSON object a line, each with `step`
    - `tensorboard/`: the same figures as TensorBoard events
    - `evaluation.json`, `table.md`, `learning_curve.png`: written by who evaluates

    Args:
        path: the folder, made if it is not there. Temporary files that a crash left in it are removed.

    Raises:
        NotADirectoryError: `path` is a file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise NotADirectoryError(f"path: want a folder, got the file {self.path}")
        self.path.mkdir(parents=True, exist_ok=True)
        for left_over in self.path.glob(".*.tmp"):
            left_over.unlink(missing_ok=True)

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run.

        Raises:
            FileNotFoundError: there is no folder at `path`, or it holds no `config.json`.
        """
        if not (Path(path) / "config.json").is_file():
            raise FileNotFoundError(f"no run at {path}: a run folder holds a config.json")
        return cls(path)

    @property
    def tokenizer_path(self) -> Path:
        return self.path / "tokenizer.json"

    @property
    def weights_path(self) -> Path:
        return self.path / "weights.safetensors"

    @property
    def checkpoint_path(self) -> Path:
        return self.path / "checkpoint.safetensors"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def tensorboard_path(self) -> Path:
        return self.path / "tensorboard"

    @property
    def learning_curve_path(self) -> Path:
        return self.path / "learning_curve.png"

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write `<name>.json`.

        Raises:
            TypeError: `content` holds what JSON cannot.
        """
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        write_atomically(self.path / f"{name}.json", text.encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """Read `<name>.json`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not a JSON object.
        """
        target = self.path / f"{name}.json"
        if not target.is_file():
            raise FileNotFoundError(f"no {target.name} in {self.path}")
        try:
            content = json.loads(target.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{target} is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise ValueError(f"{target}: want a JSON object, got a {type(content).__name__}")
        return content

    def write_text(self, name: str, text: str) -> None:
        """Write a text file such as `table.md`."""
        write_atomically(self.path / name, text.encode())

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the settings."""
        self.write_json("config", config)

    def read_config(self) -> dict[str, Any]:
        """Read the settings."""
        return self.read_json("config")

    def save_weights(self, weights: dict[str, torch.Tensor]) -> None:
        """Write a `state_dict` under its own names."""
        save_weights(self.weights_path, weights)

    def load_weights(self) -> dict[str, torch.Tensor]:
        """Read the `state_dict`, on the CPU.

        Raises:
            FileNotFoundError: none was written.
        """
        return load_weights(self.weights_path)

    @property
    def has_checkpoint(self) -> bool:
        return self.checkpoint_path.is_file()

    def save_checkpoint(self, tree: dict[str, Any]) -> None:
        """Replace the checkpoint by `tree`: nested dicts, lists and tuples of tensors, arrays, numbers and strings."""
        save_checkpoint(self.checkpoint_path, tree)

    def load_checkpoint(self) -> dict[str, Any]:
        """Read the checkpoint, tensors on the CPU.

        Raises:
            FileNotFoundError: none was written.
            ValueError: the file is not a checkpoint.
        """
        return load_checkpoint(self.checkpoint_path)

    def logger(self, *, tensorboard: bool = True, after: int | None = None) -> Logger:
        """A logger that appends to this run; `after` is the step of the checkpoint that the run resumes from."""
        return Logger(self.metrics_path, self.tensorboard_path if tensorboard else None, after=after)

    def metrics(self) -> list[dict[str, Any]]:
        """All whole lines of metrics so far."""
        return list(read_metrics(self.metrics_path))
