"""Prompt→response pairs packed into ``[T, B]`` without padding."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from pyagent.text.tokenizer import Tokenizer


class Batch(NamedTuple):
    """One window of `batches`."""

    tokens: torch.Tensor
    """int64 [T, B]"""
    reset: torch.Tensor
    """bool [T, B]: a pair starts here, so the state before this position is a fresh one"""
    loss_mask: torch.Tensor
    """bool [T, B]: the next token, ``tokens[t + 1]``, belongs to a response; always False in the last row"""


def batches(
    pairs: Iterable[tuple[str, str]],
    tokenizer: Tokenizer,
    *,
    batch_size: int,
    length: int,
    seed: int | None = None,
) -> Iterator[Batch]:
    """Packs prompts and responses for one pass of supervised fine-tuning.

    Every pair becomes ``<bos> prompt response <eos>``, and pairs follow one another in `batch_size` lanes without a
    gap. The lanes are cut into windows of `length` rows; each window begins with the row the last one ended with. So::

        state = None
        for tokens, reset, loss_mask in batches(pairs, tokenizer, batch_size=B, length=T):
            output, state = model(tokens[:-1], state, reset=reset[:-1])    # carry the state: pairs cross windows
            loss = cross_entropy(head(output)[loss_mask[:-1]], tokens[1:][loss_mask[:-1]])

    feeds every token once and counts every token of every response, ``<eos>`` included, exactly once: the losses are
    those of each pair alone. Where a lane runs out of pairs before the others, pairs already seen follow with
    `loss_mask` False.

    Args:
        pairs: (prompt, response); either may be empty (a plain text is a response to an empty prompt).
        tokenizer: makes the tokens.
        batch_size: B, lanes, ≥ 1.
        length: T, rows of a window, ≥ 2.
        seed: shuffles the pairs; None keeps their order.

    Yields:
        `Batch`: tokens int64 [T, B], reset bool [T, B], loss_mask bool [T, B].

    Raises:
        ValueError: `batch_size` < 1 or `length` < 2.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
    if length < 2:
        raise ValueError(f"length must be 2 or more, got {length}")
    return _windows(_sequences(pairs, tokenizer, seed), batch_size, length)


class _Sequence(NamedTuple):
    tokens: np.ndarray
    response: int
    """where the response starts"""


def _sequences(pairs: Iterable[tuple[str, str]], tokenizer: Tokenizer, seed: int | None) -> list[_Sequence]:
    pairs = list(pairs)
    if seed is not None:
        pairs = [pairs[i] for i in np.random.default_rng(seed).permutation(len(pairs))]
    prompts = tokenizer.encode_batch([prompt for prompt, _ in pairs])
    responses = tokenizer.encode_batch([response for _, response in pairs])
    return [
        _Sequence(np.array([tokenizer.bos_id, *prompt, *response, tokenizer.eos_id], dtype=np.int64), 1 + len(prompt))
        for prompt, response in zip(prompts, responses, strict=True)
    ]


def _windows(sequences: list[_Sequence], lanes: int, length: int) -> Iterator[Batch]:
    if not sequences:
        return
    assigned = _assign(sequences, lanes)
    longest = max(sum(len(sequences[i].tokens) for i in lane) for lane in assigned)
    # One row more than a multiple of length - 1: the last row of a window is only a target.
    rows = -(-max(longest - 1, 1) // (length - 1)) * (length - 1) + 1
    columns = [_lane(sequences, lane, rows) for lane in assigned]
    tokens, reset, loss_mask = (torch.from_numpy(np.stack(parts, axis=1)) for parts in zip(*columns, strict=True))
    for start in range(0, rows - 1, length - 1):
        window = slice(start, start + length)
        mask = loss_mask[window].clone()
        mask[-1] = False
        yield Batch(tokens[window].clone(), reset[window].clone(), mask)


def _assign(sequences: list[_Sequence], lanes: int) -> list[list[int]]:
    """Gives each sequence in turn to the lane that is shortest so far."""
    assigned: list[list[int]] = [[] for _ in range(lanes)]
    heap = [(0, lane) for lane in range(lanes)]
    for i, sequence in enumerate(sequences):
        filled, lane = heapq.heappop(heap)
        assigned[lane].append(i)
        heapq.heappush(heap, (filled + len(sequence.tokens), lane))
    return assigned


def _lane(sequences: list[_Sequence], own: list[int], rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    tokens = np.empty(rows, dtype=np.int64)
    reset = np.zeros(rows, dtype=np.bool_)
    loss_mask = np.zeros(rows, dtype=np.bool_)
    row = 0
    for i in own:
        sequence = sequences[i]
        stop = row + len(sequence.tokens)
        tokens[row:stop] = sequence.tokens
        reset[row] = True
        loss_mask[row + sequence.response - 1 : stop - 1] = True
        row = stop
    filler = 0
    while row < rows:
        sequence = sequences[filler % len(sequences)]
        stop = min(row + len(sequence.tokens), rows)
        tokens[row:stop] = sequence.tokens[: stop - row]
        reset[row] = True
        row, filler = stop, filler + 1
    return tokens, reset, loss_mask
