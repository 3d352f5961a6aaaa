import numpy
import torch

import pyagent
from pyagent import info, native


def test_facts_and_report_agree():
    known, text = info.facts(), info.report()
    assert known["versions"]["torch"] == torch.__version__
    assert known["isa_in_use"] == native.isa()
    assert known["threads"] == torch.get_num_threads()
    assert set(known["backends"]) == {"cpu", "cuda", "triton"}
    for name, state in known["backends"].items():
        assert f"{name:<10} {'ready' if state['ready'] else 'not ready'}" in text
    for expected in (pyagent.__version__, numpy.__version__, torch.__version__, *native.supported_isas()):
        assert expected in text


def test_a_backend_is_ready_or_says_why_not():
    for name, state in info.facts()["backends"].items():
        assert state["ready"] != bool(state["why"]), name
    assert info.facts()["backends"]["cpu"]["ready"]
