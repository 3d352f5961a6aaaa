"""Observations of gymnasium's spaces: as rows of tensors, and as one vector a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from pyagent.nn.recurrent import in_float32


@dataclass(frozen=True)
class Rows:
    """N observations, one tensor [N, ...] for each part of their space."""

    parts: tuple[Tensor, ...]

    def __len__(self) -> int:
        return self.parts[0].shape[0]

    def select(self, rows: Tensor) -> Rows:
        """These observations (int64 [M])."""
        return Rows(tuple(part[rows] for part in self.parts))


class RunningScale(nn.Module):
    """(x − mean) / deviation, within ±10, of all rows that `learn` was shown; until then x.

    Mean and variance of a growing set: Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for
    computing sample variances".
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))

    def forward(self, rows: Tensor) -> Tensor:
        """Rows [N, size] float32, scaled."""
        return ((rows - self.mean) / (self.variance + 1e-8).sqrt()).clamp(-10, 10).to(rows.dtype)

    @torch.no_grad()
    def learn(self, rows: Tensor) -> None:
        """Takes rows [N, size] into the mean and the variance."""
        n, rows = rows.shape[0], rows.double()
        if n == 0:
            return
        total = self.count + n
        delta = rows.mean(0) - self.mean
        squares = self.variance * self.count + rows.var(0, correction=0) * n + delta**2 * self.count * n / total
        self.mean += delta * n / total
        self.variance.copy_(squares / total)
        self.count.copy_(total)


class SpaceReader(nn.Module):
    """Understands `Discrete`, `MultiDiscrete`, `MultiBinary`, `Box`, and `Dict` and `Tuple` of these.

    An observation's vector has the numbers of every `Box` and `MultiBinary` as they are (images of bytes divided by
    255), and for every `Discrete` or `MultiDiscrete` the sum of its choices' embeddings. A space that is one `Discrete`
    gives the choice itself, a token, for a core with an embedding of its own (`pyagent.nn.EmbeddingLSTM` …), which
    projects every token once.

    Args:
        space: of one observation.
        embedding_dim: size of a choice's embedding.
        normalize: shift and scale numbers by the mean and deviation of those that `learn_scale` was shown.

    Raises:
        TypeError: another space.
    """

    place: Tensor

    def __init__(self, space: gym.Space[Any], *, embedding_dim: int = 64, normalize: bool = False) -> None:
        super().__init__()
        self.space, self.leaves = space, list(_leaves(space))
        self.num_tokens = int(space.n) if isinstance(space, gym.spaces.Discrete) else None
        self.embeddings = nn.ModuleList()
        self.register_buffer("place", torch.empty(0), persistent=False)  # goes where the module goes
        self.output_size = 0
        for leaf in self.leaves:
            choices = _choices(leaf)
            self.output_size += embedding_dim if choices is not None else _numbers(leaf)
            if choices is not None and self.num_tokens is None:
                self.embeddings.append(nn.Embedding(int(choices.sum()), embedding_dim))
        numbers = [_numbers(leaf) for leaf in self.leaves if _choices(leaf) is None]
        self.scales = nn.ModuleList(RunningScale(size) for size in numbers) if normalize else None

    def prepare(self, observations: Any) -> Rows:
        """Tensors of a batch as a vector environment gives it; no weight is involved.

        Raises:
            ValueError: NaN, or a choice outside its space; the environment is named.
        """
        values = _parts(self.space, observations)
        parts = [_prepared(leaf, value) for leaf, value in zip(self.leaves, values, strict=True)]
        return Rows(tuple(part.to(self.place.device) for part in parts))

    def forward(self, rows: Rows) -> Tensor:
        """One vector a row, [N, D]; of a space that is one `Discrete`, one token a row, int64 [N]."""
        if self.num_tokens is not None:
            return rows.parts[0][:, 0]
        embeddings = iter(self.embeddings)
        scales = iter(self.scales) if self.scales is not None else repeat(nn.Identity())
        read = [
            next(scales)(part) if part.is_floating_point() else next(embeddings)(part).sum(1) for part in rows.parts
        ]
        return read[0] if len(read) == 1 else torch.cat([in_float32(part) for part in read], -1)

    def step(self, observations: Any) -> Tensor:
        """The same for acting, without gradient."""
        with torch.no_grad():
            return self(self.prepare(observations))

    def learn_scale(self, rows: Rows) -> None:
        """Takes observations into account by which others are normalised."""
        if self.scales is not None:
            numbers = [part for part in rows.parts if part.is_floating_point()]
            for scale, part in zip(self.scales, numbers, strict=True):
                scale.learn(part)  # type: ignore[operator]

    @contextmanager
    def frozen(self) -> Iterator[SpaceReader]:
        """Nothing is kept: reading is a look-up."""
        yield self


def join(batches: Sequence[Any]) -> Any:
    """Batches of observations one after the other, as one batch."""
    first = batches[0]
    if isinstance(first, dict):
        return {key: join([batch[key] for batch in batches]) for key in first}
    if isinstance(first, np.ndarray):
        return np.concatenate(batches)
    if all(isinstance(text, str) for text in first):
        return [text for batch in batches for text in batch]
    return tuple(join(parts) for parts in zip(*batches, strict=True))


def choose(mask: np.ndarray, these: Any, those: Any) -> Any:
    """The batch with lanes of `these` where `mask` [B], of `those` elsewhere."""
    if isinstance(those, dict):
        return {key: choose(mask, these[key], those[key]) for key in those}
    if isinstance(those, np.ndarray):
        return np.where(mask.reshape(-1, *[1] * (those.ndim - 1)), these, those)
    if all(isinstance(text, str) for text in those):
        return [one if chosen else other for chosen, one, other in zip(mask, these, those, strict=True)]
    return tuple(choose(mask, one, other) for one, other in zip(these, those, strict=True))


def as_batch(space: gym.Space[Any], observation: Any) -> tuple[Any, bool]:
    """A batch, and whether `observation` was a single one."""
    if isinstance(space, gym.spaces.Text):
        return ([observation], True) if isinstance(observation, str) else (list(observation), False)
    single = np.shape(next(iter(_parts(space, observation)))) == next(_leaves(space)).shape
    return (_map(lambda value: np.asarray(value)[None], observation) if single else observation), single


def _map(function: Any, observation: Any) -> Any:
    if isinstance(observation, dict):
        return {key: _map(function, value) for key, value in observation.items()}
    if isinstance(observation, tuple):
        return tuple(_map(function, value) for value in observation)
    return function(observation)


def _leaves(space: gym.Space[Any]) -> Iterator[gym.Space[Any]]:
    if isinstance(space, gym.spaces.Dict):
        for part in space.spaces.values():
            yield from _leaves(part)
    elif isinstance(space, gym.spaces.Tuple):
        for part in space.spaces:
            yield from _leaves(part)
    elif isinstance(space, (gym.spaces.Box, gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)):
        yield space
    else:
        raise TypeError(
            "env: want observations that are Text, or Discrete, MultiDiscrete, MultiBinary or Box, or Dict or Tuple of "
            f"these, got {space}"
        )


def _parts(space: gym.Space[Any], observations: Any) -> Iterator[Any]:
    if isinstance(space, gym.spaces.Dict):
        for key, part in space.spaces.items():
            yield from _parts(part, observations[key])
    elif isinstance(space, gym.spaces.Tuple):
        for part, value in zip(space.spaces, observations, strict=True):
            yield from _parts(part, value)
    else:
        yield observations


def _choices(leaf: gym.Space[Any]) -> np.ndarray | None:
    """How many values each of a leaf's choices has; None where it has numbers."""
    if isinstance(leaf, gym.spaces.Discrete):
        return np.array([int(leaf.n)])
    return leaf.nvec.reshape(-1) if isinstance(leaf, gym.spaces.MultiDiscrete) else None


def _numbers(leaf: gym.Space[Any]) -> int:
    return int(np.prod(leaf.shape or (1,)))


def _prepared(leaf: gym.Space[Any], value: Any) -> Tensor:
    array = np.asarray(value)
    flat = array.reshape(len(array), -1)
    choices = _choices(leaf)
    if choices is None:
        numbers = flat.astype(np.float32)
        bad = ~np.isfinite(numbers).all(1)
        if bad.any():
            raise ValueError(f"observation: environment {int(bad.argmax())} gave {flat[bad][0]}, want finite numbers")
        return torch.from_numpy(numbers / 255 if array.dtype == np.uint8 else numbers)
    chosen = flat - np.asarray(leaf.start).reshape(-1)  # type: ignore[attr-defined]
    bad = ((chosen < 0) | (chosen >= choices)).any(1)
    if bad.any():
        raise ValueError(f"observation: environment {int(bad.argmax())} gave {flat[bad][0]}, want one of {leaf}")
    return torch.from_numpy(chosen.astype(np.int64) + (choices.cumsum() - choices))
