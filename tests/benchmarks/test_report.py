"""What a run writes: records, the table of targets, charts, and one HTML file that needs no other."""

from __future__ import annotations

import json
import re
from base64 import b64decode

import pytest

from pyagent.benchmarks.peers import NAMES
from pyagent.benchmarks.records import read_run
from pyagent.benchmarks.report import markdown
from pyagent.benchmarks.targets import TARGETS, Target

PNG = b"\x89PNG\r\n"


def test_every_case_passes_its_verification(tiny_run):
    assert tiny_run.status == 0


def test_every_case_is_recorded_with_its_parameters(tiny_run):
    groups = tiny_run.run.groups()
    assert {"acting", "recurrent training", "dense training", "recurrent inference", "kernel efficiency"} <= set(groups)
    (acting,) = groups["acting"]
    assert [acting[name] for name in ("cell", "B", "H", "threads", "dtype")] == ["LSTM", 1, 128, 1, "float32"]
    assert acting.label == "LSTM-H128-B1"
    for record in tiny_run.run.records:
        assert record["ours_s"] > 0
        assert record["gflops"] == pytest.approx(record["flops"] / record["ours_s"] / 1e9)
        assert record["share_of_peak"] > 0
        for it in record["peers"].values():
            assert it["ratio"] == pytest.approx(it["seconds"] / record["ours_s"])
            assert 0 < it["quartiles"][0] <= it["quartiles"][1]


def test_every_peer_is_compared_or_named_with_a_reason(tiny_run):
    groups = tiny_run.run.groups()
    for group in ("acting", "recurrent training", "recurrent training with resets", "recurrent inference"):
        for record in groups[group]:
            assert record["peers"].keys() | record["absent"].keys() >= set(NAMES.values()), record.name
            assert not record["peers"].keys() & record["absent"].keys()
            assert all(record["absent"].values())
    (training,) = groups["recurrent training"]
    assert training["absent"]["ONNX Runtime"]


def test_memory_is_recorded_of_token_and_dense_training(tiny_run):
    for group in ("recurrent training", "dense training"):
        (record,) = tiny_run.run.groups()[group]
        assert record["memory"]["ours"] > record["T"] * record["B"] * record["H"] * 4


def test_html_holds_its_charts(tiny_run):
    text = (tiny_run.folder / "report.html").read_text()
    pictures = re.findall(r'src="([^"]*)"', text)
    assert len(pictures) == len(tiny_run.run.groups()) + len({"roofline", "scaling"})
    for picture in pictures:
        head, data = picture.split(",", 1)
        assert head == "data:image/png;base64"
        assert b64decode(data).startswith(PNG)
    assert "href=" not in text
    for record in tiny_run.run.records:
        assert record.label in text


def test_markdown_has_a_row_for_every_target_and_names_the_machine(tiny_run):
    text = (tiny_run.folder / "report.md").read_text()
    assert text == markdown(tiny_run.run)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == len(TARGETS) + 1
    verdicts = {row.split("|")[-2].strip() for row in rows[1:]}
    assert verdicts <= {"met", "missed", "not measured", "no target"}
    (bf16,) = [row for row in rows if "bf16 training" in row and "fp32" in row]
    skipped = "bf16 training" not in tiny_run.run.groups()
    assert ("not measured" in bf16) == skipped
    for fact in ("torch 2.", "1 thread", "torch.mm fp32", "in use", tiny_run.run.processor):
        assert fact in text


def test_a_target_takes_the_mean_and_the_worst(tiny_run):
    records = tiny_run.run.records
    ratios = [record["ratio"] for record in records]
    product = 1.0
    for ratio in ratios:
        product *= ratio
    mean = product ** (1 / len(ratios))
    measure = lambda record: record["ratio"]  # noqa: E731
    reached = Target("", "", measure, mean * 0.999, min(ratios)).reached(records)
    assert reached.mean == pytest.approx(mean)
    assert reached.worst == min(ratios)
    assert reached.met
    assert not Target("", "", measure, mean * 1.001).reached(records).met
    assert not Target("", "", measure, None, min(ratios) * 1.001).reached(records).met
    assert Target("", "", measure, mean * 1.001, max(ratios), at_most=True).reached(records).met
    assert not Target("", "", measure, mean * 0.999, at_most=True).reached(records).met
    assert Target("", "", lambda record: None, 1.0).reached(records) is None


@pytest.mark.parametrize("text", ["", "{}", "[]", json.dumps({"pyagent": {}, "machine_info": {}})])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="no run of pyagent's benchmarks"):
        read_run(path)
