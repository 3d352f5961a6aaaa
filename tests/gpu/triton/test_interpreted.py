"""Runs interpreted/ where Triton interprets: a process of its own, because that is decided when Triton is imported.

One file of it: TRITON_INTERPRET=1 python -m pytest -m rung tests/gpu/triton/interpreted/test_td_loss.py
"""

import os
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).with_name("interpreted")


def test_kernels_interpreted(request):
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "rung", str(FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=request.config.rootpath)
    assert done.returncode == 0, done.stdout + done.stderr
    request.node.user_properties.append(("cases", int(re.findall(r"(\d+) passed", done.stdout)[-1])))
