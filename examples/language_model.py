"""Next-word models of film reviews: embedding → LSTM → softmax, and the same with a GRU.

    python examples/language_model.py                        # both, a few minutes
    python examples/language_model.py --cell rnn --seed 1

Prints how well held-out reviews are predicted, beside a unigram model, and how five prompts go on.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterable, Iterator

import torch
from reviews import Review, load_reviews
from rich.progress import track
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from pyagent.nn import EmbeddingGRU, EmbeddingLSTM, EmbeddingRNN
from pyagent.text import Batch, Tokenizer, batches

CELLS = {"rnn": EmbeddingRNN, "gru": EmbeddingGRU, "lstm": EmbeddingLSTM}
VOCABULARY = 4_000  # words; the others are <unk>, which is predicted and counted like any word
HIDDEN = 128
LANES, WINDOW = 16, 33  # 16 streams of reviews, 32 words at a time; the state is carried on, the gradient is not
LEARNING_RATE = 4e-3  # falls to 0 along half a cosine
PROMPTS = ("This movie is", "The acting was", "I would recommend", "The worst part of the film", "My favorite scene")
WORDS, TEMPERATURE = 25, 0.8  # of what a model adds to a prompt
NOT_COUNTED = -100  # what cross_entropy leaves out

State = Tensor | tuple[Tensor, Tensor]


class LanguageModel(nn.Module):
    """Scores of the next word; a word's vector is also what scores it (Press and Wolf 2017)."""

    def __init__(self, cell: str, vocabulary: int) -> None:
        super().__init__()
        self.core = CELLS[cell](vocabulary, HIDDEN, HIDDEN)
        self.head = nn.Linear(HIDDEN, vocabulary)
        self.head.weight = self.core.embedding.weight
        nn.init.normal_(self.head.weight, std=HIDDEN**-0.5)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor, state: State | None, reset: Tensor) -> tuple[Tensor, State]:
        """tokens [T, B] → scores [T, B, V] of the words that follow, and the state"""
        output, state = self.core(tokens, state, reset=reset)
        return self.head(output), state


def windows(reviews: list[Review], tokenizer: Tokenizer) -> list[Batch]:
    """The reviews one after the other in streams without padding; a reset stands where each starts."""
    pairs = [("", review.text) for review in reviews]
    return list(batches(pairs, tokenizer, batch_size=LANES, length=WINDOW))


def predict(model: LanguageModel, windows: Iterable[Batch]) -> Iterator[tuple[Tensor, Tensor]]:
    """The loss of every word [N] and the words [N], window by window; NOT_COUNTED words have loss 0."""
    state = None
    for tokens, reset, counted in windows:
        scores, state = model(tokens[:-1], state, reset[:-1])
        state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        words = tokens[1:].masked_fill(~counted[:-1], NOT_COUNTED).flatten()
        yield cross_entropy(scores.flatten(0, 1), words, reduction="none"), words


def train(model: LanguageModel, data: list[Batch], epochs: int, name: str) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(data))
    for epoch in range(1, epochs + 1):
        total, count = 0.0, 0
        shown = track(data, f"{name} epoch {epoch}", transient=True, disable=not sys.stdout.isatty())
        for losses, words in predict(model, shown):
            counted = int((words != NOT_COUNTED).sum())
            optimizer.zero_grad()
            (losses.sum() / counted).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total, count = total + losses.sum().item(), count + counted
        print(f"{name} epoch {epoch}: perplexity while training {math.exp(total / count):.1f}")


class Perplexity:
    """exp of the mean loss, of all words and of those that are not <unk>."""

    def __init__(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        losses, words = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        self.all = losses[words != NOT_COUNTED].mean().exp().item()
        self.known = losses[(words != NOT_COUNTED) & (words != Tokenizer.unk_id)].mean().exp().item()


def unigram(training: list[Batch], held_out: list[Batch], vocabulary: int) -> Perplexity:
    """A model that knows only how often each word occurs (one is added to each count)."""
    counts = torch.ones(vocabulary)
    for tokens, _, counted in training:
        counts += torch.bincount(tokens[1:][counted[:-1]], minlength=vocabulary)
    losses = -(counts / counts.sum()).log()
    words = torch.cat([tokens[1:][counted[:-1]] for tokens, _, counted in held_out])
    return Perplexity([(losses[words], words)])


@torch.no_grad()
def continuations(model: LanguageModel, tokenizer: Tokenizer, seed: int) -> list[str]:
    """PROMPTS with words drawn from the model, never <unk>, up to WORDS or the end of the review."""
    generator = torch.Generator().manual_seed(seed)
    prompts = [torch.tensor([tokenizer.bos_id, *tokenizer.encode(prompt)]) for prompt in PROMPTS]
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    output, state = model.core(pad_sequence(prompts), lengths=lengths)
    output = output[lengths - 1, torch.arange(len(prompts))]
    said = []
    with model.core.frozen():  # the weights stay as they are: pack them once for all steps
        for _ in range(WORDS):
            scores = model.head(output) / TEMPERATURE
            scores[:, tokenizer.unk_id] = -torch.inf
            words = torch.multinomial(scores.softmax(-1), 1, generator=generator)[:, 0]
            said.append(words)
            output, state = model.core.step(words, state)
    return [_until_end(lane, tokenizer) for lane in torch.stack(said, dim=1).tolist()]


def _until_end(words: list[int], tokenizer: Tokenizer) -> str:
    end = words.index(tokenizer.eos_id) if tokenizer.eos_id in words else len(words)
    return tokenizer.decode(words[:end]) + (" <eos>" if end < len(words) else " …")


def main() -> None:
    parser = argparse.ArgumentParser(description="Recurrent language models of IMDB reviews.")
    parser.add_argument("--cell", nargs="+", choices=CELLS, default=["lstm", "gru"])
    parser.add_argument("--reviews", type=int, default=8_000, help="how many to train on")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few reviews, seconds instead of minutes")
    options = parser.parse_args()

    reviews, size = load_reviews(), VOCABULARY
    training, held_out = reviews.train[: options.reviews], reviews.test[:2000]
    if options.quick:
        training, held_out, size = training[:300], held_out[:100], 1000
    tokenizer = Tokenizer.train([review.text for review in training], vocab_size=size)
    training, held_out = windows(training, tokenizer), windows(held_out, tokenizer)

    baseline = unigram(training, held_out, len(tokenizer))
    rows, samples = [f"{'unigram':<10}{baseline.all:>10.1f}{baseline.known:>18.1f}"], []
    for cell in options.cell:
        torch.manual_seed(options.seed)
        started = time.perf_counter()
        model = LanguageModel(cell, len(tokenizer))
        train(model, training, options.epochs, cell)
        seconds = time.perf_counter() - started
        with torch.no_grad():
            found = Perplexity(predict(model, held_out))
        rows.append(f"{cell:<10}{found.all:>10.1f}{found.known:>18.1f}{seconds:>10.0f}")
        samples.append(f"\n{cell}, seed {options.seed}, temperature {TEMPERATURE}:")
        texts = continuations(model, tokenizer, options.seed)
        samples += [f"  {prompt} | {text}" for prompt, text in zip(PROMPTS, texts, strict=True)]
    print(*samples, sep="\n")
    print(f"\n{'model':<10}{'perplexity':>10}{'of known words':>18}{'seconds':>10}", *rows, sep="\n")


if __name__ == "__main__":
    main()
