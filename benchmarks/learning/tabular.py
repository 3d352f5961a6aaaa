"""TabularQ with its defaults on gymnasium's toy text environments: does it find an optimal policy, and how soon?

    python benchmarks/learning/tabular.py [FOLDER] [--seeds 3]

The environments tell their transition probabilities, so nothing is sampled to judge a policy: its expected return is
computed, within the environment's time limit, and compared with that of the policy that value iteration finds with the
learner's discount. Prints a table with 95 % intervals over seeds; writes tabular.json and tabular.png into FOLDER.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import gymnasium as gym
import numpy as np
from matplotlib.figure import Figure

from pyagent import TabularQ
from pyagent.evaluation import mean_interval
from pyagent.files import write_atomically

TASKS = {"Taxi-v4": 300_000, "FrozenLake-v1": 300_000, "CliffWalking-v1": 100_000}
MOST_SECONDS = 10
POINTS = 50
LONGEST = 1000  # steps, where the environment sets no limit


@dataclass(frozen=True)
class Model:
    """An environment's transitions: probability, next state, reward and end of the K outcomes of a pair, [S, A, K]."""

    probability: np.ndarray
    next_state: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    start: np.ndarray
    horizon: int

    @classmethod
    def of(cls, env_id: str) -> Model:
        env = gym.make(env_id)
        table = env.unwrapped.P
        S, A = len(table), len(table[0])
        K = max(len(table[s][a]) for s in range(S) for a in range(A))
        impossible = (0.0, 0, 0.0, True)
        outcomes = np.array(
            [
                [
                    [tuple(map(float, one)) for one in table[s][a]] + [impossible] * (K - len(table[s][a]))
                    for a in range(A)
                ]
                for s in range(S)
            ]
        )
        probability, next_state, reward, terminated = np.moveaxis(outcomes, -1, 0)
        start = np.asarray(env.unwrapped.initial_state_distrib)
        horizon = env.spec.max_episode_steps or LONGEST
        return cls(probability, next_state.astype(np.int64), reward, terminated.astype(bool), start, horizon)

    def backup(self, value: np.ndarray, gamma: float) -> np.ndarray:
        """Values [S, A] of one step and what follows it."""
        return (self.probability * (self.reward + gamma * value[self.next_state] * ~self.terminated)).sum(-1)

    def optimal_policy(self, gamma: float) -> np.ndarray:
        value = np.zeros(len(self.start))
        while True:
            q = self.backup(value, gamma)
            change, value = np.abs(q.max(1) - value).max(), q.max(1)
            if change < 1e-12:
                return q.argmax(1)

    def expected_return(self, policy: np.ndarray) -> float:
        """Undiscounted, of an episode within the time limit."""
        value = np.zeros(len(self.start))
        for _ in range(self.horizon):
            value = self.backup(value, 1.0)[np.arange(len(value)), policy]
        return float(self.start @ value)


def train(env_id: str, model: Model, seed: int) -> dict:
    """One run: the greedy policy's expected return as it goes; seconds by the clock and on the processor, without those
    of judging it."""
    steps, judging = TASKS[env_id], np.zeros(2)
    curve: list[tuple[int, float]] = []

    def judge(learner: TabularQ) -> None:
        if learner.num_timesteps * POINTS < (len(curve) + 1) * steps:
            return
        began = _now()
        policy = learner.action_values(np.arange(len(learner.q_table))).argmax(1)
        curve.append((learner.num_timesteps, model.expected_return(policy)))
        judging[:] += _now() - began

    began = _now()
    TabularQ(env_id, seed=seed).learn(steps, callback=judge)
    seconds, cpu_seconds = (_now() - began - judging).tolist()
    return {"seed": seed, "seconds": seconds, "cpu_seconds": cpu_seconds, "return": curve[-1][1], "curve": curve}


def _now() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


def draw(results: dict[str, dict], path: Path) -> None:
    figure = Figure(figsize=(11, 3.5), dpi=120, layout="constrained")
    for axes, (env_id, result) in zip(figure.subplots(1, len(results)), results.items(), strict=True):
        for run in result["runs"]:
            axes.plot(*zip(*run["curve"], strict=True), label=f"seed {run['seed']}", linewidth=1)
        axes.axhline(result["optimum"], color="black", linestyle="--", linewidth=1, label="optimal policy")
        spread = max(abs(result["optimum"]), 1.0)
        axes.set(title=env_id, xlabel="environment steps", ylabel="expected return of the greedy policy")
        axes.set_ylim(min(result["optimum"] - 3 * spread, 0), result["optimum"] + 0.3 * spread)
        axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    picture = BytesIO()
    figure.savefig(picture, format="png")
    write_atomically(path, picture.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build/benchmarks/learning"))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    results = {}
    print("| task | steps | seconds, slowest (processor) | optimal policy | greedy policy [95 %] | worst seed | |")
    print("|---|---|---|---|---|---|---|")
    for env_id, steps in TASKS.items():
        model = Model.of(env_id)
        optimum = model.expected_return(model.optimal_policy(gamma=0.99))
        runs = [train(env_id, model, seed) for seed in range(options.seeds)]
        reached = [run["return"] for run in runs]
        seconds, cpu_seconds = (max(run[clock] for run in runs) for clock in ("seconds", "cpu_seconds"))
        met = min(reached) >= optimum - 1e-9 and seconds <= MOST_SECONDS
        results[env_id] = {"steps": steps, "optimum": optimum, "met": met, "runs": runs}
        row = [
            env_id,
            f"{steps:,}",
            f"{seconds:.1f} ({cpu_seconds:.1f})",
            f"{optimum:.4f}",
            mean_interval(reached).format(4),
        ]
        print("| " + " | ".join([*row, f"{min(reached):.4f}", "met" if met else "missed"]) + " |", flush=True)
    write_atomically(options.folder / "tabular.json", json.dumps(results, indent=1).encode())
    draw(results, options.folder / "tabular.png")


if __name__ == "__main__":
    main()
