"""The language agent: five parts, each of which can be replaced by another module."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pyagent.agents.decision import Decision
from pyagent.agents.generation import Generation, Responses
from pyagent.agents.interaction import Interaction
from pyagent.agents.state_tracking import recurrent_core
from pyagent.agents.understanding import Understanding
from pyagent.files import load_weights, save_weights, write_atomically
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
        ids = [_one_token(tokenizer, word) for word in action_words]
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
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(folder / "tokenizer.json")
        save_weights(folder / "weights.safetensors", self.state_dict())
        config = {}
        if (folder / "config.json").is_file():  # a run's folder: its settings stay
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config["agent"] = self.config
        write_atomically(folder / "config.json", (json.dumps(config, indent=2) + "\n").encode())

    @classmethod
    def load(cls, path: str | Path, **parts: Any) -> LanguageAgent:
        """The agent that `save` wrote; parts of one's own are given again as to the constructor.

        Raises:
            FileNotFoundError: the folder lacks one of the files.
            ValueError: the files do not hold an agent.
        """
        folder = Path(path)
        for name in ("config.json", "tokenizer.json", "weights.safetensors"):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"no agent at {folder}: {name} is missing")
        config = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("agent")
        if not isinstance(config, dict):
            raise ValueError(f"{folder / 'config.json'} describes no agent")
        agent = cls(Tokenizer.load(folder / "tokenizer.json"), **{**config, **parts})
        try:
            agent.load_state_dict(load_weights(folder / "weights.safetensors"))
        except RuntimeError as error:
            raise ValueError(f"{folder}: the weights are not those of this agent: {error}") from error
        return agent


def _one_token(tokenizer: Tokenizer, word: str) -> int:
    ids = tokenizer.encode(word)
    if len(ids) != 1 or ids[0] == tokenizer.unk_id:
        raise ValueError(f"action_words: {word!r} is not one token of the tokenizer; train it with words=action_words")
    return ids[0]
