"""The report's charts, drawn from a run's records with matplotlib (no display needed)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from .records import Record, Run

OURS = "#0b6e4f"
OTHERS = ("#c44536", "#3d5a80", "#e09f3e", "#7b5ea7", "#6c757d", "#1b998b", "#d36ba6", "#8c564b", "#9aa831", "#4aa3df")
INCHES_A_BAR = 0.17
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True}


def draw(run: Run, folder: Path) -> dict[str, Path]:
    """PNG files by title, in the order in which a report shows them; only those there are records for."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, Path] = {}
    with matplotlib.rc_context(STYLE):
        for group, records in run.groups().items():
            figure = efficiency(records) if group == "kernel efficiency" else ratios(records)
            drawn[group] = _save(figure, folder / f"{group.replace(' ', '_')}.png")
        if counted := [record for record in run.records if record["flops"] and record["bytes"]]:
            drawn["roofline"] = _save(roofline(counted, run.machine[0]), folder / "roofline.png")
        if scaled := scaling(run.groups()):
            drawn["scaling"] = _save(scaled, folder / "scaling.png")
    return drawn


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=110, bbox_inches="tight")
    return path


def _bars(records: Sequence[Record], bars: int) -> tuple[Figure, Axes]:
    """Axes for horizontal bars, the first record on top."""
    figure = Figure(figsize=(8, 0.9 + INCHES_A_BAR * len(records) * (bars + 1)))
    axes = figure.subplots()
    axes.set_yticks(range(len(records)), [record.label for record in records])
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    return figure, axes


def ratios(records: Sequence[Record]) -> Figure:
    """How many times faster than each peer: a bar for the fastest rounds, a whisker for the rounds' quartiles."""
    kinds = {_kind(name): None for record in records for name in record["peers"]}
    figure, axes = _bars(records, len(kinds))
    height = 0.8 / len(kinds)
    for i, (kind, colour) in enumerate(zip(kinds, _colours(len(kinds)), strict=True)):
        places, values, low, high = [], [], [], []
        for place, record in enumerate(records):
            for name, it in record["peers"].items():
                if _kind(name) == kind:
                    places.append(place + (i - (len(kinds) - 1) / 2) * height)
                    values.append(it["ratio"])
                    low.append(max(0.0, it["ratio"] - it["quartiles"][0]))
                    high.append(max(0.0, it["quartiles"][1] - it["ratio"]))
        lengths = [value - 1 for value in values]  # from the line where both are equally fast
        axes.barh(places, lengths, height, 1, xerr=(low, high), color=colour, error_kw={"lw": 0.8}, label=kind)
        for place, value, more in zip(places, values, high, strict=True):
            axes.annotate(
                f"{value:.2f}", (max(1.0, value + more), place), (3, 0), textcoords="offset points", va="center"
            )
    axes.axvline(1, color="black", lw=0.8)
    axes.set_xscale("log")
    ticks = [tick for tick in (0.25, 0.5, 1, 2, 3, 5, 10, 20, 50, 100) if _within(tick, axes)]
    axes.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("peer's time ÷ ours (right of the line: ours is faster)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(kinds), frameon=False)
    return figure


def efficiency(records: Sequence[Record]) -> Figure:
    """FLOP/s of the recurrence over those of torch.mm in the same rounds."""
    figure, axes = _bars(records, 1)
    values = [record["gflops"] / record["peer_gflops"] for record in records]
    bars = axes.barh(range(len(records)), values, color=OURS)
    axes.bar_label(
        bars,
        [f"{value:.2f}  ({record['gflops']:.0f} GFLOP/s)" for value, record in zip(values, records, strict=True)],
        padding=3,
    )
    axes.axvline(1, color="black", lw=0.8)
    axes.set_xlabel("recurrent GEMM FLOP/s, packing and gates included ÷ torch.mm's")
    return figure


def roofline(records: Sequence[Record], machine: dict[str, Any]) -> Figure:
    """Speed over arithmetic intensity, ours filled and the first peer hollow, under what the machine can do."""
    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    groups = list({record.group: None for record in records})
    for group, colour in zip(groups, _colours(len(groups)), strict=True):
        own = [record for record in records if record.group == group]
        intensity = [record["flops"] / record["bytes"] for record in own]
        axes.scatter(intensity, [record["gflops"] for record in own], s=22, color=colour, label=group)
        timed = [record for record in own if record["peer_gflops"] and group != "kernel efficiency"]
        axes.scatter(
            [record["flops"] / record["bytes"] for record in timed],
            [record["flops"] / record["peer_s"] / 1e9 for record in timed],
            s=22,
            facecolors="none",
            edgecolors=colour,
        )
    every = [record["flops"] / record["bytes"] for record in records]
    low, high = min(every) / 2, max(every) * 2
    bandwidth = machine["copy_gb_s"]
    bf16 = any(record["dtype"] == "bfloat16" for record in records)
    peaks = {name: peak for name, peak in machine["gflops"].items() if peak and (bf16 or "bf16" not in name)}
    top = max(peaks.values())
    for name, peak in peaks.items():
        axes.plot([max(low, peak / bandwidth), high], [peak, peak], color="black", lw=0.8)
        above = peak == top
        text = {"ha": "right", "va": "bottom" if above else "top", "fontsize": 8, "textcoords": "offset points"}
        axes.annotate(f"{name}: {peak:.0f}", (high, peak), (0, 2 if above else -2), **text)
    ends = (low, max(low, min(high, top / bandwidth)))
    axes.plot(ends, [x * bandwidth for x in ends], color="black", lw=0.8, ls="--")
    text = {"fontsize": 8, "textcoords": "offset points", "rotation": 40, "ha": "left"}
    axes.annotate(f"memory: {bandwidth:.0f} GB/s", (low, low * bandwidth), (4, 12), **text)
    axes.set(xscale="log", yscale="log", xlabel="FLOPs ÷ bytes that must move", ylabel="GFLOP/s")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, title="ours filled, the peer hollow")
    return figure


def scaling(groups: dict[str, list[Record]]) -> Figure | None:
    """Speed over B, T, H and threads, ours and each peer's; None where nothing was scaled."""
    panels = {axis: [it for it in groups.get("scaling", ()) if it["axis"] == axis] for axis in "BTH"}
    panels = {axis: records for axis, records in panels.items() if records}
    threads = groups.get("threads", [])
    if not panels and not threads:
        return None
    figure = Figure(figsize=(3.6 * (len(panels) + bool(threads)), 3.2), layout="constrained")
    every = list(figure.subplots(1, len(panels) + bool(threads), squeeze=False)[0])
    for axes, (axis, records) in zip(every, panels.items(), strict=False):
        fixed = ", ".join(f"{name} = {records[0][name]}" for name in "BTH" if name != axis)
        lines: dict[str, list[tuple[int, float]]] = {}
        for record in records:
            positions = record["B"] * record["T"]
            lines.setdefault("pyagent", []).append((record[axis], positions / record["ours_s"]))
            for name, it in record["peers"].items():
                lines.setdefault(_kind(name), []).append((record[axis], positions / it["seconds"]))
        for (name, points), colour in zip(lines.items(), (OURS, *_colours(len(lines) - 1)), strict=True):
            axes.plot(*zip(*points, strict=True), marker="o", ms=4, color=colour, label=name)
        axes.set(xscale="log", yscale="log", xlabel=f"{axis}   ({fixed})", ylabel="trained tokens a second")
        sizes = [record[axis] for record in records]
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.3)
    if panels:
        every[0].legend(frameon=False)
    if threads:
        _threads_panel(every[-1], threads)
    return figure


def _threads_panel(axes: Axes, records: Sequence[Record]) -> None:
    """Speed of two threads over that of one, a line a case, ours and torch.nn's."""
    for record in records:
        times = {name: it["seconds"] for name, it in record["peers"].items()}
        one, *theirs = times.values()
        axes.plot([1, 2], [1, one / record["ours_s"]], marker="o", ms=4, color=OURS, alpha=0.7)
        if len(theirs) == 2:
            axes.plot([1, 2], [1, theirs[0] / theirs[1]], marker="o", ms=4, color=OTHERS[0], alpha=0.4)
    axes.plot([1, 2], [1, 2], color="black", lw=0.8, ls="--")
    axes.set(
        xlabel="threads", ylabel="times faster than one thread", xticks=[1, 2], title="green: pyagent, red: torch.nn"
    )
    axes.grid(alpha=0.3)


def _kind(name: str) -> str:
    """A peer's name without the cell, so that cells share a colour."""
    for cell in ("RNN", "GRU", "LSTM"):
        name = name.replace(f"nn.{cell}", "torch.nn")
    return name.replace("nn.Embedding + torch.nn", "torch.nn")


def _colours(count: int) -> list[str]:
    return [OTHERS[i % len(OTHERS)] for i in range(count)]


def _within(tick: float, axes: Axes) -> bool:
    low, high = axes.get_xlim()
    return low <= tick <= high
