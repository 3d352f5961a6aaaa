"""Figures of a run, written as JSON lines and TensorBoard events under Stable-Baselines3's keys."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyagent.files import write_atomically


class Logger:
    """Collects figures with `record` and writes them with `dump`, as Stable-Baselines3's logger does.

    Args:
        metrics: file of JSON lines to append to, or None. Each line is flushed when written.
        tensorboard: folder of TensorBoard events, or None.
        after: continue a run at this step: lines of later steps are dropped from the file and hidden in TensorBoard.
            None keeps every whole line.

    Raises:
        ImportError: `tensorboard` is asked for and not installed.
    """

    def __init__(
        self, metrics: str | Path | None = None, tensorboard: str | Path | None = None, *, after: int | None = None
    ) -> None:
        self.name_to_value: dict[str, Any] = {}
        self._counts: dict[str, int] = {}
        self._writer = None if tensorboard is None else _event_writer(tensorboard, after)
        if metrics is not None:
            _drop_lines_after(Path(metrics), after)
        self._file = None if metrics is None else open(metrics, "a", encoding="utf-8")  # noqa: SIM115
        self._start = time.monotonic()

    def record(self, key: str, value: Any) -> None:
        """Set a figure: a number, a string, a bool or None, or a tensor or array with one element."""
        self.name_to_value[key] = value.item() if hasattr(value, "item") else value
        self._counts.pop(key, None)

    def record_mean(self, key: str, value: Any) -> None:
        """Set a figure to the mean of all values recorded so since the last dump."""
        number = float(value)
        seen = self._counts.get(key, 0)
        mean = self.name_to_value[key] if seen else 0.0
        self.name_to_value[key] = mean + (number - mean) / (seen + 1)
        self._counts[key] = seen + 1

    def dump(self, step: int = 0) -> None:
        """Write all figures recorded since the last dump as one line, with `step` and the seconds since the start."""
        if self._file is not None:
            line = {"step": int(step), "seconds": round(time.monotonic() - self._start, 3)}
            line |= {key: _strict(value) for key, value in self.name_to_value.items()}
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
            self._file.flush()
        if self._writer is not None:
            for key, value in self.name_to_value.items():
                if isinstance(value, (bool, int, float)):
                    self._writer.add_scalar(key, float(value), step)
                elif isinstance(value, str):
                    self._writer.add_text(key, value, step)
            self._writer.flush()
        self.name_to_value.clear()
        self._counts.clear()

    def close(self) -> None:
        """Close the files; what was not dumped is lost."""
        if self._file is not None:
            self._file.close()
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> Logger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_metrics(path: str | Path) -> Iterator[dict[str, Any]]:
    """The lines of a metrics file; a torn last line (the writer died in it) is left out.

    Raises:
        ValueError: a line other than the last is not JSON; its number is named.
    """
    target = Path(path)
    if not target.exists():
        return
    lines = target.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise ValueError(f"{target} line {number} is not JSON: {error}") from error


def _drop_lines_after(path: Path, step: int | None) -> None:
    """Rewrite the file without a torn last line, which the next line would run into, and without later steps."""
    if not path.exists():
        return
    kept = [line for line in read_metrics(path) if step is None or line.get("step", 0) <= step]
    wanted = "".join(json.dumps(line) + "\n" for line in kept).encode()
    if wanted != path.read_bytes():
        write_atomically(path, wanted)


def _strict(value: Any) -> Any:
    """JSON knows no NaN and no infinity: they become null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _event_writer(folder: str | Path, after: int | None) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError("TensorBoard logs need tensorboard: pip install 'pyagent[train]'") from error
    return SummaryWriter(str(folder), purge_step=None if after is None else after + 1)
