"""The language agent: five parts, each of which can be replaced by another module."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import torch
from torch import Tensor, nn

from pyagent.agents.agent import Agent
from pyagent.agents.agent_folder import action_ids, load_agent, save_agent
from pyagent.agents.decision import Decision
from pyagent.agents.generation import Generation, Responses
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


class LanguageAgent(Agent):
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
        understanding: Any = None,
        state_tracking: Any = None,
        decision: nn.Module | None = None,
        generation: nn.Module | None = None,
        interaction: type[Interaction] = Interaction,
    ) -> None:
        ids = action_ids(tokenizer, action_words)
        understanding = understanding or Understanding(tokenizer)
        core: Any = state_tracking or recurrent_core(
            understanding.output_size, hidden_size, cell=cell, num_layers=num_layers
        )
        H = core.hidden_size
        generation = generation or Generation(len(tokenizer), H, eos_id=tokenizer.eos_id)
        super().__init__(
            gym.spaces.Text(2**31 - 1),
            gym.spaces.Discrete(max(len(ids), 1)),  # none where each text offers its own choices
            understanding=understanding,
            state_tracking=core,
            decision=decision or Decision(ids, H),
            interaction=interaction,
        )
        self.generation: Any = generation
        self.tokenizer = tokenizer
        self.action_words = tuple(action_words)
        self.config = {"action_words": list(action_words), "cell": cell, "hidden_size": hidden_size}
        self.config["num_layers"] = num_layers

    def decide(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the action words [..., A] and values [...] of the core's outputs [..., H]."""
        return self.decision(output, self.generation.word_head)

    def prepare_responses(self, prompts: Sequence[str], responses: Sequence[str]) -> Any:
        """What `response_loss` needs of the responses to these prompts, one each; `select` takes some of them."""
        eos = self.tokenizer.eos_id
        ids = [[*said, eos] for said in self.tokenizer.encode_batch(responses)]
        longest = max(map(len, ids))
        tokens = torch.tensor([said + [eos] * (longest - len(said)) for said in ids], device=self.device)
        return Responses(tokens.t().contiguous(), torch.tensor([len(said) for said in ids], device=self.device))

    def response_loss(self, turns: Tensor, reset: Tensor, there: Tensor, responses: Any) -> tuple[Tensor, Tensor]:
        """Loss and accuracy of the responses to the turns [T, B, D] that are `there`, bool [T, B], row by row."""
        output, _ = self.state_tracking(turns, None, reset=reset)
        return self.generation.loss(output[there], responses.tokens, responses.lengths)

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

    def _acting_parts(self) -> tuple[Any, ...]:
        return self.understanding, self.state_tracking, self.generation

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
