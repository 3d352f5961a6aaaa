"""The order of calls, the spread, the number of rounds; and that a peer that is wrong is not timed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from pyagent.benchmarks.comparison import Effort, ratio_facts
from pyagent.benchmarks.problem import Problem
from pyagent.benchmarks.recurrent import Data, assert_near, assert_same, ours, torch_nn

ORDER = """
from pyagent.benchmarks.comparison import Comparison, Effort
from pyagent.benchmarks.machine import Machine

def test_order(benchmark):
    order = []
    compare = Comparison(benchmark, {}, Effort(0.0, 4, 4), Machine(1))
    calls = {name: (lambda name=name: order.append(name)) for name in "oab"}
    compare(calls["o"], calls["a"], "a", peers={"b": calls["b"]})
    warm, timed = order[:6], "".join(order[6:])
    assert warm == list("oaboab")
    assert [timed[i : i + 3].replace("a", "p").replace("b", "p") for i in range(0, 12, 3)] == ["ppo", "opp"] * 2
    assert {timed.replace("o", "")[i : i + 2] for i in range(0, 8, 2)} == {"ab", "ba"}
    assert benchmark.extra_info["peers"].keys() == {"a", "b"}
    assert len(benchmark.stats.stats.data) == 4
"""


def test_ours_and_peers_go_first_by_turns(tmp_path):
    path = tmp_path / "test_order.py"
    path.write_text(ORDER)
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, f"--rootdir={tmp_path}", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


def test_ratio_is_of_the_fastest_and_the_spread_of_the_rounds():
    facts = ratio_facts([1.0, 2.0, 4.0], [3.0, 4.0, 4.0])
    assert facts["seconds"] == 3.0
    assert facts["ratio"] == 3.0
    assert facts["quartiles"] == [1.0, 3.0]


def test_rounds_fill_the_time_within_limits():
    effort = Effort(seconds=1.0, fewest_rounds=3, most_rounds=50)
    assert [effort.rounds(seconds) for seconds in (0.0, 0.01, 0.1, 10.0)] == [50, 50, 10, 3]


@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize(("tokens", "p_reset"), [(True, 0.0), (True, 0.3), (False, 0.0)])
def test_contenders_agree_and_a_wrong_one_is_found(cell, tokens, p_reset):
    data = Data(Problem(cell, 3, 5, 7, tokens, p_reset))
    mine, theirs = ours(data), torch_nn(data)
    assert_same(mine, theirs)
    assert_near(mine, theirs, 1e-5)
    mine.train()  # nudges the weight by 1e-6
    with torch.no_grad():
        mine._weight_hh[0, 0] += 0.01
    with pytest.raises(AssertionError):
        assert_same(mine, theirs)
    with pytest.raises(AssertionError, match="relative error"):
        assert_near(mine, theirs, 1e-6)


def test_inputs_rotate_weights_change_and_gradients_start_anew():
    data = Data(Problem("GRU", 2, 3, 5))
    contender = torch_nn(data)
    before = data.reference.state_dict()["rnn.weight_hh_l0"].clone()
    outputs = [contender.infer() for _ in range(5)]
    assert all(not torch.equal(outputs[0], other) for other in outputs[1:4])
    torch.testing.assert_close(outputs[4], outputs[0], atol=1e-4, rtol=1e-4)  # the first input again
    assert not torch.equal(outputs[4], outputs[0])  # on other weights
    torch.testing.assert_close(contender._weight_hh, before + 5e-6, atol=1e-7, rtol=0)
    first = contender.results()
    second = contender.results()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
