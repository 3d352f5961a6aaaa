"""Tabular Q-learning and its relatives, on many environments at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from pyagent.learning.checkpoint import load_checkpoint, save_checkpoint
from pyagent.learning.discrete_lanes import DiscreteLanes, Step
from pyagent.learning.episodes import EPISODES_SHOWN, episode_figures
from pyagent.learning.logger import Logger
from pyagent.learning.loop import Callback, run_loop
from pyagent.learning.progress import ProgressBar
from pyagent.learning.seeding import derived_seed
from pyagent.learning.vector_env import is_id, vector_env
from pyagent.ops import double_q_update, expected_sarsa_update, q_lambda_update, q_update, sarsa_update
from pyagent.ops.table_arguments import MOST_ENTRIES

ALGORITHMS = ("q", "sarsa", "expected_sarsa", "double_q", "q_lambda")
STEPS_BETWEEN_LOGS = 10_000
MOST_TRACES = 2**28  # 2 GB


class TabularQ:
    """Acts ε-greedily in many environments and updates a table of action values after every step of them.

    A terminated episode is worth nothing more, one that was cut short what its last state is worth; gymnasium's three
    autoreset modes are told apart. Every `learn` starts new episodes whose course follows from `seed` and
    `num_timesteps`; so saving, loading and learning equals learning straight on, call for call.

    Args:
        env: an environment's id, several of them (lanes in equal parts), an environment or a vector environment, with
            `Discrete` actions and `Discrete`, `MultiDiscrete` or a `Tuple` of `Discrete` observations.
        algorithm: "q" (Watkins), "sarsa", "expected_sarsa", "double_q" (van Hasselt) or "q_lambda" (Watkins's, with
            replacing traces, `num_envs` tables of them; it wants a smaller learning rate, as every step of every lane
            moves all that led there).
        num_envs: lanes made of an id.
        learning_rate: α; a number, or a function of what remains of the schedule (1 … 0).
        gamma: discount of a step.
        exploration_fraction: share of the schedule over which ε goes from `exploration_initial_eps` to
            `exploration_final_eps`, in a straight line.
        lambda_: decay of the traces of "q_lambda".
        schedule_timesteps: timesteps over which schedules run; None: those of each `learn`.
        seed: of everything.
        verbose, tensorboard_log: as in Stable-Baselines3.
        logger: takes the figures instead of `tensorboard_log`.

    Attributes:
        q_table: float64 [S, A]; of "double_q" the table A, and `q_table_b` the other one.

    Raises:
        ValueError: a number out of range, or a table of more than 2³¹ entries.
        TypeError: the environment has other observations or actions.
    """

    finished = False
    """whether there is nothing more to learn, however many timesteps are left"""

    def __init__(
        self,
        env: Any,
        *,
        algorithm: str = "q",
        num_envs: int = 16,
        learning_rate: float | Callable[[float], float] | None = 0.1,
        gamma: float = 0.99,
        exploration_fraction: float = 0.5,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.1,
        lambda_: float = 0.9,
        schedule_timesteps: int | None = None,
        seed: int = 0,
        verbose: int = 0,
        tensorboard_log: str | Path | None = None,
        logger: Logger | None = None,
    ) -> None:
        if learning_rate is None:
            raise ValueError("learning_rate: it was a function when this learner was saved, so give it again")
        if algorithm not in ALGORITHMS:
            raise ValueError(f"algorithm: got {algorithm!r}, want one of {', '.join(ALGORITHMS)}")
        if num_envs < 1:
            raise ValueError(f"num_envs: want 1 or more, got {num_envs}")
        shares = {
            "gamma": gamma,
            "exploration_fraction": exploration_fraction,
            "exploration_initial_eps": exploration_initial_eps,
            "exploration_final_eps": exploration_final_eps,
            "lambda_": lambda_,
        }
        rates = {} if callable(learning_rate) else {"learning_rate": learning_rate}
        for name, number in (shares | rates).items():
            if not 0 <= number <= 1:
                raise ValueError(f"{name}: want a number in [0, 1], got {number}")
        self.settings = {
            "algorithm": algorithm,
            "num_envs": num_envs,
            "learning_rate": None if callable(learning_rate) else learning_rate,
            "schedule_timesteps": schedule_timesteps,
            "seed": seed,
            **shares,
        }
        self.env, self.algorithm, self.seed, self.gamma, self.lambda_ = env, algorithm, seed, gamma, lambda_
        self.learning_rate: float | Callable[[float], float] = learning_rate
        self.schedule_timesteps, self.exploration_fraction = schedule_timesteps, exploration_fraction
        self.exploration_initial_eps, self.exploration_final_eps = exploration_initial_eps, exploration_final_eps
        self.exploration_rate = exploration_initial_eps
        self.verbose = verbose
        self.logger = logger or (None if tensorboard_log is None else Logger(None, tensorboard_log))
        self.num_timesteps = self.num_updates = self.first_step = 0
        self.recent: deque[tuple[float, int, float | None]] = deque(maxlen=EPISODES_SHOWN)

        self.lanes = DiscreteLanes(vector_env(env, num_envs, seed))
        B, S, A = len(self.lanes), self.lanes.index.size, self.lanes.num_actions
        if S * A > MOST_ENTRIES:
            raise ValueError(f"env: {S} states of {A} actions, want a table of at most {MOST_ENTRIES} entries")
        if algorithm == "q_lambda" and B * S * A > MOST_TRACES:
            raise ValueError(f"num_envs: {B} traces of {S} × {A}, want at most {MOST_TRACES} entries in all")
        self.q_table: NDArray[np.float64] = np.zeros((S, A))
        self.q_table_b: NDArray[np.float64] | None = np.zeros((S, A)) if algorithm == "double_q" else None
        self._traces: NDArray[np.float64] | None = np.zeros((B, S, A)) if algorithm == "q_lambda" else None
        self._looks_ahead = algorithm in ("sarsa", "q_lambda")
        self._random = np.random.default_rng(derived_seed(seed, 1, 0))
        self._prediction_random = np.random.default_rng(derived_seed(seed, 2))
        self._schedule = (0, 1)
        self._seen: Step | None = None
        self._next_action: NDArray[np.int64] | None = None
        self._chosen: NDArray[np.int64] | None = None
        self._next_log = 0

    def learn(self, total_timesteps: int, callback: Callback | None = None, progress_bar: bool = False) -> Self:
        """Learns for `total_timesteps` more (the last step of all lanes is finished); a second call goes on.

        Args:
            total_timesteps: how many, ≥ 0.
            callback: called with the learner after every update; returning False ends learning.
            progress_bar: shows one, with steps a second.

        Raises:
            ValueError: `total_timesteps` is negative; or a reward is not finite or an observation is not in its space,
                where the environment is named and nothing was learned from it.
        """
        if total_timesteps < 0:
            raise ValueError(f"total_timesteps: want 0 or more, got {total_timesteps}")
        shown = progress_bar or self.verbose > 0
        with ProgressBar(total_timesteps, type(self).__name__) if shown else nullcontext() as progress:
            try:
                self.begin(total_timesteps)
                run_loop(self, total_timesteps, callback, progress)
            finally:
                self.end()
        return self

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """The best actions for a batch of observations, or for one alone; with `exploration_rate` as it stands unless
        `deterministic`. There is no memory: `state` comes back as it is.

        Raises:
            ValueError: an observation is not in the environment's space.
        """
        del episode_start
        index = self.lanes.index
        alone = index.is_one(observation)
        places = np.array([index.of_one(observation)]) if alone else index(observation)
        exploration_rate = 0.0 if deterministic else self.exploration_rate
        action = self.lanes.first_action + self._epsilon_greedy(places, exploration_rate, self._prediction_random)
        return (action[0] if alone else action), state

    def action_values(self, state: NDArray[np.int64]) -> NDArray[np.float64]:
        """What actions are chosen by: rows of the table, of "double_q" the sum of both."""
        values = self.q_table[state]
        return values if self.q_table_b is None else values + self.q_table_b[state]

    def begin(self, total_timesteps: int) -> None:
        """New episodes in all lanes, and the schedule of this call."""
        place = derived_seed(self.seed, 1, self.num_timesteps)
        self._random = np.random.default_rng(place)
        self.lanes.restart(place)
        self._seen = self._next_action = self._chosen = None
        if self._traces is not None:
            self._traces[:] = 0
        first = 0 if self.schedule_timesteps else self.num_timesteps
        self._schedule = (first, max(self.schedule_timesteps or total_timesteps, 1))
        self._next_log = self.num_timesteps + min(total_timesteps, STEPS_BETWEEN_LOGS)

    def end(self) -> None:
        """After the loop, however it ended."""
        self._note_episodes()

    def act(self) -> NDArray[np.int64]:
        """An action for every lane, counted from 0."""
        done = self._progress()
        share = min(done / self.exploration_fraction, 1.0) if self.exploration_fraction else 1.0
        self.exploration_rate = self.exploration_initial_eps + share * (
            self.exploration_final_eps - self.exploration_initial_eps
        )
        chosen, self._chosen = self._chosen, None
        return self._explore(self.lanes.state) if chosen is None else chosen

    def observe(self, choice: NDArray[np.int64]) -> int:
        """Takes the actions and keeps what came of them; returns the steps of all lanes."""
        self._seen = step = self.lanes.step(choice)
        if self._looks_ahead:
            self._next_action = self._explore(step.next_state)
            # What is done in the next state is done next, but for lanes that start anew elsewhere.
            anew = self._explore(self.lanes.state) if step.moved.any() else self._next_action
            self._chosen = np.where(step.moved, anew, self._next_action)
        return len(choice)

    def ready(self) -> bool:
        return self._seen is not None

    def update(self) -> dict[str, float]:
        """Learns from the last step; now and then returns figures under Stable-Baselines3's keys."""
        rate = self._rate(max(1 - self._progress(), 0.0))
        self._learn(rate)
        self._seen = None
        self.num_updates += 1
        if self.num_timesteps < self._next_log:
            return {}
        self._next_log = self.num_timesteps + STEPS_BETWEEN_LOGS
        self._note_episodes()
        figures = {"train/learning_rate": rate, "train/n_updates": self.num_updates}
        return figures | {"rollout/exploration_rate": self.exploration_rate} | episode_figures(self.recent)

    def log(self, figures: dict[str, float]) -> None:
        """Writes figures at the current timestep (counted from `first_step`)."""
        if self.logger is not None:
            self.logger.record("time/total_timesteps", self.num_timesteps)
            for key, value in figures.items():
                self.logger.record(key, value)
            self.logger.dump(self.first_step + self.num_timesteps)

    def save(self, path: str | Path) -> None:
        """Writes all that learning needs to go on into the folder `path`."""
        Path(path).mkdir(parents=True, exist_ok=True)
        tree = {"learner": type(self).__name__, "settings": self.settings, "state": self.state_dict()}
        tree["env"] = self.env if is_id(self.env) else None
        save_checkpoint(Path(path) / "checkpoint.safetensors", tree)

    @classmethod
    def load(cls, path: str | Path, env: Any = None, **keywords: Any) -> Self:
        """The learner that `save` wrote; `learn` goes on as if it had never stopped.

        Args:
            path: the folder.
            env: needed where the learner was not made with an environment's id.
            keywords: settings to change.

        Raises:
            FileNotFoundError: no learner is there.
            ValueError: another kind of learner is there, no environment is known, or it has other states or actions.
        """
        tree = load_checkpoint(Path(path) / "checkpoint.safetensors")
        if tree.get("learner") != cls.__name__:
            raise ValueError(f"path: {path} holds a {tree.get('learner')}, not a {cls.__name__}")
        env = tree["env"] if env is None else env
        if env is None:
            raise ValueError("env: the learner was not made with an environment's id, so give its environment")
        learner = cls(env, **{**tree["settings"], **keywords})
        learner.load_state_dict(tree["state"])
        return learner

    def state_dict(self) -> dict[str, Any]:
        """All that learning needs to go on."""
        return {
            "q_table": self.q_table.copy(),
            "q_table_b": None if self.q_table_b is None else self.q_table_b.copy(),
            "num_timesteps": self.num_timesteps,
            "num_updates": self.num_updates,
            "exploration_rate": self.exploration_rate,
            "recent": list(self.recent),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back to what `state_dict` returned.

        Raises:
            ValueError: the table is of other states or actions, or of another algorithm.
        """
        for name in ("q_table", "q_table_b"):
            ours, given = getattr(self, name), state[name]
            shapes = [None if values is None else values.shape for values in (ours, given)]
            if shapes[0] != shapes[1]:
                raise ValueError(f"{name}: got a table of shape {shapes[1]}, want {shapes[0]}")
            if ours is not None:
                ours[:] = given
        self.num_timesteps, self.num_updates = state["num_timesteps"], state["num_updates"]
        self.exploration_rate = state["exploration_rate"]
        self.recent = deque((tuple(episode) for episode in state["recent"]), maxlen=EPISODES_SHOWN)

    def _learn(self, rate: float) -> None:
        """From all lanes, at a rate of 0 from those whose action was ignored: that changes nothing."""
        step = self._seen
        assert step is not None
        at = (step.state, step.action, step.reward, step.next_state)
        after = (self.gamma * ~step.terminated, np.where(step.valid, rate, 0.0))
        if self.algorithm == "q":
            q_update(self.q_table, *at, *after)
        elif self.algorithm == "expected_sarsa":
            expected_sarsa_update(self.q_table, *at, self._probability(step.next_state), *after)
        elif self.q_table_b is not None:
            coin = self._random.random(len(step.valid)) < 0.5
            double_q_update(self.q_table, self.q_table_b, coin, *at, *after)
        else:
            assert self._next_action is not None
            if self._traces is None:
                sarsa_update(self.q_table, *at, self._next_action, *after)
            else:
                q_lambda_update(self.q_table, self._traces, *at, self._next_action, *after, self.lambda_)
                self._traces[step.ended | ~step.valid] = 0

    def _explore(self, state: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._epsilon_greedy(state, self.exploration_rate, self._random)

    def _epsilon_greedy(
        self, state: NDArray[np.int64], exploration_rate: float, random: np.random.Generator
    ) -> NDArray[np.int64]:
        best = self.action_values(state).argmax(1)
        explores = random.random(len(state)) < exploration_rate
        return np.where(explores, random.integers(self.q_table.shape[1], size=len(state)), best)

    def _probability(self, state: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of every action, [B, A], as the ε-greedy policy stands."""
        A = self.q_table.shape[1]
        probability = np.full((len(state), A), self.exploration_rate / A)
        probability[np.arange(len(state)), self.action_values(state).argmax(1)] += 1 - self.exploration_rate
        return probability

    def _progress(self) -> float:
        first, length = self._schedule
        return (self.num_timesteps - first) / length

    def _rate(self, remaining: float) -> float:
        return self.learning_rate(remaining) if callable(self.learning_rate) else self.learning_rate

    def _note_episodes(self) -> None:
        self.recent.extend(self.lanes.episodes)
        self.lanes.episodes.clear()
