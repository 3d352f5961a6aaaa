"""The main job: demonstrations, supervised fine-tuning, reinforcement learning from the same weights, evaluation."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from pyagent.agents import LanguageAgent
from pyagent.envs import demonstrations
from pyagent.learning.learner import Learner
from pyagent.learning.logger import Logger
from pyagent.learning.main_job_config import MainJobConfig
from pyagent.learning.main_job_report import MainJobResult, evaluate_agents, write_report
from pyagent.learning.ppo import PPO
from pyagent.learning.run_folder import RunFolder
from pyagent.learning.seeding import derived_seed
from pyagent.learning.supervised import Supervised


def run(
    config: MainJobConfig,
    run_folder: RunFolder,
    *,
    control: bool = False,
    progress: bool = False,
    announce: Callable[[str], None] = lambda line: None,
) -> MainJobResult:
    """Does the whole job, or what is left of it where `run_folder` holds a checkpoint.

    On Ctrl-C it finishes the running update, writes a checkpoint and raises KeyboardInterrupt; calling it again with
    the same folder goes on.

    Args:
        config: the settings; those of a checkpoint's run must be the same.
        run_folder: takes settings, tokenizer, weights, metrics, checkpoints and the report.
        control: also goes on with supervised learning for reinforcement learning's wall time, and evaluates that.
        progress: shows progress bars.
        announce: told what happens, a line at a time.

    Raises:
        ValueError: the folder's checkpoint is of other settings.
        KeyboardInterrupt: after saving.
    """
    with _stop_request() as stop, _threads(config.threads):
        job = _MainJob(config, run_folder, progress, announce, stop)
        with run_folder.logger(after=job.logged_step) as logger:
            job.train_supervised(logger)
            job.reinforce(logger)
            if control:
                job.train_control()
        return job.evaluate()


class _MainJob:
    """The stages; each goes on from where the checkpoint stands and is skipped if it is behind that."""

    def __init__(
        self,
        config: MainJobConfig,
        folder: RunFolder,
        progress: bool,
        announce: Callable[[str], None],
        stop: threading.Event,
    ) -> None:
        self.config, self.folder, self.progress, self.announce, self.stop = config, folder, progress, announce, stop
        self.levels = (config.level, config.easier_level)
        self.saved: dict[str, Any] = folder.load_checkpoint() if folder.has_checkpoint else {}
        if self.saved and self.saved["config"] != config.to_json():
            raise ValueError(f"config: the checkpoint in {folder.path} is of other settings")
        self.episodes = self._demonstrations()
        self.supervised = self._supervised_learner()
        self.supervised_weights: dict[str, Tensor] = {}
        self.control_weights: dict[str, Tensor] = {}
        self.seconds: float = self.saved.get("seconds", 0.0)
        self.logged_step: int | None = self.saved.get("step") if self.saved else None

    @property
    def agent(self) -> LanguageAgent:
        return self.supervised.agent

    def train_supervised(self, logger: Logger) -> None:
        """(b) until the held-out loss stops falling."""
        learner = self.supervised
        learner.logger = logger
        if "supervised" in self.saved:
            learner.load_state_dict(self.saved["supervised"])
        else:
            self.folder.write_config(self.config.to_json())
        turns = self.config.supervised_timesteps - learner.num_timesteps
        epochs = learner.epoch

        def at_epoch_end(learner: Supervised) -> bool:
            nonlocal epochs
            if self.stop.is_set() or learner.epoch > epochs:
                epochs = learner.epoch
                self._save("supervised", learner)
            return not self.stop.is_set()

        began = time.perf_counter()
        if "reinforcement" not in self.saved:
            learner.learn(max(turns, 0), at_epoch_end, self.progress)
            self._end_if_asked()
            self._save("supervised", learner)
            self.announce(
                f"supervised: held-out loss {learner.best_loss:.3f}, accuracy {learner.best_accuracy:.3f} after "
                f"{learner.best_epoch + 1} of {learner.epoch} epochs, {time.perf_counter() - began:.0f} s"
            )
        elif learner.finished:
            learner.end()
        self.supervised_weights = _copy(learner.agent.state_dict())

    def reinforce(self, logger: Logger) -> None:
        """(c) from the same weights."""
        config = self.config
        learner = PPO(
            (config.level,) * 3 + (config.easier_level,),
            agent=self.agent,
            num_envs=config.num_envs,
            learning_rate=lambda remaining: config.learning_rate * max(remaining, 0.02),
            n_steps=config.n_steps,
            batch_size=config.batch_size,
            n_epochs=config.n_epochs,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip_range,
            target_kl=None,
            ent_coef=config.ent_coef,
            normalize_rewards=False,
            precision=config.precision,
            value_warmup=1,
            schedule_timesteps=config.reinforcement_timesteps,
            seed=derived_seed(config.seed, 3),
            logger=logger,
        )
        learner.first_step = self.supervised.num_timesteps
        if "reinforcement" in self.saved:
            learner.load_state_dict(self.saved["reinforcement"])
        while learner.num_timesteps < config.reinforcement_timesteps:
            left = config.reinforcement_timesteps - learner.num_timesteps
            began = time.perf_counter()
            steps = min(config.checkpoint_timesteps, left)
            learner.learn(steps, lambda _: not self.stop.is_set(), self.progress)
            self.seconds += time.perf_counter() - began
            self._save("reinforcement", learner)
            self._end_if_asked()
        self.announce(f"reinforcement: {learner.num_timesteps:,} steps, {self.seconds:.0f} s")
        self.final_weights = _copy(self.agent.state_dict())

    def train_control(self) -> None:
        """Supervised learning goes on from its lowest held-out loss for as long as reinforcement learning took."""
        learner = self._supervised_learner(early_stopping=False)
        learner.load_state_dict(self.supervised.state_dict() | {"agent": self.supervised_weights})
        end = time.perf_counter() + self.seconds
        learner.learn(10**12, lambda _: time.perf_counter() < end and not self.stop.is_set())
        self._end_if_asked()
        self.announce(f"control: supervised learning went on to epoch {learner.epoch}")
        self.control_weights = _copy(learner.agent.state_dict())

    def evaluate(self) -> MainJobResult:
        """(d) on seeds that no training level has."""
        stages = {"supervised": self.supervised_weights, "control": self.control_weights, "final": self.final_weights}
        self.agent.load_state_dict(self.final_weights)
        self.agent.save(self.folder.path)
        results = {
            level: evaluate_agents(
                self.agent,
                {name: w for name, w in stages.items() if w},
                level,
                self.config,
                lambda _: self._end_if_asked(),
            )
            for level in self.levels
        }
        result = MainJobResult(self.config.level, results)
        write_report(self.folder, result)
        return result

    def _demonstrations(self) -> list[Any]:
        """(a) the bot's episodes of both levels, in an order that mixes them."""
        config = self.config
        counts = (config.demonstrations, config.easier_demonstrations)
        began = time.perf_counter()
        collected = [
            demonstrations(level, count, derived_seed(config.seed, 4, number))
            for number, (level, count) in enumerate(zip(self.levels, counts, strict=True))
        ]
        # Spread evenly, so that the held-out end has its share of both.
        placed = [((i + 0.5) / len(episodes), episode) for episodes in collected for i, episode in enumerate(episodes)]
        episodes = [episode for _, episode in sorted(placed, key=lambda pair: pair[0])]
        turns = sum(map(len, episodes))
        self.announce(f"{len(episodes)} demonstrations, {turns:,} turns, {time.perf_counter() - began:.0f} s")
        return episodes

    def _supervised_learner(self, early_stopping: bool = True) -> Supervised:
        config = self.config
        return Supervised(
            config.level,
            demonstrations=self.episodes,
            held_out=config.held_out,
            learning_rate=config.supervised_learning_rate,
            batch_size=config.supervised_batch_size,
            patience=config.patience,
            early_stopping=early_stopping,
            cell=config.cell,
            hidden_size=config.hidden_size,
            seed=config.seed,
            precision=config.precision,
        )

    def _save(self, stage: str, learner: Learner) -> None:
        """One checkpoint of all that resuming needs; the agent as it is now beside it."""
        self.saved |= {
            "config": self.config.to_json(),
            "seconds": self.seconds,
            "step": learner.first_step + learner.num_timesteps,
            stage: learner.state_dict(),
        }
        self.folder.save_checkpoint(self.saved)
        self.agent.save(self.folder.path)

    def _end_if_asked(self) -> None:
        if self.stop.is_set():
            raise KeyboardInterrupt


def _copy(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in weights.items()}


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _stop_request() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; a second one interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: Any) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
