"""CartPole and POPGym's memory tasks, with constructor defaults: PPO and RecurrentDQN, three seeds each; a peer too.

    python -m benchmarks.learning.memory --out results/memory

Each run is one process's one thread: `--steps` environment steps, then 30 episodes with the most probable action.
Writes memory.json (curves and episodes), memory.md (the table, 95 % intervals over seeds) and a curve a task. Needs
`pip install popgym`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyagent import PPO, RecurrentDQN, evaluate_policy
from pyagent.evaluation import mean_interval
from pyagent.info import facts

from . import stable_baselines3
from .memory_tasks import TASKS, lanes

LEARNERS = {"PPO": PPO, "RecurrentDQN": RecurrentDQN}
PEER = "SB3-contrib RecurrentPPO"
STEPS = {("CartPole-v1", "PPO"): 150_000, ("CartPole-v1", "RecurrentDQN"): 450_000}
MARKS = {"CartPole-v1": 475.0, "RepeatFirstEasy": 0.95, "RepeatPreviousEasy": 0.95}


def run(task: str, learner_name: str, seed: int, steps: int) -> dict[str, Any]:
    """One run: its curve, its evaluation, its seconds."""
    if learner_name == PEER:
        return stable_baselines3.run(task, seed, steps)
    learner = LEARNERS[learner_name](lanes(task), seed=seed)
    curve: list[tuple[int, float, float]] = []
    began = time.perf_counter()

    def note(learner: Any) -> None:
        if learner.recent and (not curve or learner.num_timesteps - curve[-1][0] >= steps // 100):
            mean = float(np.mean([reward for reward, *_ in learner.recent]))
            curve.append((learner.num_timesteps, time.perf_counter() - began, mean))

    learner.learn(steps, note)
    seconds = time.perf_counter() - began
    rewards, _ = evaluate_policy(learner, lanes(task, 30), 30, return_episode_rewards=True)
    return {
        "task": task,
        "learner": learner_name,
        "seed": seed,
        "steps": learner.num_timesteps,
        "seconds": seconds,
        "rewards": rewards,
        "curve": curve,
    }


def seconds_to(run: dict[str, Any], mark: float) -> float | None:
    """When the mean of the last 100 training episodes first reached a mark."""
    return next((seconds for _, seconds, mean in run["curve"] if mean >= mark), None)


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown: a row for each task and learner."""
    lines = ["| task | learner | mark | mean of 30 episodes, each seed | mean (95 %) | steps | seconds a run |"]
    lines.append("|---|---|---|---|---|---|---|")
    for task, learner in dict.fromkeys((run["task"], run["learner"]) for run in runs):
        some = [run for run in runs if (run["task"], run["learner"]) == (task, learner)]
        means = [float(np.mean(run["rewards"])) for run in some]
        mean = mean_interval(means)
        seconds = [run["seconds"] for run in some]
        mark = f"≥ {MARKS[task]:g}" if task in MARKS else "–"
        each = ", ".join(f"{one:.3g}" for one in means)
        lines.append(
            f"| {task} | {learner} | {mark} | {each} | {mean.value:.3g} ({mean.low:.3g} … {mean.high:.3g}) | "
            f"{some[0]['steps']:,} | {min(seconds):.0f}–{max(seconds):.0f} |"
        )
    return "\n".join(lines) + "\n"


def draw(runs: list[dict[str, Any]], task: str, path: Path) -> None:
    """Mean episode reward over steps: a line a seed, a colour a learner."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for number, learner in enumerate((*LEARNERS, PEER)):
        for run in runs:
            if (run["task"], run["learner"]) == (task, learner):
                steps, _, means = zip(*run["curve"], strict=True)
                axes.plot(steps, means, color=f"C{number}", label=f"{learner}, seed {run['seed']}", alpha=0.8)
    axes.set(title=task, xlabel="environment steps", ylabel="mean reward of the last 100 episodes")
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/memory"))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--learners", nargs="+", default=list(LEARNERS), choices=[*LEARNERS, PEER])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of every run; the table's own if left out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    runs: list[dict[str, Any]] = []
    for task in arguments.tasks:
        for learner in arguments.learners:
            for seed in range(arguments.seeds):
                steps = arguments.steps or STEPS.get((task, learner), 400_000)
                runs.append(run(task, learner, seed, steps))
                mean, seconds = float(np.mean(runs[-1]["rewards"])), runs[-1]["seconds"]
                print(f"{task} {learner} seed {seed}: {mean:.3f} in {seconds:.0f} s", flush=True)
        draw(runs, task, arguments.out / f"{task}.png")
        written = {"machine": facts(), "runs": runs}
        (arguments.out / "memory.json").write_text(json.dumps(written, indent=1), encoding="utf-8")
        (arguments.out / "memory.md").write_text(table(runs), encoding="utf-8")
    print(table(runs))


if __name__ == "__main__":
    main()
