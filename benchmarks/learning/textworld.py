"""Text games: taught by gold paths, then reinforcement learning, then the official test games.

    python -m benchmarks.learning.textworld --out results/textworld

For every game and seed: supervised learning on solutions of the 1,000 training games, recurrent PPO on the same
weights and games, and one episode on each of `--episodes` official test games, greedy and with sampled actions. Writes
textworld.json (every episode), textworld.md (the table) and a learning curve a game.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv

from pyagent import PPO, Supervised
from pyagent.envs import make_game, training_seeds
from pyagent.envs.gold_paths import gold_demonstrations
from pyagent.envs.wrappers import MarkTriedChoices, RenameUnknownWords
from pyagent.evaluation import EpisodeStatistics, evaluate_seeds, plot_learning_curve
from pyagent.learning.logger import Logger
from pyagent.text.choices import split_choices
from pyagent.text.unknown_words import UnknownWords, count_words

FIRST_TEST_SEED = 20_000
LANES = 64


@dataclass(frozen=True)
class Recipe:
    """How one game is learned."""

    mark: float
    """share of the maximum score that is asked for"""
    steps: int
    """of reinforcement learning"""
    n_steps: int = 64
    """of each lane between updates; a minibatch is a quarter of them all"""
    alpha: float = 0.0
    """how much is forgotten; see `UnknownWords`"""
    copies: int = 1
    """of each game's demonstration, with different words forgotten and different detours"""
    detours: float = 0.0
    """of demonstrations; see `gold_demonstrations`"""
    gamma: float = 0.95
    ent_coef: float = 0.002


RECIPES = {
    "CoinCollectorEasy": Recipe(0.95, 131_072),
    "CoinCollector": Recipe(0.95, 262_144),
    "TWCEasy": Recipe(0.9, 65_536, n_steps=32, alpha=25.0, copies=2, detours=0.3),
    "TWC": Recipe(0.9, 131_072, n_steps=32, alpha=25.0, copies=2, detours=0.3, gamma=0.98, ent_coef=0.01),
}


class RandomChoices:
    """Chooses uniformly among what each text offers."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)

    def predict(self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False):
        """Actions for a batch of texts; there is no memory."""
        return self._rng.integers([len(split_choices(text)[1]) or 1 for text in observation]), state


class Run:
    """One game learned with one seed."""

    def __init__(self, game: str, seed: int, episodes: int, out: Path) -> None:
        self.game, self.seed, self.episodes, self.out = game, seed, episodes, out
        self.recipe = RECIPES[game]
        self.id = f"pyagent/{game}-v0"
        self.results: dict[str, EpisodeStatistics] = {}
        self.seconds: dict[str, float] = {}

    def __call__(self) -> Run:
        solved = gold_demonstrations(self.id, 1000, self.seed, wrap=MarkTriedChoices)
        self.known = count_words([prompt for prompt, _ in episode] for episode in solved)
        agent = self._taught().agent
        self._evaluate("supervised", agent)
        learner = self._reinforced(agent)
        self._evaluate("reinforced", learner.agent)
        learner.agent.save(self.out / f"{self.game}-{self.seed}")
        return self

    def _taught(self) -> Supervised:
        began = time.process_time()
        recipe = self.recipe
        wrap = partial(self._wrapped, alpha=recipe.alpha, seed=self.seed)
        keywords: Any = {"wrap": wrap, "copies": recipe.copies, "detours": recipe.detours}
        told = gold_demonstrations(self.id, 1000, self.seed, **keywords)
        learner = Supervised(SyncVectorEnv([self._game]), demonstrations=told, seed=self.seed).learn(10**9)
        self.seconds["supervised"] = time.process_time() - began
        return learner

    def _reinforced(self, agent: Any) -> PPO:
        began = time.process_time()
        recipe = self.recipe
        lanes = [partial(self._game, training_seeds(self.seed, lane), recipe.alpha, lane) for lane in range(LANES)]
        learner = PPO(
            SyncVectorEnv(lanes),
            agent=agent,
            learning_rate=lambda remaining: 1e-3 * remaining,
            n_steps=recipe.n_steps,
            batch_size=LANES * recipe.n_steps // 4,
            n_epochs=3,
            gamma=recipe.gamma,
            ent_coef=recipe.ent_coef,
            value_warmup=4,
            seed=self.seed,
            logger=Logger(self._metrics_path(new=True)),
        ).learn(recipe.steps)
        self.seconds["reinforced"] = time.process_time() - began
        return learner

    def _game(self, seeds: Any = None, alpha: float = 0.0, lane: int = 0, fold: str = "train") -> RenameUnknownWords:
        return self._wrapped(make_game(self.id, seeds, fold=fold), alpha, lane)

    def _wrapped(self, game: Any, alpha: float, seed: int) -> RenameUnknownWords:
        return RenameUnknownWords(MarkTriedChoices(game), UnknownWords(self.known, alpha, seed=seed, names=16))

    def _evaluate(self, name: str, agent: Any) -> None:
        seeds = range(FIRST_TEST_SEED, FIRST_TEST_SEED + self.episodes)
        for how in ("greedy", "sampled"):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                env = partial(self._game, fold="test")
                played = evaluate_seeds(agent, env, seeds, deterministic=how == "greedy")
            self.results[f"{name}, {how}"] = played
            print(f"{self.game}, seed {self.seed}: {name}, {how}: score {played.mean_reward}", flush=True)

    def _metrics_path(self, new: bool = False) -> Path:
        path = self.out / f"{self.game}-{self.seed}.jsonl"
        if new:
            path.unlink(missing_ok=True)
        return path

    def metrics(self) -> list[dict[str, Any]]:
        """What PPO logged."""
        return [json.loads(line) for line in self._metrics_path().read_text().splitlines()]


def random_play(game: str, episodes: int) -> EpisodeStatistics:
    seeds = range(FIRST_TEST_SEED, FIRST_TEST_SEED + episodes)
    return evaluate_seeds(RandomChoices(), partial(make_game, f"pyagent/{game}-v0", fold="test"), seeds)


def table(runs: Sequence[Run], chance: Mapping[str, EpisodeStatistics]) -> str:
    """Mean score and its 95 % interval of every agent, in Markdown."""
    columns = [name for name in runs[0].results]
    head = ["game", "mark", "seed", "random", *columns, "steps an episode", "CPU seconds"]
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for run in runs:
        random = chance[run.game].mean_reward
        scores = [str(run.results[name].mean_reward) for name in columns]
        length = run.results[columns[-1]].mean_length.format(digits=1)
        seconds = " + ".join(f"{part:.0f}" for part in run.seconds.values())
        cells = [run.game, f"{run.recipe.mark:.2f}", str(run.seed), str(random), *scores, length, seconds]
        rows.append("| " + " | ".join(cells) + " |")
    episodes = runs[0].episodes
    rows += ["", f"Mean score (maximum 1) of one episode on each of {episodes} official test games, seeds"]
    rows += [f"{FIRST_TEST_SEED}…{FIRST_TEST_SEED + episodes - 1}; in brackets 95 % intervals.", ""]
    return "\n".join(rows)


def report(runs: Sequence[Run], chance: Mapping[str, EpisodeStatistics], out: Path) -> None:
    """Writes the table, everything behind it, and a curve a game."""
    (out / "textworld.md").write_text(table(runs, chance), encoding="utf-8")
    episodes = [
        {
            "game": run.game,
            "seed": run.seed,
            "cpu_seconds": run.seconds,
            "results": {name: played.to_json() for name, played in run.results.items()},
        }
        for run in runs
    ]
    whole = {"random": {game: played.to_json() for game, played in chance.items()}, "runs": episodes}
    (out / "textworld.json").write_text(json.dumps(whole) + "\n", encoding="utf-8")
    for game in {run.game for run in runs}:
        ours = [run for run in runs if run.game == game]
        lines = [
            {"step": line["step"], f"seed {run.seed}": line.get("rollout/ep_rew_mean")}
            for run in ours
            for line in run.metrics()
        ]
        plot_learning_curve(
            lines,
            out / f"{game}.png",
            keys=[f"seed {run.seed}" for run in ours],
            levels={"random, test games": chance[game].mean_reward},
            title=f"{game}: training games, with sampled actions",
            y_label="score",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--episodes", type=int, default=1000, help="official test games, at most 1000")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if not 1 <= options.episodes <= 1000:
        parser.error(f"--episodes must lie in [1, 1000], got {options.episodes}")
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    chance = {game: random_play(game, options.episodes) for game in options.games}
    runs: list[Run] = []
    for game in options.games:
        for seed in options.seeds:
            runs.append(Run(game, seed, options.episodes, options.out)())
            report(runs, {one.game: chance[one.game] for one in runs}, options.out)
    print(table(runs, chance))


if __name__ == "__main__":
    main()
