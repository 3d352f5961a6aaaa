"""Runs interpreted/ where Triton interprets: a process of its own, because that is decided when Triton is imported.

One file of it: TRITON_INTERPRET=1 python -m pytest -m rung tests/gpu/triton/interpreted/test_td_loss.py
"""

import re


def test_kernels_interpreted(request, interpreted):
    process, output = interpreted
    process.wait()
    text = output.read_text()
    assert process.returncode == 0, text
    request.node.user_properties.append(("cases", int(re.findall(r"(\d+) passed", text)[-1])))
