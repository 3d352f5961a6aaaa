"""The one training loop: act, observe, learn."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from pyagent.learning.progress import ProgressBar

Callback = Callable[[Any], "bool | None"]
"""called with the learner after every update; False ends learning"""


class Learns(Protocol):
    """What the loop drives."""

    num_timesteps: int
    finished: bool

    def act(self) -> Any:
        """Decide what to try next."""
        ...

    def observe(self, choice: Any) -> int:
        """See what comes of it; returns the timesteps that passed."""
        ...

    def ready(self) -> bool:
        """Whether enough was seen to learn from."""
        ...

    def update(self) -> dict[str, float]:
        """Learn from it; returns figures to log, if there are any."""
        ...

    def log(self, figures: dict[str, float]) -> None:
        """Writes figures."""
        ...


def run_loop(
    learner: Learns, total_timesteps: int, callback: Callback | None = None, progress: ProgressBar | None = None
) -> None:
    """Runs until `total_timesteps` more have passed (the last update is completed), the learner has finished, or the
    callback returns False."""
    first, began = learner.num_timesteps, time.perf_counter()
    while learner.num_timesteps - first < total_timesteps and not learner.finished:
        while not learner.ready():
            learner.num_timesteps += learner.observe(learner.act())
        figures = learner.update()
        done = learner.num_timesteps - first
        speed = {"time/fps": done / (time.perf_counter() - began)}
        if figures:
            learner.log(figures | speed)
        if progress is not None:
            progress.show(done, figures | speed)
        if callback is not None and callback(learner) is False:
            return
