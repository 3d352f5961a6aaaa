"""`pyagent train`: which run, and what the terminal shows of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from pyagent.learning.main_job_config import MainJobConfig
    from pyagent.learning.main_job_report import MainJobResult
    from pyagent.learning.run_folder import RunFolder

INTERRUPTED = 130  # what a shell says of a command that Ctrl-C ended
EASIEST_LEVEL = "pyagent/GoToObj-v0"


def new_run(
    level: str | None, seed: int | None, path: Path | None, tiny: bool = False
) -> tuple[RunFolder, MainJobConfig]:
    """A folder for a new run and its settings: the main job's, with `level` and `seed` where they are given.

    Raises:
        ValueError: no such level, or the folder holds a run already.
    """
    from pyagent.envs.tasks import find_task
    from pyagent.learning.main_job_config import MainJobConfig
    from pyagent.learning.run_folder import RunFolder

    config = MainJobConfig.tiny() if tiny else MainJobConfig()
    if level is not None:
        config = replace(config, level=find_task(level).id)
        if config.level == config.easier_level:
            config = replace(config, easier_level=EASIEST_LEVEL)
    if seed is not None:
        config = replace(config, seed=seed)
    if path is not None and (path / "config.json").exists():
        raise ValueError(f"--run-folder: {path} holds a run; go on with it by --resume {path}")
    return RunFolder(_unused_path(config) if path is None else path), config


def resumed_run(path: Path) -> tuple[RunFolder, MainJobConfig]:
    """The folder and the settings of a run that was begun.

    Raises:
        FileNotFoundError: there is no run.
    """
    from pyagent.learning.main_job_config import MainJobConfig
    from pyagent.learning.run_folder import RunFolder

    folder = RunFolder.open(path)
    return folder, MainJobConfig.from_json(folder.read_config())


def train_run(folder: RunFolder, config: MainJobConfig, control: bool, console: Console) -> int:
    """Do the job and show what came of it; returns the exit status."""
    from pyagent.learning import main_job

    console.print(f"run folder: {folder.path}", highlight=False, soft_wrap=True)
    try:
        result = main_job.run(
            config,
            folder,
            control=control,
            progress=console.is_terminal,
            announce=lambda line: console.print(line, highlight=False, markup=False),
        )
    except KeyboardInterrupt:
        saved = "saved" if folder.has_checkpoint else "interrupted before there was anything to save"
        command = f"pyagent train --resume {folder.path}" + (" --control" if control else "")
        console.print(f"{saved}; go on with: {command}", highlight=False, soft_wrap=True)
        return INTERRUPTED
    _show(result, folder, console)
    return 0


def _show(result: MainJobResult, folder: RunFolder, console: Console) -> None:
    from pyagent.evaluation import evaluation_table

    for level, agents in result.results.items():
        console.print(evaluation_table(agents, title=level))
    for name, difference in result.differences().items():
        line = f"success, {name}: {difference.format(sign=True)} (paired by seed, 95 % interval)"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for label, name in (("learning curve", folder.learning_curve_path.name), ("table", "table.md")):
        console.print(f"{label}: {folder.path / name}", highlight=False, soft_wrap=True)
    console.print(f"talk with it: pyagent chat {folder.path}", highlight=False, soft_wrap=True)
    console.print(result.summary(), highlight=False, soft_wrap=True)


def _unused_path(config: MainJobConfig) -> Path:
    """runs/<level>-seed<n>, with a number behind it where that is taken."""
    name = config.level.removeprefix("pyagent/").removesuffix("-v0")
    first = Path("runs") / f"{name}-seed{config.seed}"
    numbered = (first if number == 1 else first.with_name(f"{first.name}-{number}") for number in count(1))
    return next(path for path in numbered if not path.exists())
