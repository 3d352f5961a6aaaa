"""A progress bar with steps a second and success so far."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any


class ProgressBar:
    """One line on the terminal while a learner runs.

    Args:
        total: timesteps to come.
        label: what runs.

    Raises:
        ImportError: rich is not installed.
    """

    shown = (("rollout/success_rate", "success"), ("eval/loss", "held-out loss"), ("eval/accuracy", "accuracy"))

    def __init__(self, total: int, label: str) -> None:
        try:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
        except ImportError as error:
            raise ImportError("a progress bar needs rich: pip install 'pyagent[train]'") from error
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:>9,.0f} steps"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        self._progress = Progress(*columns)
        self._task = self._progress.add_task(label, total=total, figures="")
        self._last: dict[str, float] = {}

    def show(self, done: int, figures: Mapping[str, Any]) -> None:
        """Moves the bar to `done` timesteps; figures that an update does not tell keep what they were."""
        self._last |= {key: value for key, value in figures.items() if value is not None}
        told = [f"{self._last['time/fps']:,.0f} steps/s"] if "time/fps" in self._last else []
        told += [f"{name} {self._last[key]:.3f}" for key, name in self.shown if key in self._last]
        self._progress.update(self._task, completed=done, figures=" · ".join(told))

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
