"""Q-learning of every word of a response, offline, from logged conversations and games."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from typing_extensions import Self

from pyagent.agents.token_agent import TokenAgent
from pyagent.learning.checkpoint import load_checkpoint
from pyagent.learning.episode_packing import shuffled_batches
from pyagent.learning.ilql_loss import ilql_loss
from pyagent.learning.learner import Learner
from pyagent.learning.logger import Logger
from pyagent.learning.seeding import derived_seed, torch_seed
from pyagent.learning.token_log import LoggedEpisode, TokenLog
from pyagent.learning.vector_env import action_words, vector_env
from pyagent.text import Tokenizer

LANES = 32


class TokenQ(Learner):
    """Implicit language Q-learning: from a log of mixed quality it learns to speak better than any episode in it.

    Every word of a response is an action, ``<eos>`` included; a response's reward comes with its ``<eos>``; the next
    prompt follows in the same stream. A timestep is a response. With ``q_coef=0`` it is supervised fine-tuning of the
    same weights: pre-train so, save, and ``load(path, episodes=…, q_coef=1)`` goes on with Q-learning.

    Args:
        env: what the log is of (an id, an environment or a vector environment): it names the actions that `predict`
            gives. None for conversations: then `predict` gives the responses themselves.
        episodes: the log, of (prompt, response, reward) turns; see `LoggedEpisode` for those that were cut short.
        agent: what learns; a new one where none is given, of `cell`, `embedding_dim`, `hidden_size`, `num_layers` and
            `q_size`, its vocabulary that of the log.
        beta: how strongly the advantage steers speech; the agent's, where it is None.
        gamma: discount of a word.
        expectile: τ, in (0, 1): how near V comes to the best of the words spoken.
        cql_alpha: weight of the conservatism.
        q_coef: weight of all that belongs to Q-learning, beside the cross-entropy's 1.
        tau: share by which the target heads move after each update.
        learning_rate, weight_decay: of AdamW.
        batch_size: responses a batch, about: episodes stay whole.
        max_grad_norm: longest gradient.
        seed: of everything.
        precision, verbose, tensorboard_log, device: as in Stable-Baselines3.
        logger: takes the figures instead of `tensorboard_log`.

    Raises:
        ValueError: a number out of range, or a log that is none (see `TokenLog.of`).
        TypeError: `env` has no discrete actions, or a turn holds something else than strings.
    """

    agent: Any

    def __init__(
        self,
        env: Any,
        episodes: Sequence[LoggedEpisode] | TokenLog,
        *,
        agent: TokenAgent | None = None,
        beta: float | None = None,
        gamma: float = 0.99,
        expectile: float = 0.7,
        cql_alpha: float = 0.1,
        q_coef: float = 1.0,
        tau: float = 0.005,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        batch_size: int = 256,
        max_grad_norm: float = 1.0,
        cell: str = "lstm",
        embedding_dim: int = 64,
        hidden_size: int = 128,
        num_layers: int = 1,
        q_size: int = 128,
        seed: int = 0,
        precision: str = "float32",
        verbose: int = 0,
        tensorboard_log: str | Path | None = None,
        device: str = "cpu",
        logger: Logger | None = None,
    ) -> None:
        settings = {"gamma": gamma, "expectile": expectile, "cql_alpha": cql_alpha, "q_coef": q_coef, "tau": tau}
        settings |= {"learning_rate": learning_rate, "weight_decay": weight_decay, "batch_size": batch_size}
        settings |= {"max_grad_norm": max_grad_norm}
        _check(settings)
        settings |= {"seed": seed, "device": device}
        sizes = {"cell": cell, "embedding_dim": embedding_dim, "hidden_size": hidden_size}
        sizes |= {"num_layers": num_layers, "q_size": q_size}
        learns: Any = _new_agent(env, episodes, seed, sizes) if agent is None else agent
        log = episodes if isinstance(episodes, TokenLog) else TokenLog.of(episodes, learns.tokenizer)
        super().__init__(
            env, learns, settings, precision=precision, logger=logger, tensorboard_log=tensorboard_log, verbose=verbose
        )
        self.agent.to(device)
        if beta is not None:
            self.agent.beta = beta
        self.episodes, self.seed, self.device = log, seed, device
        self.gamma, self.expectile, self.cql_alpha, self.q_coef, self.tau = gamma, expectile, cql_alpha, q_coef, tau
        self.batch_size, self.max_grad_norm = batch_size, max_grad_norm
        learned = [parameter for parameter in self.agent.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(learned, lr=learning_rate, weight_decay=weight_decay)
        self.epoch, self._next = 0, 0
        self._batches = self._epoch_batches()
        self._chosen: list[int] = []

    def begin(self, total_timesteps: int) -> None:
        self.agent.train()

    def end(self) -> None:
        self.agent.eval()

    def act(self) -> list[int]:
        """The next episodes to learn from."""
        return self._batches[self._next]

    def observe(self, choice: list[int]) -> int:
        """Takes them; returns their responses."""
        self._chosen = choice
        return int(self.episodes.turns[choice].sum())

    def ready(self) -> bool:
        return bool(self._chosen)

    def update(self) -> dict[str, float]:
        """One step of the optimiser, and of the target heads towards the heads.

        Raises:
            ValueError: the loss or its gradient is no finite number; the weights are those of before.
        """
        batch = self.episodes.pack(self._chosen, LANES, self.device)
        self._chosen = []
        state = self.agent(batch.tokens, reset=batch.reset).flatten(0, 1)[batch.place]
        spoken = self.agent.spoken(state, batch.word)
        there = batch.word >= 0
        weights = {"gamma": self.gamma, "expectile": self.expectile, "cql_alpha": self.cql_alpha}
        losses = ilql_loss(spoken, there, batch.reward, batch.continues, q_coef=self.q_coef, **weights)
        self.descend(losses.loss)
        self.agent.update_target(self.tau)
        self._next += 1
        if self._next == len(self._batches):
            self.epoch, self._next = self.epoch + 1, 0
            self._batches = self._epoch_batches()
        with torch.no_grad():
            means = {"q_mean": spoken.q[:, there].mean(), "v_mean": spoken.v[there].mean()}
        parts = {("loss" if name == "loss" else f"{name}_loss"): one for name, one in losses._asdict().items()}
        return {f"train/{name}": float(one.detach()) for name, one in (parts | means).items()} | {
            "train/epoch": self.epoch
        }

    def _epoch_batches(self) -> list[list[int]]:
        return shuffled_batches(self.episodes.turns.tolist(), self.batch_size, derived_seed(self.seed, 3, self.epoch))

    def predict(  # type: ignore[override]
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """As `TokenAgent.predict`, which knows no action masks."""
        return self.agent.predict(observation, state, episode_start, deterministic)

    @classmethod
    def load(
        cls, path: str | Path, env: Any = None, episodes: Sequence[LoggedEpisode] | None = None, **keywords: Any
    ) -> Self:
        """The learner that `save` wrote; `learn` goes on as if it had never stopped.

        Args:
            path: the folder.
            env: replaces what the learner was made with.
            episodes: another log, which is learned from its first epoch on with a new optimiser.
            keywords: settings to change.

        Raises:
            FileNotFoundError: no learner is there.
            ValueError: another kind of learner is there.
        """
        tree = load_checkpoint(Path(path) / "checkpoint.safetensors")
        if tree.get("learner") != cls.__name__:
            raise ValueError(f"path: {path} holds a {tree.get('learner')}, not a {cls.__name__}")
        log = TokenLog(**tree["state"]["episodes"]) if episodes is None else episodes
        keywords = {"agent": TokenAgent.load(path), **tree["settings"], **keywords}
        learner = cls(tree["env"] if env is None else env, log, **keywords)
        if episodes is None:
            learner.load_state_dict(tree["state"])
        return learner

    def state_dict(self) -> dict[str, Any]:
        episodes = self.episodes.state_dict()
        return super().state_dict() | {"epoch": self.epoch, "next": self._next, "episodes": episodes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.episodes = TokenLog(**state["episodes"])
        self.epoch, self._next = state["epoch"], state["next"]
        self._batches = self._epoch_batches()


def _check(settings: dict[str, float]) -> None:
    for name in ("expectile", "gamma", "tau"):
        low = name == "gamma" and settings[name] == 0
        high = name != "expectile" and settings[name] == 1
        if not (0 < settings[name] < 1 or low or high):
            raise ValueError(f"{name}: want a number between 0 and 1, got {settings[name]}")
    for name in ("cql_alpha", "q_coef", "weight_decay", "learning_rate"):
        if not settings[name] >= 0:
            raise ValueError(f"{name}: want 0 or more, got {settings[name]}")
    if not settings["max_grad_norm"] > 0:
        raise ValueError(f"max_grad_norm: want more than 0, got {settings['max_grad_norm']}")
    if settings["batch_size"] < 1:
        raise ValueError(f"batch_size: want 1 or more, got {settings['batch_size']}")


def _new_agent(env: Any, episodes: Any, seed: int, sizes: dict[str, Any]) -> TokenAgent:
    if isinstance(episodes, TokenLog):
        raise ValueError("agent: want the one whose tokenizer made the log where episodes are a TokenLog")
    words = () if env is None else action_words(vector_env(env, 1, seed))
    texts = [text for episode in episodes for prompt, response, _ in episode for text in (prompt, response or "")]
    tokenizer = Tokenizer.train(texts, words=words)
    with torch_seed(seed):
        return TokenAgent(tokenizer, words, **sizes)
