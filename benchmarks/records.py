"""A run's cases, read back from the JSON that pytest-benchmark wrote."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Record:
    """One timed case; `facts` is what `Comparison` noted (times in seconds)."""

    name: str
    group: str
    facts: dict[str, Any]

    def __getitem__(self, fact: str) -> Any:
        return self.facts.get(fact)

    @property
    def label(self) -> str:
        """The case's parameters, without the one thread that most have; the test's name where there are none."""
        test, _, case = self.name.partition("[")
        parameters = case.rstrip("]").removeprefix("1 thread").removeprefix("-")
        return parameters or test.removeprefix("test_").replace("_", " ")

    def ratio(self, peer: str | None = None) -> float | None:
        """The peer's time over ours; of the case's first peer, or of the first whose name holds `peer`."""
        if peer is None:
            return self["ratio"]
        return next((it["ratio"] for name, it in self["peers"].items() if peer in name), None)


@dataclass(frozen=True)
class Run:
    """Cases that were compared with a peer, speeds of those that were not, and where they ran."""

    records: list[Record]
    speeds: dict[str, int]
    machine: list[dict[str, Any]]
    processor: str
    commit: str
    quick: bool

    def absent(self) -> Counter[tuple[str, str]]:
        """In how many cases a peer that was asked for could not be compared, by its name and the reason."""
        return Counter(pair for record in self.records for pair in record["absent"].items())

    def groups(self) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {}
        for record in self.records:
            found.setdefault(record.group, []).append(record)
        return found


def read_run(path: Path) -> Run:
    """Read what `--benchmark-json` wrote.

    Raises:
        ValueError: the file is of another suite, or of a run of this one that was cut off.
    """
    try:
        saved = json.loads(path.read_text())
        ours, benchmarks = saved["pyagent"], saved["benchmarks"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: got no run of pyagent's benchmarks ({error!r})") from error
    commit = saved.get("commit_info", {})
    return Run(
        records=[
            Record(it["name"], it["group"] or "other", it["extra_info"])
            for it in benchmarks
            if "ratio" in it["extra_info"]
        ],
        speeds={
            it["name"]: it["extra_info"]["steps_per_second"]
            for it in benchmarks
            if "steps_per_second" in it["extra_info"]
        },
        machine=ours["machine"],
        processor=saved["machine_info"].get("cpu", {}).get("brand_raw") or saved["machine_info"]["processor"],
        commit=(commit.get("id") or "unknown")[:12] + (" with uncommitted changes" if commit.get("dirty") else ""),
        quick=ours["quick"],
    )
