"""Does the reviewer like the film? Embedding → RNN → linear, and embedding → LSTM → linear, on IMDB reviews.

python examples/sentiment.py                       # both, a few minutes
python examples/sentiment.py --cell gru --seed 1
python examples/sentiment.py --read last           # only what the state still holds at a review's end
"""

from __future__ import annotations

import argparse
import copy
import sys
import time

import numpy as np
import torch
from reviews import Review, Reviews, load_reviews
from rich.progress import track
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from pyagent.evaluation import wilson_interval
from pyagent.nn import EmbeddingGRU, EmbeddingLSTM, EmbeddingRNN
from pyagent.text import Tokenizer

CELLS = {"rnn": EmbeddingRNN, "gru": EmbeddingGRU, "lstm": EmbeddingLSTM}
VOCABULARY = 10_000  # words; the others are <unk>
LENGTH = 400  # words of a review that are read, its last: they tend to hold the verdict
HIDDEN = 64
DROPOUT = 0.5
UNKNOWN = 0.3  # share of a training review's words read as <unk>, so that no single word is leaned on
LEARNING_RATE, DECAY = 2e-3, 0.6  # after each epoch the rate falls by this factor
BATCH = 32
PATIENCE = 2  # training stops when the validation loss has not fallen for so many epochs

Batch = tuple[Tensor, Tensor, Tensor]  # tokens [T, B], lengths [B], labels [B]


class SentimentClassifier(nn.Module):
    """Two scores, dislikes and likes, from the mean of the core's outputs or from its last state."""

    def __init__(self, cell: str, vocabulary: int, read: str) -> None:
        super().__init__()
        self.core = CELLS[cell](vocabulary, HIDDEN, HIDDEN)
        self.dropout = nn.Dropout(DROPOUT)
        self.head = nn.Linear(HIDDEN, 2)
        self.read = read
        nn.init.normal_(self.core.embedding.weight, std=0.1)
        if cell == "rnn":  # an orthogonal matrix neither shrinks nor grows what passes through it at every word
            nn.init.orthogonal_(self.core.rnn.weight_hh_l0)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """tokens [T, B], lengths [B] → [B, 2]"""
        output, state = self.core(tokens, lengths=lengths)
        if self.read == "last":
            h_n = state[0] if isinstance(state, tuple) else state  # an LSTM's state is (h, c)
            return self.head(self.dropout(h_n[-1]))
        return self.head(self.dropout(output.sum(0) / lengths[:, None]))  # outputs past a review's end are 0


class Examples:
    """Reviews as tokens, dealt in batches of like length."""

    def __init__(self, reviews: list[Review], tokenizer: Tokenizer, length: int) -> None:
        encoded = tokenizer.encode_batch([review.text for review in reviews])
        self.tokens = [torch.tensor(ids[-length:]) for ids in encoded]
        self.labels = torch.tensor([review.label for review in reviews])

    def batches(self, size: int, generator: np.random.Generator | None = None) -> list[Batch]:
        """Every review once; in a new order and mixture for every draw of the generator."""
        order = np.arange(len(self.tokens)) if generator is None else generator.permutation(len(self.tokens))
        pools = [order[start : start + 50 * size] for start in range(0, len(order), 50 * size)]
        alike = [i for pool in pools for i in sorted(pool, key=lambda i: len(self.tokens[i]))]
        found = [self._batch(alike[start : start + size]) for start in range(0, len(alike), size)]
        return found if generator is None else [found[i] for i in generator.permutation(len(found))]

    def _batch(self, chosen: list[int]) -> Batch:
        tokens = [self.tokens[i] for i in chosen]
        return pad_sequence(tokens), torch.tensor([len(review) for review in tokens]), self.labels[chosen]


def train_epoch(model: SentimentClassifier, batches: list[Batch], optimizer: torch.optim.Optimizer, title: str) -> None:
    model.train()
    for tokens, lengths, labels in track(batches, title, transient=True, disable=not sys.stdout.isatty()):
        tokens = tokens.masked_fill(torch.rand(tokens.shape) < UNKNOWN, Tokenizer.unk_id)
        loss = cross_entropy(model(tokens, lengths), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


@torch.no_grad()
def evaluate(model: SentimentClassifier, examples: Examples) -> tuple[float, int]:
    """Mean cross-entropy, and how many reviews are judged right."""
    model.eval()
    loss, right = 0.0, 0
    for tokens, lengths, labels in examples.batches(256):
        scores = model(tokens, lengths)
        loss += cross_entropy(scores, labels, reduction="sum").item()
        right += int((scores.argmax(1) == labels).sum())
    return loss / len(examples.labels), right


def train(
    model: SentimentClassifier, training: Examples, validation: Examples, epochs: int, seed: int, name: str
) -> None:
    """Trains until the validation loss stops falling; leaves the weights where it was lowest."""
    generator = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, DECAY)
    best_loss, best_epoch, best = float("inf"), 0, model.state_dict()
    for epoch in range(1, epochs + 1):
        train_epoch(model, training.batches(BATCH, generator), optimizer, f"{name} epoch {epoch}")
        schedule.step()
        loss, right = evaluate(model, validation)
        print(f"{name} epoch {epoch}: validation loss {loss:.3f}, accuracy {right / len(validation.labels):.3f}")
        if loss < best_loss:
            best_loss, best_epoch, best = loss, epoch, copy.deepcopy(model.state_dict())
        elif epoch - best_epoch >= PATIENCE:
            break
    model.load_state_dict(best)


def main() -> None:
    parser = argparse.ArgumentParser(description="Sentiment of IMDB reviews with recurrent networks.")
    parser.add_argument("--cell", nargs="+", choices=CELLS, default=["rnn", "lstm"])
    parser.add_argument("--read", choices=["mean", "last"], default="mean", help="mean of the outputs, or last state")
    parser.add_argument("--epochs", type=int, default=6, help="at most; training stops early")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a few reviews, seconds instead of minutes")
    options = parser.parse_args()

    reviews, length, epochs = load_reviews(), LENGTH, options.epochs
    if options.quick:
        reviews = Reviews(reviews.train[:2400], reviews.validation[:400], reviews.test[:1000])
        length, epochs = 100, min(3, epochs)
    tokenizer = Tokenizer.train([review.text for review in reviews.train], vocab_size=VOCABULARY)
    train_set, validation_set, test_set = (Examples(part, tokenizer, length) for part in reviews)
    print(f"reviews: {len(reviews.train)} training, {len(reviews.validation)} validation, {len(reviews.test)} test")

    rows = []
    for cell in options.cell:
        torch.manual_seed(options.seed)
        started = time.perf_counter()
        model = SentimentClassifier(cell, len(tokenizer), options.read)
        train(model, train_set, validation_set, epochs, options.seed, cell)
        seconds = time.perf_counter() - started
        loss, right = evaluate(model, test_set)
        rows.append(f"{cell:<6}{loss:>10.3f}   {wilson_interval(right, len(reviews.test))}{seconds:>10.0f}")
    print(f"\n{'cell':<6}{'test loss':>10}   {'accuracy [95 %]':<20}{'seconds':>10}", *rows, sep="\n")


if __name__ == "__main__":
    main()
