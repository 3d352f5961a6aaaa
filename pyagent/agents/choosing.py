"""An agent whose actions are the choices that a turn's text ends with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pyagent.agents.language_agent import LanguageAgent, Reply
from pyagent.agents.understanding import SentenceVectors, Turns, Understanding, sentence_numbers
from pyagent.nn.recurrent import State, in_float32
from pyagent.text import Tokenizer
from pyagent.text.choices import split_choices


@dataclass(frozen=True)
class TurnsWithChoices(Turns):
    """Turns, and their choices among the same sentences."""

    choices: Tensor
    """int64 [N, K]: the sentence of each choice, −1 after a turn's last"""

    def select(self, rows: Tensor) -> TurnsWithChoices:
        sentences, choices = (_trimmed(numbers[rows]) for numbers in (self.sentences, self.choices))
        S = sentences.shape[1]
        both = Turns(self.tokens, self.lengths, torch.cat((sentences, choices), 1)).compact()
        return TurnsWithChoices(both.tokens, both.lengths, both.sentences[:, :S], both.sentences[:, S:])


class ChoiceUnderstanding(Understanding):
    """Reads each turn, and each of its choices in the light of what the turn tells.

    A choice is a sentence like the others. It attends to the turn's sentences as the mission does, so that it looks at
    those that share words with it (``move north`` at ``to the north you see the pantry``); its vector is
    relu(norm(W [own value; own feature; attended values])), [C].

    A turn's vector is that of `Understanding` [D] and after it, for each of K choices, its vector [C] and a 1 where it
    is there: [D + K(C + 1)], with K the most that any of the turns has.

    Args:
        tokenizer: turns text into tokens.
        output_size: D.
        choice_size: C.
        keywords: those of `Understanding`.
    """

    def __init__(self, tokenizer: Tokenizer, output_size: int = 128, *, choice_size: int = 64, **keywords: Any) -> None:
        super().__init__(tokenizer, output_size, **keywords)
        self.choice_size = choice_size
        self.choice = nn.Linear(3 * self.value.out_features, choice_size)
        self.choice_norm = nn.LayerNorm(choice_size)
        nn.init.orthogonal_(self.choice.weight, 2**0.5)

    def prepare(self, texts: Sequence[str]) -> TurnsWithChoices:
        """Splits texts into sentences and choices, and these into tokens."""
        number_of: dict[str, int] = {}
        sentences, choices = _numbers(texts, number_of)
        device = self.sharpness.device
        return TurnsWithChoices(*self._tokens(list(number_of)), sentences.to(device), choices.to(device))

    def forward(self, turns: Turns) -> Tensor:
        assert isinstance(turns, TurnsWithChoices)
        return self._read_turns(self._read(turns.tokens, turns.lengths), turns.sentences, turns.choices)

    def step(self, texts: Sequence[str]) -> Tensor:
        with torch.no_grad():
            if self._known is None:
                return self(self.prepare(texts))
            sentences, choices = _numbers(texts, self._known.number_of)
            self._read_new(self._known)
            device = self.sharpness.device
            return self._read_turns(self._known.vectors, sentences.to(device), choices.to(device))

    def split(self, turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the vectors of turns [..., D + K(C + 1)] hold: turns [..., D], choices [..., K, C], bool [..., K] which
        are there."""
        choices = turns[..., self.output_size :].unflatten(-1, (-1, self.choice_size + 1))
        return turns[..., : self.output_size], choices[..., :-1], choices[..., -1] > 0

    def _read_turns(self, vectors: SentenceVectors, sentences: Tensor, choices: Tensor) -> Tensor:
        there = choices >= 0
        read = self._read_choices(vectors, sentences, choices, there)
        padded = read.new_zeros(*choices.shape, self.choice_size + 1)
        padded[there] = nn.functional.pad(read, (0, 1), value=1.0)
        return torch.cat((self._attend(vectors, sentences), padded.flatten(1)), 1)

    def _read_choices(self, vectors: SentenceVectors, sentences: Tensor, choices: Tensor, there: Tensor) -> Tensor:
        """The vectors of those that are there, row by row: [M, C]."""
        heads = (self.num_heads, vectors.key.shape[1] // self.num_heads)
        facts = sentences.clamp(min=0)
        query = nn.functional.embedding(choices.clamp(min=0), vectors.query).unflatten(-1, heads).transpose(1, 2)
        key, value = (
            nn.functional.embedding(facts, vector).unflatten(-1, heads).transpose(1, 2)
            for vector in (vectors.key, vectors.value)
        )
        query = query * (self.sharpness.exp() / heads[1] ** 0.5)[:, None, None]
        absent = (sentences < 0)[:, None, None, :]
        weight = (query @ key.transpose(2, 3)).masked_fill(absent, -torch.inf).softmax(-1)
        attended = (weight @ value).transpose(1, 2).flatten(2)[there]
        own = (nn.functional.embedding(choices[there], vector) for vector in (vectors.value, vectors.feature))
        return self.choice_norm(self.choice(torch.cat((*own, attended), -1))).relu()


class ChoiceDecision(nn.Module):
    """A policy over the choices of a turn, and a value head: choice k with the vector c_k has the score
    (W s + b)·c_k / √C in the state s, and the policy is the softmax of the scores of those that are there.

    Args:
        hidden_size: H, of the core.
        choice_size: C.
        value_size: width of the value head's hidden layer.
    """

    def __init__(self, hidden_size: int, choice_size: int, *, value_size: int = 64) -> None:
        super().__init__()
        self.query = nn.Linear(hidden_size, choice_size)
        self.value = nn.Sequential(nn.Linear(hidden_size, value_size), nn.Tanh(), nn.Linear(value_size, 1))

    def forward(self, state: Tensor, choices: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities [..., K], −inf for choices that are not there, and values [...] of states [..., H].

        Where a turn has no choice at all, whatever is chosen does not matter: all are equally probable.
        """
        score = in_float32((choices @ self.query(state)[..., None])[..., 0]) / choices.shape[-1] ** 0.5
        some = there.any(-1, keepdim=True)
        score = score.masked_fill(~there & some, -torch.inf).masked_fill(~some, 0.0)
        return score.log_softmax(-1), in_float32(self.value(state)).squeeze(-1)


class ChoosingAgent(LanguageAgent):
    """A language agent that chooses one of the lines below a turn's text (see `pyagent.text.choices`).

    Its actions are the numbers of these lines, as many as the turn offers; it says what it chooses.

    Args:
        tokenizer: its vocabulary.
        chooses: always True; tells a saved agent from those with action words.
        cell, hidden_size, num_layers: of the core.
        keywords: parts of one's own, as those of `LanguageAgent`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        chooses: bool = True,
        cell: str = "gru",
        hidden_size: int = 128,
        num_layers: int = 1,
        **keywords: Any,
    ) -> None:
        understanding = keywords.pop("understanding", None) or ChoiceUnderstanding(tokenizer)
        decision = keywords.pop("decision", None) or ChoiceDecision(hidden_size, understanding.choice_size)
        sizes = {"cell": cell, "hidden_size": hidden_size, "num_layers": num_layers}
        parts = {"understanding": understanding, "decision": decision, "generation": nn.Identity(), **keywords}
        super().__init__(tokenizer, (), **sizes, **parts)
        self.config = {"chooses": chooses, **sizes}

    def forward(self, turns: Tensor, state: State | None, reset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities [T, B, K], values [T, B] and states [T, B, H] over the vectors of turns
        [T, B, D + K(C + 1)]."""
        read, choices, there = self.understanding.split(turns)
        output, _ = self.state_tracking(read, state, reset=reset)
        return (*self.decision(output, choices, there), output)

    @torch.no_grad()
    def step(
        self, observations: Sequence[str], state: State | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, State]:
        """One turn without gradient: log-probabilities [B, K], values [B], output [B, H], next state."""
        read, choices, there = self.understanding.split(self.understanding.step(observations))
        output, after = self.state_tracking.step(read.contiguous(), state, reset=reset)
        return (*self.decision(output, choices, there), output, after)

    def prepare_responses(self, prompts: Sequence[str], responses: Sequence[str]) -> Chosen:
        """Which of its prompt's choices each response is.

        Raises:
            ValueError: a response that its prompt does not offer.
        """
        numbers = []
        for prompt, response in zip(prompts, responses, strict=True):
            _, choices = split_choices(prompt)
            if response not in choices:
                raise ValueError(f"responses: {response!r} is none of the choices {choices}")
            numbers.append(choices.index(response))
        return Chosen(torch.tensor(numbers, dtype=torch.int64, device=self.device))

    def response_loss(self, turns: Tensor, reset: Tensor, there: Tensor, responses: Chosen) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the choices taken, and the share of turns in which the most probable one was taken."""
        log_probabilities = self(turns, None, reset)[0][there]
        loss = nn.functional.nll_loss(log_probabilities, responses.numbers)
        return loss, (log_probabilities.argmax(-1) == responses.numbers).float().mean()

    def reply(
        self,
        text: str,
        state: State | None = None,
        *,
        deterministic: bool = True,
        generator: torch.Generator | None = None,
    ) -> Reply:
        """Reads one turn and answers with one of its choices, with nothing where it has none."""
        log_probabilities, value, _, state = self.step([text], state)
        facts, choices = split_choices(text)
        probability = log_probabilities[0].exp()
        drawn = probability.argmax() if deterministic else torch.multinomial(probability, 1, generator=generator)
        probabilities = dict(zip(choices, probability.tolist(), strict=False))
        said = choices[int(drawn)] if choices else ""
        return Reply(said, self.tokenizer.encode_pieces(facts), probabilities, float(value[0]), state)

    def _acting_parts(self) -> tuple[Any, ...]:
        return self.understanding, self.state_tracking


def load_language_agent(path: str | Path) -> LanguageAgent:
    """The agent that `save` wrote into the folder `path`, of whichever kind.

    Raises:
        FileNotFoundError, ValueError: as `LanguageAgent.load`.
    """
    config = Path(path) / "config.json"
    chooses = config.is_file() and "chooses" in (json.loads(config.read_text(encoding="utf-8")).get("agent") or {})
    return (ChoosingAgent if chooses else LanguageAgent).load(path)


@dataclass(frozen=True)
class Chosen:
    """The number of the choice taken in each of N turns."""

    numbers: Tensor
    """int64 [N]"""

    def select(self, rows: Tensor) -> Chosen:
        return Chosen(self.numbers[rows])


def _numbers(texts: Sequence[str], number_of: dict[str, int]) -> tuple[Tensor, Tensor]:
    """Numbers of the sentences [N, S] and of the choices [N, K] of every turn, K ≥ 1; −1 after a turn's last."""
    turns = [split_choices(text) for text in texts]
    sentences = sentence_numbers([facts for facts, _ in turns], number_of)
    K = max((len(choices) for _, choices in turns), default=0) or 1
    numbers = torch.full((len(turns), K), -1, dtype=torch.int64)
    for turn, (_, choices) in enumerate(turns):
        if choices:
            known = [number_of.setdefault(choice, len(number_of)) for choice in choices]
            numbers[turn, : len(known)] = torch.tensor(known)
    return sentences, numbers


def _trimmed(numbers: Tensor) -> Tensor:
    """Without the last columns in which every row has ended; one stays."""
    return numbers[:, : max(int((numbers >= 0).sum(1).max()), 1)] if len(numbers) else numbers[:, :1]
