"""What the main job reports: every agent on the same unseen seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from pyagent.agents import LanguageAgent
from pyagent.envs import evaluation_seeds, make
from pyagent.evaluation import (
    EpisodeStatistics,
    Estimate,
    RandomPolicy,
    evaluate_seeds,
    markdown_table,
    plot_learning_curve,
)
from pyagent.learning.main_job_config import MainJobConfig
from pyagent.learning.run_folder import RunFolder


@dataclass(frozen=True)
class MainJobResult:
    """Episodes of every agent on every level."""

    level: str
    results: dict[str, dict[str, EpisodeStatistics]]
    """level → agent (random, supervised, control where it ran, final) → its episodes"""

    def differences(self) -> dict[str, Estimate]:
        """Success of the final agent minus that of each other trained one, on the level itself."""
        agents = self.results[self.level]
        return {
            f"final − {name}": agents["final"].success_difference(agents[name])
            for name in ("supervised", "control")
            if name in agents
        }

    def summary(self) -> str:
        """``success: random R supervised S final F``."""
        agents = self.results[self.level]
        rates = (f"{name} {agents[name].success_rate.value:.3f}" for name in ("random", "supervised", "final"))
        return f"success: {' '.join(rates)}"


def evaluate_agents(
    agent: LanguageAgent,
    stages: Mapping[str, dict[str, Tensor]],
    level: str,
    config: MainJobConfig,
    on_episode: Callable[[int], None] | None = None,
) -> dict[str, EpisodeStatistics]:
    """Random actions, then the agent with the weights of each stage, greedy, one episode a seed.

    The agent is left with the weights it came with. `on_episode` is told how many episodes of the running agent have
    ended, whenever one does.
    """
    seeds = evaluation_seeds(config.evaluation_episodes, config.first_evaluation_seed)
    before = {name: weight.clone() for name, weight in agent.state_dict().items()}
    results = {
        "random": evaluate_seeds(
            RandomPolicy(make(level).action_space), lambda: make(level), seeds, on_episode=on_episode
        )
    }
    for stage, weights in stages.items():
        agent.load_state_dict(weights)
        with agent.frozen():
            results[stage] = evaluate_seeds(agent, lambda: make(level), seeds, on_episode=on_episode)
    agent.load_state_dict(before)
    return results


def write_report(folder: RunFolder, result: MainJobResult) -> None:
    """Writes `evaluation.json`, `table.md` and `learning_curve.png`."""
    as_json = {
        level: {name: episodes.to_json() for name, episodes in agents.items()}
        for level, agents in result.results.items()
    }
    folder.write_json("evaluation", {"level": result.level, "results": as_json})
    tables = [f"{level}\n\n{markdown_table(agents)}" for level, agents in result.results.items()]
    differences = [f"{name}: {difference.format(sign=True)}" for name, difference in result.differences().items()]
    folder.write_text("table.md", "\n".join([*tables, *differences, "", result.summary(), ""]))
    plot_learning_curve(
        folder.metrics(),
        folder.learning_curve_path,
        keys=("rollout/success_rate",),
        x="time/total_timesteps",
        levels={name: episodes.success_rate for name, episodes in result.results[result.level].items()},
        title=f"{result.level.split('/')[-1]}: unseen levels (dashed), rollouts of both levels (line)",
    )
