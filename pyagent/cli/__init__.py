"""The command line: `pyagent train | eval | chat | bench | tasks | info`."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the console script `pyagent`; without its extra it says what to install."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ModuleNotFoundError as error:
        sys.exit(f"the pyagent command needs {error.name}: pip install 'pyagent[train]'")
    from pyagent.cli.commands import app

    app()
