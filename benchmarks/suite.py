"""Run the suite in a process of its own and write its report: what `pyagent bench` and `make bench` do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

SUITE = Path(__file__).parent
EXTRAS = "pip install 'pyagent[train,bench]'"
_PYTEST_OPTIONS = (
    "--import-mode=importlib",
    "--strict-markers",
    "-pno:cacheprovider",
    "-rs",  # says why something was skipped
    "--benchmark-only",
    "--benchmark-quiet",  # the suite prints its own summary
    "--benchmark-autosave",
)


class Finished(NamedTuple):
    """pytest's exit status, and the files of the report, none where nothing was timed."""

    status: int
    written: tuple[Path, ...]


def run(folder: Path, options: Sequence[str] = ()) -> Finished:
    """Time everything; `results.json`, the report and its charts go into `folder`, and a copy by commit into `saved`.

    Args:
        folder: made if it is not there; the report of an earlier run in it is replaced.
        options: of pytest, or of this suite (conftest.py).

    Raises:
        ImportError: pytest-benchmark or matplotlib is not installed.
    """
    try:
        import pytest_benchmark  # noqa: F401

        from .report import write_report
    except ModuleNotFoundError as error:
        raise ImportError(f"the benchmarks need {error.name}: {EXTRAS}") from error
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / "results.json"
    results.unlink(missing_ok=True)
    # No configuration but this: where the user stands, a project of theirs may have its own.
    command = [sys.executable, "-m", "pytest", str(SUITE), "-c", os.devnull, f"--rootdir={SUITE}", *_PYTEST_OPTIONS]
    command += [f"--benchmark-json={results}", f"--benchmark-storage=file://{folder / 'saved'}", *options]
    status = subprocess.run(command).returncode
    return Finished(status, tuple(write_report(results, folder)) if results.exists() else ())
