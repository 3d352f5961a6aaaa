"""The language agent: five parts, each of which can be replaced by another module."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pyagent.agents.agent_folder import action_ids, load_agent, save_agent
from pyagent.agents.decision import Decision
from pyagent.agents.generation import Generation
from pyagent.agents.interaction import Interaction
from pyagent.agents.state_tracking import recurrent_core
from pyagent.agents.understanding import Understanding
from pyagent.nn.recurrent import State
from pyagent.text import Tokenizer


class Reply(NamedTuple):
    """What an agent makes of one turn."""

    text: str
    """the response, word by word from the language model"""
    pieces: list[tuple[str, int, bool]]
    """what was read: (piece, id, known)"""
    probabilities: dict[str, float]
    """of the action words"""
    value: float
    """of the situation"""
    state: State
    """what the agent remembers now"""


class LanguageAgent(nn.Module):
    """Reads a turn's text, remembers, decides on an action word, and speaks.

    The five parts are attributes: `understanding` (text → one vector a turn), `state_tracking` (the recurrent core
    carried across turns), `decision` (policy over action words and value), `generation` (the language model of
    responses), and `interaction` (what plays vector environments with the agent). Any of them may be given as a module
    that keeps the part's interface, or assigned later.

    Args:
        tokenizer: its vocabulary holds every action word as one token.
        action_words: the word of each action, by its number.
        cell: core made where none is given: ``"gru"``, ``"lstm"`` or ``"rnn"``.
        hidden_size: H of that core.
        num_layers: layers of that core.
        understanding, state_tracking, decision, generation, interaction: a part of one's own.

    Raises:
        ValueError: an action word that is not one known token.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        action_words: Sequence[str],
        *,
        cell: str = "gru",
        hidden_size: int = 128,
        num_layers: int = 1,
        understanding: nn.Module | None = None,
        state_tracking: nn.Module | None = None,
        decision: nn.Module | None = None,
        generation: nn.Module | None = None,
        interaction: type[Interaction] = Interaction,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.action_words = tuple(action_words)
        self.config = {"action_words": list(action_words), "cell": cell, "hidden_size": hidden_size}
        self.config["num_layers"] = num_layers
        ids = action_ids(tokenizer, self.action_words)
        self.understanding: Any = understanding or Understanding(tokenizer)
        self.state_tracking: Any = state_tracking or recurrent_core(
            self.understanding.output_size, hidden_size, cell=cell, num_layers=num_layers
        )
        H = self.state_tracking.hidden_size
        self.generation: Any = generation or Generation(len(tokenizer), H, eos_id=tokenizer.eos_id)
        self.decision: Any = decision or Decision(ids, H)
        self.interaction = interaction

    def forward(self, turns: Tensor, state: State | None, reset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities [T, B, A], values [T, B] and states [T, B, H] over sequences of turn vectors [T, B, D]."""
        output, _ = self.state_tracking(turns, state, reset=reset)
        return (*self.decision(output, self.generation.word_head), output)

    @torch.no_grad()
    def step(
        self, texts: Sequence[str], state: State | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, State]:
        """One turn without gradient: log-probabilities [B, A], values [B], output [B, H], next state."""
        output, after = self.state_tracking.step(self.understanding.step(texts), state, reset=reset)
        log_probabilities, value = self.decision(output, self.generation.word_head)
        return log_probabilities, value, output, after

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Actions for a batch of texts (or one text), as Stable-Baselines3's `predict`.

        Args:
            observation: a string, or a sequence of B strings.
            state: what the last call returned; None forgets everything.
            episode_start: bool [B]: lanes whose memory starts anew.
            deterministic: the most probable action, or one drawn by its probability with torch's generator.

        Returns:
            int64 [B] (one number for one string), and the state to hand back.
        """
        texts = [observation] if isinstance(observation, str) else list(observation)
        reset = None
        if episode_start is not None and state is not None:
            starts = np.atleast_1d(np.asarray(episode_start, dtype=np.bool_))
            reset = torch.from_numpy(starts).to(self.device)
        log_probabilities, _, _, state = self.step(texts, state, reset)
        drawn = log_probabilities.argmax(-1, True) if deterministic else torch.multinomial(log_probabilities.exp(), 1)
        actions = drawn[:, 0]
        return (int(actions[0]) if isinstance(observation, str) else actions.cpu().numpy()), state

    def reply(
        self,
        text: str,
        state: State | None = None,
        *,
        deterministic: bool = True,
        generator: torch.Generator | None = None,
    ) -> Reply:
        """Reads one turn and answers it."""
        log_probabilities, value, output, state = self.step([text], state)
        said = self.generation.generate(output, deterministic=deterministic, generator=generator)[0]
        probabilities = dict(zip(self.action_words, log_probabilities[0].exp().tolist(), strict=True))
        pieces = self.tokenizer.encode_pieces(text)
        return Reply(self.tokenizer.decode(said), pieces, probabilities, float(value[0]), state)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @contextmanager
    def frozen(self) -> Iterator[LanguageAgent]:
        """For acting: keeps what the parts derive from their weights, which must not change inside the block."""
        with ExitStack() as stack:
            for part in (self.understanding, self.state_tracking, self.generation):
                stack.enter_context(part.frozen())
            yield self

    def save(self, path: str | Path) -> None:
        """Writes `tokenizer.json`, `weights.safetensors` and `config.json` into the folder `path`."""
        save_agent(path, self, self.tokenizer, self.config)

    @classmethod
    def load(cls, path: str | Path, **parts: Any) -> LanguageAgent:
        """The agent that `save` wrote; parts of one's own are given again as to the constructor.

        Raises:
            FileNotFoundError: the folder lacks one of the files.
            ValueError: the files do not hold an agent.
        """
        return load_agent(cls, path, **parts)
