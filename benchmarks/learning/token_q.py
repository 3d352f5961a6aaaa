"""Offline from logs of little skill: token-level Q-learning beside behaviour cloning of the same logs.

    python -m benchmarks.learning.token_q                  # the ticket desk
    python -m benchmarks.learning.token_q --task GoToLocal # any go-to level of BabyAI

Each of three seeds has logs, weights and draws of its own; every learner of a seed learns from the same log for the
same number of responses, and is evaluated on the same episodes, which no log holds. Written to ``--out``: the table as
JSON and Markdown, and the curve as PNG.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.learning.logged_games import logged_games
from benchmarks.learning.ticket_desk import TicketDesk, conversations
from pyagent import info
from pyagent.envs import evaluation_seeds
from pyagent.evaluation import evaluate_seeds, mean_interval, plot_learning_curve
from pyagent.learning import TokenQ
from pyagent.learning.seeding import torch_seed

CLONING, SAMPLED, BEST, UNSTEERED, STEERED = NAMES = (
    "behaviour cloning, likeliest words",
    "behaviour cloning, words drawn",
    "behaviour cloning of the best fifth",
    "TokenQ, β = 0",
    "TokenQ, steered",
)


@dataclass(frozen=True)
class Task:
    """What is played, what was logged of it, and what is learned with."""

    env: object
    """what `evaluate_seeds` plays"""
    learner_env: object
    """what names the actions, if there are numbered ones"""
    logs: object
    """seed → episodes, successes"""
    seeds: range
    """of the episodes of an evaluation"""
    responses: int
    """to learn from, counted as often as they come up"""
    keywords: dict
    """of TokenQ"""


def ticket_desk(log_episodes, seeds):
    keywords = {"gamma": 0.99, "expectile": 0.9, "cql_alpha": 0.003, "q_coef": 10.0, "tau": 0.05, "beta": 16.0}
    keywords |= {"batch_size": 64, "learning_rate": 3e-3}
    return Task(TicketDesk, None, lambda seed: conversations(log_episodes or 4000, seed), seeds, 150_000, keywords)


def babyai(level, log_episodes, seeds):
    keywords = {"gamma": 0.95, "expectile": 0.8, "cql_alpha": 0.005, "q_coef": 10.0, "tau": 0.03, "beta": 32.0}
    keywords |= {"batch_size": 128, "learning_rate": 3e-3, "cell": "gru", "embedding_dim": 32, "hidden_size": 64}
    env = f"pyagent/{level}-v0"
    return Task(env, env, lambda seed: logged_games(level, log_episodes or 3000, seed), seeds, 400_000, keywords)


def best_fifth(log):
    """The fifth of the episodes that earned most."""
    earned = [sum(reward for _, _, reward in episode) for episode in log]
    return [log[number] for number in np.argsort(earned, kind="stable")[::-1][: len(log) // 5]]


def learn(task, log, seed, responses, points, ways, **keywords):
    """Learns, and plays now and then; returns {way: [(responses so far, statistics)]} for `ways`, {way: (β or None for
    the task's own, deterministic)}."""
    learner = TokenQ(task.learner_env, log, seed=seed, **task.keywords | keywords)
    own = learner.agent.beta
    curves = {way: [] for way in ways}
    for point in range(1, points + 1):
        learner.learn(max(responses * point // points - learner.num_timesteps, 0))
        for way, (beta, deterministic) in ways.items():
            learner.agent.beta = own if beta is None else beta
            with torch_seed(seed):
                played = evaluate_seeds(learner.agent, task.env, task.seeds, deterministic=deterministic)
            curves[way].append((learner.num_timesteps, played))
        learner.agent.beta = own
    return curves


def run_seed(task, seed, responses, points):
    """{learner's name: [(responses so far, statistics)]} of one seed, and what its log holds."""
    log, successes = task.logs(seed)
    earned = [sum(reward for _, _, reward in episode) for episode in log]
    began = perf_counter()
    curves = learn(task, log, seed, responses, points, {CLONING: (0.0, True), SAMPLED: (0.0, False)}, q_coef=0.0)
    curves |= learn(task, best_fifth(log), seed, responses, points, {BEST: (0.0, True)}, q_coef=0.0)
    cloned = perf_counter()
    curves |= learn(task, log, seed, responses, points, {UNSTEERED: (0.0, True), STEERED: (None, True)})
    seconds = {"cloning": cloned - began, "TokenQ": perf_counter() - cloned}
    logged = {"episodes": len(log), "success": float(np.mean(successes)), "reward": float(np.mean(earned))}
    return curves, logged | {"seconds with evaluation": seconds}


def table(runs, logs):
    """Markdown and what it says as a dict: every figure the mean of the seeds with its 95 % t interval."""
    lines = ["| learner | success at the end | highest on the way | reward at the end | success of each seed |"]
    lines += ["|---|---:|---:|---:|---|"]
    figures = {"the log itself": {"success": [[log["success"] for log in logs]]}}
    figures["the log itself"]["reward"] = [[log["reward"] for log in logs]]
    for name in NAMES:
        points = list(zip(*(run[name] for run in runs), strict=True))
        figures[name] = {
            "responses": [float(np.mean([step for step, _ in seeds])) for seeds in points],
            "success": [[played.success_rate.value for _, played in seeds] for seeds in points],
            "reward": [[float(played.rewards.mean()) for _, played in seeds] for seeds in points],
        }
    for name, figure in figures.items():
        success, reward = figure["success"], figure["reward"]
        highest = max(float(np.mean(seeds)) for seeds in success)
        each = ", ".join(f"{one:.3f}" for one in success[-1])
        lines.append(
            f"| {name} | {mean_interval(success[-1])} | {highest:.3f} | {mean_interval(reward[-1])} | {each} |"
        )
    for other in (CLONING, SAMPLED, BEST):
        gain = np.subtract(figures[STEERED]["success"][-1], figures[other]["success"][-1])
        lines += ["", f"Steered less {other}, success, paired by seed: {mean_interval(gain).format(sign=True)}."]
    return "\n".join(lines) + "\n", figures


def curve_lines(figures):
    """Mean success of the seeds as lines of metrics."""
    for name in NAMES:
        for step, seeds in zip(figures[name]["responses"], figures[name]["success"], strict=True):
            yield {"step": step, name: float(np.mean(seeds))}


def write(folder, name, task, responses, runs, logs):
    """The table as JSON and Markdown, and the curve."""
    markdown, figures = table(runs, logs)
    print(markdown)
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"token_q_{name.lower()}"
    facts = info.facts()
    record = {fact: facts[fact] for fact in ("versions", "isa_in_use", "threads")} | {"task": name, "logs": logs}
    record |= {"responses": responses, "evaluation episodes": len(task.seeds), "keywords": task.keywords}
    stem.with_suffix(".json").write_text(json.dumps(record | {"results": figures}, indent=2, ensure_ascii=False) + "\n")
    stem.with_suffix(".md").write_text(markdown)
    axis = {"x_label": "responses learned from", "y_label": "success rate, mean of the seeds"}
    plot_learning_curve(curve_lines(figures), stem.with_suffix(".png"), keys=NAMES, title=name, **axis)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="desk", help="desk, or a go-to level of BabyAI (GoToLocal)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--log-episodes", type=int, default=0, help="episodes of each log")
    parser.add_argument("--responses", type=int, default=0, help="responses to learn from, repeats counted")
    parser.add_argument("--points", type=int, default=5, help="evaluations on the way")
    parser.add_argument("--episodes", type=int, default=300, help="episodes of an evaluation")
    parser.add_argument("--out", type=Path, default=Path("docs/learners"))
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=NUMBER", help="keywords of TokenQ")
    asked = parser.parse_args()
    sizes = asked.log_episodes, evaluation_seeds(asked.episodes)
    task = ticket_desk(*sizes) if asked.task == "desk" else babyai(asked.task, *sizes)
    for one in asked.set:
        key, value = one.split("=")
        task.keywords[key] = json.loads(value)
    responses = asked.responses or task.responses
    runs, logs = [], []
    for seed in range(asked.seeds):
        curves, logged = run_seed(task, seed, responses, asked.points)
        runs.append(curves)
        logs.append(logged)
        print(seed, logged, {name: f"{points[-1][1].success_rate}" for name, points in curves.items()}, flush=True)
    write(asked.out, asked.task, task, responses, runs, logs)


if __name__ == "__main__":
    main()
