"""Starts the process that runs interpreted/, beside the tests here: the ladder is for two cores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).with_name("interpreted")


@pytest.fixture(scope="session", autouse=True)
def interpreted(request, tmp_path_factory):
    """The process and what it has written; None where nobody asks, as in that process itself."""
    if not any(item.path.name == "test_interpreted.py" for item in request.session.items):
        yield None
        return
    output = tmp_path_factory.mktemp("interpreted") / "output"
    command = [sys.executable, "-m", "pytest", "-q", "-m", "rung", str(FOLDER)]
    with output.open("w") as file:
        settings = {"stdout": file, "stderr": subprocess.STDOUT, "env": os.environ | {"TRITON_INTERPRET": "1"}}
        process = subprocess.Popen(command, cwd=request.config.rootpath, **settings)
        yield process, output
        process.kill()
