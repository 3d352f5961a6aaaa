"""Steps a second beside Stable-Baselines3-contrib's RecurrentPPO, TorchRL and a CleanRL-style loop, learning included.

    python -m benchmarks.learning.throughput --out results/throughput

All on one POPGym task with the same network (an LSTM of 128 shared by policy and value, then two tanh layers of 64 for
each), 64 environments, rollouts of 64 steps, the same epochs and minibatches, one thread, one process, in turns; the
fastest of the rounds counts, in seconds of the processor: other work on the machine is no part of it. "Without the
environment" subtracts what the peer's own vector environment costs with random actions. Then every learner learns until
its last 100 episodes reach a mark. Needs `pip install popgym sb3-contrib torchrl`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from pyagent import PPO
from pyagent.info import facts

from .cleanrl_loop import CleanRLLoop
from .memory_tasks import lanes, maker

TASK = "RepeatPreviousEasy"
ENVS, STEPS = 64, 64
ROLLOUT = ENVS * STEPS
LEARNING_RATE = 1e-3
SETTINGS = ((4, 1024), (10, 1024), (10, 128))  # epochs and minibatch; the last are SB3-contrib's defaults


class Pyagent:
    """Our PPO."""

    def __init__(self, epochs: int, minibatch: int, precision: str = "float32") -> None:
        self.env = lanes(TASK, ENVS)
        self.learner = PPO(
            self.env,
            n_steps=STEPS,
            batch_size=minibatch,
            n_epochs=epochs,
            learning_rate=LEARNING_RATE,
            target_kl=None,
            precision=precision,
        )

    def learn(self, steps: int, reached: Callable[[float], bool] = lambda mean: False) -> None:
        def ask(learner: PPO) -> bool:
            return not (learner.recent and reached(float(np.mean([reward for reward, *_ in learner.recent]))))

        self.learner.learn(steps, ask)

    def environment_seconds(self, steps: int) -> float:
        return _vector_env_seconds(self.env, steps)


class StableBaselines3:
    """RecurrentPPO of sb3-contrib."""

    def __init__(self, epochs: int, minibatch: int) -> None:
        from sb3_contrib import RecurrentPPO
        from stable_baselines3.common.env_util import make_vec_env

        self.env = make_vec_env(maker(TASK), n_envs=ENVS)
        network = {"lstm_hidden_size": 128, "net_arch": {"pi": [64, 64], "vf": [64, 64]}}
        network |= {"shared_lstm": True, "enable_critic_lstm": False}
        self.learner = RecurrentPPO(
            "MlpLstmPolicy",
            self.env,
            n_steps=STEPS,
            batch_size=minibatch,
            n_epochs=epochs,
            ent_coef=0.01,
            learning_rate=LEARNING_RATE,
            policy_kwargs=network,
            seed=0,
        )

    def learn(self, steps: int, reached: Callable[[float], bool] = lambda mean: False) -> None:
        from stable_baselines3.common.callbacks import BaseCallback

        class Ask(BaseCallback):
            def _on_step(self) -> bool:
                buffer = self.model.ep_info_buffer
                return not (buffer and reached(float(np.mean([episode["r"] for episode in buffer]))))

        self.learner.learn(steps, callback=Ask(), reset_num_timesteps=False)

    def environment_seconds(self, steps: int) -> float:
        actions = [np.array([self.env.action_space.sample() for _ in range(ENVS)]) for _ in range(steps // ENVS)]
        self.env.reset()
        began = time.process_time()
        for action in actions:
            self.env.step(action)
        return time.process_time() - began


class TorchRL:
    """The loop that TorchRL's users write from its parts."""

    def __init__(self, epochs: int, minibatch: int) -> None:
        from .torchrl_loop import TorchRLLoop

        env = SyncVectorEnv([maker(TASK)] * ENVS, autoreset_mode=AutoresetMode.DISABLED)
        self.learner = TorchRLLoop(env, STEPS, epochs, minibatch // STEPS, LEARNING_RATE)

    def learn(self, steps: int, reached: Callable[[float], bool] = lambda mean: False) -> None:
        self.learner.learn(steps, reached)

    def environment_seconds(self, steps: int) -> float:
        began = time.process_time()
        self.learner.env.rollout(steps // ENVS, break_when_any_done=False)
        seconds = time.process_time() - began
        self.learner.collector.reset()  # it does not know of this
        return seconds


class CleanRL:
    """The loop that CleanRL's users write, over time in Python."""

    def __init__(self, epochs: int, minibatch: int) -> None:
        self.env = lanes(TASK, ENVS)
        self.learner = CleanRLLoop(self.env, STEPS, epochs, minibatch // STEPS, LEARNING_RATE)

    def learn(self, steps: int, reached: Callable[[float], bool] = lambda mean: False) -> None:
        self.learner.learn(steps, reached)

    def environment_seconds(self, steps: int) -> float:
        return _vector_env_seconds(self.env, steps)


def _vector_env_seconds(env: SyncVectorEnv, steps: int) -> float:
    actions = [env.action_space.sample() for _ in range(steps // ENVS)]
    env.reset()
    began = time.process_time()
    for action in actions:
        env.step(action)
    return time.process_time() - began


def speeds(epochs: int, minibatch: int, rounds: int) -> list[dict[str, Any]]:
    """Seconds a rollout of every contender, with and without its environment."""
    contenders: dict[str, Any] = {
        "pyagent": Pyagent(epochs, minibatch),
        "pyagent, bfloat16": Pyagent(epochs, minibatch, "bfloat16"),
        "SB3-contrib RecurrentPPO": StableBaselines3(epochs, minibatch),
        "TorchRL": TorchRL(epochs, minibatch),
        "CleanRL's loop": CleanRL(epochs, minibatch),
    }
    fastest = {name: [np.inf, np.inf] for name in contenders}
    for each in contenders.values():
        each.learn(ROLLOUT)
    for _ in range(rounds):
        for name, each in contenders.items():
            began = time.process_time()
            each.learn(2 * ROLLOUT)
            fastest[name][0] = min(fastest[name][0], (time.process_time() - began) / 2)
            fastest[name][1] = min(fastest[name][1], each.environment_seconds(ROLLOUT))
    return [
        {"contender": name, "epochs": epochs, "minibatch": minibatch, "seconds": whole, "environment": environment}
        for name, (whole, environment) in fastest.items()
    ]


def time_to(mark: float, epochs: int, minibatch: int, most: int) -> list[dict[str, Any]]:
    """Wall time until the last 100 training episodes have a mean of `mark`, or None."""
    found = []
    for kind in (Pyagent, StableBaselines3, TorchRL, CleanRL):
        seen: list[float] = []
        contender = kind(epochs, minibatch)
        began = time.process_time()
        contender.learn(most, lambda mean: seen.append(mean) or mean >= mark)  # noqa: B023  (called at once)
        seconds = time.process_time() - began
        found.append({"contender": kind.__name__, "mark": mark, "seconds": seconds, "reached": seen[-1] >= mark})
    return found


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: steps a second, and ours over each peer's."""
    lines = [
        "| epochs, minibatch | contender | steps/s | of pyagent's time | without the environment |",
        "|---|---|---|---|---|",
    ]
    for row in results:
        ours = next(
            r
            for r in results
            if r["contender"] == "pyagent" and r["epochs"] == row["epochs"] and r["minibatch"] == row["minibatch"]
        )
        inner = (row["seconds"] - row["environment"]) / (ours["seconds"] - ours["environment"])
        lines.append(
            f"| {row['epochs']}, {row['minibatch']} | {row['contender']} | {ROLLOUT / row['seconds']:,.0f} | "
            f"{row['seconds'] / ours['seconds']:.2f} × | {inner:.2f} × |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/throughput"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mark", type=float, default=0.9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = [row for epochs, minibatch in SETTINGS for row in speeds(epochs, minibatch, arguments.rounds)]
    print(table(results), flush=True)
    marks = time_to(arguments.mark, 4, 1024, 600_000)
    for row in marks:
        print(f"{row['contender']}: {row['seconds']:.0f} s{'' if row['reached'] else ', not reached'}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    written = {"machine": facts(), "task": TASK, "speeds": results, "time_to": marks}
    (arguments.out / "throughput.json").write_text(json.dumps(written, indent=1), encoding="utf-8")
    (arguments.out / "throughput.md").write_text(table(results), encoding="utf-8")


if __name__ == "__main__":
    main()
