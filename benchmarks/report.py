"""The report of a run: one HTML file with its charts inside, and the table of targets in Markdown.

`python -m pyagent.benchmarks.report RESULTS.json FOLDER` writes it from what `--benchmark-json` wrote; `pyagent bench`
does so itself.
"""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from . import charts
from .records import Record, Run, read_run
from .targets import table

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { padding: .2rem .7rem; text-align: left; }
th { border-bottom: 2px solid #999; } td { border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums; }
.met { color: #0b6e4f; font-weight: 600; } .missed { color: #c44536; font-weight: 600; } img { max-width: 100%; }
"""
_CASE_HEADER = [
    "case",
    "ours, ms",
    "peer",
    "its, ms",
    "ratio",
    "rounds' quartiles",
    "GFLOP/s",
    "of torch.mm",
    "of FMA",
    "MB moved",
    "peak MB, ours / torch",
]


class Report(NamedTuple):
    html: Path
    markdown: Path


def write_report(results: Path, folder: Path) -> Report:
    """Write `report.html`, `report.md` and the charts of a run into a folder.

    Raises:
        ValueError: `results` is not a finished run of this suite.
    """
    run = read_run(results)
    drawn = charts.draw(run, folder / "charts")
    report = Report(folder / "report.html", folder / "report.md")
    report.markdown.write_text(markdown(run))
    report.html.write_text(_html(run, drawn))
    return report


def machine_lines(run: Run) -> list[str]:
    """Where and what: processor, versions, threads, peaks, commit, and peers that were not there."""
    first = run.machine[0]
    versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items())
    lines = [
        f"{run.processor}, processors usable: {first['processors']}, {first['isa']} in use, {first['system']}",
        f"{versions}; commit {run.commit}" + ("; a --quick run: few shapes, few rounds" if run.quick else ""),
    ]
    for machine in run.machine:
        peaks = ", ".join(f"{name} {peak:.0f}" for name, peak in machine["gflops"].items() if peak)
        count = machine["threads"]
        lines.append(
            f"{count} thread{'s' * (count > 1)}; peaks in GFLOP/s: {peaks}; memory {machine['copy_gb_s']:.0f} GB/s"
        )
    cases = len(run.records)
    lines += [f"{name}, in {count} of {cases} cases: {why}" for (name, why), count in sorted(run.absent().items())]
    return lines


def markdown(run: Run) -> str:
    """The table of targets, and the machine it was measured on."""
    header, *rows = table(run.records)
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", *(f"- {line}" for line in machine_lines(run)), ""])


def _case_rows(records: Sequence[Record]) -> list[list[str]]:
    rows = [_CASE_HEADER]
    for record in records:
        own = [record.label, f"{record['ours_s'] * 1e3:.3f}"]
        speed = [
            _number(record["gflops"], ".1f"),
            _number(record["share_of_peak"], ".2f"),
            _number(record["share_of_fma"], ".2f"),
            _number(record["bytes"] and record["bytes"] / 1e6, ".2f"),
            "–"
            if not record["memory"]
            else f"{record['memory']['ours'] / 1e6:.1f} / {record['memory']['peer'] / 1e6:.1f}",
        ]
        for name, it in record["peers"].items():
            low, high = it["quartiles"]
            peer = [name, f"{it['seconds'] * 1e3:.3f}", f"{it['ratio']:.2f}", f"{low:.2f}–{high:.2f}"]
            rows.append([*own, *peer, *speed])
            own, speed = ["", ""], [""] * len(speed)
    return rows


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _html(run: Run, drawn: dict[str, Path]) -> str:
    parts = ["<h1>pyagent benchmarks</h1>", "<p>", "<br>".join(map(escape, machine_lines(run))), "</p>"]
    parts += ["<h2>Targets</h2>", _html_table(table(run.records))]
    if run.speeds:
        parts.append(
            _html_table([["steps a second", ""], *([name, f"{speed:,}"] for name, speed in run.speeds.items())])
        )
    parts += [_picture(drawn[title], title) for title in ("roofline", "scaling") if title in drawn]
    for group, records in run.groups().items():
        parts += [f"<h2>{escape(group)}</h2>", _picture(drawn[group], group), _html_table(_case_rows(records))]
    body = "\n".join(parts)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>pyagent benchmarks</title>'
        f"<style>{_STYLE}</style><body>\n{body}\n</body></html>\n"
    )


def _html_table(rows: Sequence[Sequence[str]]) -> str:
    header, *body = rows
    lines = ["<table><tr>", *(f"<th>{_cell(text)}</th>" for text in header), "</tr>"]
    for row in body:
        cells = (f'<td class="{text}">' if text in ("met", "missed") else "<td>" for text in row)
        lines.append(
            "<tr>" + "".join(f"{tag}{_cell(text)}</td>" for tag, text in zip(cells, row, strict=True)) + "</tr>"
        )
    return "\n".join([*lines, "</table>"])


def _cell(text: str) -> str:
    return escape(text.replace("`", ""))


def _picture(path: Path, title: str) -> str:
    data = b64encode(path.read_bytes()).decode()
    return f'<p><img alt="{escape(title)}" src="data:image/png;base64,{data}"></p>'


if __name__ == "__main__":
    for path in write_report(Path(sys.argv[1]), Path(sys.argv[2])):
        print(path)
