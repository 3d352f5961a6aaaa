"""The distinct tokens of a batch, so that what depends on the token alone is computed once for each."""

from __future__ import annotations

import torch
from torch import Tensor

from pyagent import native
from pyagent.ops.checks import check_range, check_tensor


def distinct_tokens(tokens: Tensor, num_embeddings: int) -> tuple[Tensor, Tensor]:
    """Which tokens occur, and where each place of the batch finds its own.

    Args:
        tokens: `[T, B]` int64 in [0, num_embeddings).
        num_embeddings: size V of the vocabulary.

    Returns:
        ids `[U]` int64, ascending, and row_index `[T, B]` int64 with `ids[row_index] == tokens`. Under `torch.compile`
        ids is padded with zeros to min(V, T·B), a size known in advance, which nothing refers to.

    Raises:
        ValueError, TypeError: a wrong shape or dtype.
        IndexError: a token outside the vocabulary.
    """
    check_tensor("tokens", tokens, ["T", "B"], (torch.int64,))
    if num_embeddings < 0:
        raise ValueError(f"num_embeddings: got {num_embeddings}, want 0 or more")
    if not native.available or not tokens.is_cpu:
        check_range("tokens", tokens, 0, num_embeddings)
        return distinct_tokens_reference(tokens, num_embeddings)
    try:
        ids, row_index, found = torch.ops.pyagent.distinct_tokens.default(tokens, num_embeddings)
    except RuntimeError:
        check_range("tokens", tokens, 0, num_embeddings)
        raise
    return (ids if torch.compiler.is_compiling() else ids[: int(found)]), row_index


def distinct_tokens_reference(tokens: Tensor, num_embeddings: int) -> tuple[Tensor, Tensor]:
    """`distinct_tokens` in torch."""
    ids, row_index = torch.unique(tokens, return_inverse=True)
    return ids, row_index


if native.available:

    @torch.library.register_fake("pyagent::distinct_tokens")
    def _(tokens: Tensor, num_embeddings: int) -> tuple[Tensor, Tensor, Tensor]:
        T, B = tokens.shape
        return tokens.new_empty(min(num_embeddings, T * B)), tokens.new_empty(T, B), tokens.new_empty(())
