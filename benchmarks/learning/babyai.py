"""BabyAI as text: demonstrations of its bot, then reinforcement learning on the same weights, three seeds a level.

    python -m benchmarks.learning.babyai --out results/babyai

Each run is `pyagent train` on one level, with the easier GoToLocal in one lane of four, and greedy play on 512 levels
that training never sees. Writes a run's folder each, babyai.md (the table) and a learning curve a level.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyagent.evaluation import mean_interval, plot_learning_curve
from pyagent.info import facts
from pyagent.learning.main_job import run
from pyagent.learning.main_job_config import MainJobConfig
from pyagent.learning.main_job_report import MainJobResult
from pyagent.learning.run_folder import RunFolder

STEPS = {"PickupLoc": 589_824, "PutNextLocal": 294_912}
MARKS = {"GoToLocal": 0.95, "PickupLoc": 0.9}


@dataclass(frozen=True)
class Run:
    """One level learned with one seed."""

    level: str
    seed: int
    folder: RunFolder
    result: MainJobResult

    @classmethod
    def of(cls, level: str, seed: int, out: Path) -> Run:
        folder = RunFolder(out / f"{level}-{seed}")
        config = MainJobConfig(level=f"pyagent/{level}-v0", seed=seed, reinforcement_timesteps=STEPS[level])
        return cls(level, seed, folder, run(config, folder, announce=print))


def table(runs: Sequence[Run]) -> str:
    """Success of every agent of every run, in Markdown, and the mean of the final ones over seeds."""
    rows = ["| trained on | evaluated on | mark | seed | random | supervised | final | final − supervised |"]
    rows.append("|---|---|---|---|---|---|---|---|")
    evaluated = dict.fromkeys((one.level, level) for one in runs for level in one.result.results)
    for trained, level in evaluated:
        name = level.removeprefix("pyagent/").removesuffix("-v0")
        some = [one for one in runs if one.level == trained]
        for one in some:
            agents = one.result.results[level]
            rates = [str(agents[agent].success_rate) for agent in ("random", "supervised", "final")]
            gain = agents["final"].success_difference(agents["supervised"]).format(sign=True)
            cells = [trained, name, str(MARKS.get(name, "–")), str(one.seed), *rates, gain]
            rows.append("| " + " | ".join(cells) + " |")
        if len(some) > 1:
            mean = mean_interval([one.result.results[level]["final"].success_rate.value for one in some])
            rows.append(f"| {trained} | {name} | | mean | | | {mean} | |")
    return "\n".join(rows) + "\n"


def report(runs: Sequence[Run], out: Path) -> None:
    """Writes the table, the machine, and a curve for the level of the last run."""
    (out / "babyai.md").write_text(table(runs), encoding="utf-8")
    (out / "machine.json").write_text(json.dumps(facts(), indent=1) + "\n", encoding="utf-8")
    level = runs[-1].level
    ours = [one for one in runs if one.level == level]
    lines = [
        {"step": line["step"], f"seed {one.seed}": line.get("rollout/success_rate")}
        for one in ours
        for line in one.folder.metrics()
    ]
    keys = [f"seed {one.seed}" for one in ours]
    title = f"{level} and GoToLocal while learning, sampled actions"
    plot_learning_curve(lines, out / f"{level}.png", keys=keys, title=title, y_label="success")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--levels", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    runs: list[Run] = []
    for level in options.levels:
        for seed in options.seeds:
            runs.append(Run.of(level, seed, options.out))
            print(f"{level}, seed {seed}: {runs[-1].result.summary()}", flush=True)
            report(runs, options.out)
    print(table(runs))


if __name__ == "__main__":
    main()
