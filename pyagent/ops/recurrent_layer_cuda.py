"""A whole recurrent layer on CUDA: torch's product for the input projection, our kernels for the recurrence over it.

The rows are those of the whole table where that has no more of them than the batch has tokens, else one a token: their
number never depends on what the tokens are, so nothing waits for the device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pyagent.ops.recurrence import recurrence, runs_on_cuda, split_biases


def recurrent_layer_cuda(
    input: Tensor,
    embedding: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    h_0: Tensor | None,
    c_0: Tensor | None,
    reset: Tensor | None,
    lengths: Tensor | None,
    *,
    cell: str,
    padding_idx: int | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """`recurrent_layer` of checked CUDA tensors."""
    bias, bias_hn = split_biases(bias_ih, bias_hh, cell)
    if torch.is_autocast_enabled("cuda"):
        dtype = torch.get_autocast_dtype("cuda")
        weight_hh = weight_hh.to(dtype)
        h_0, bias_hn = (None if x is None else x.to(dtype) for x in (h_0, bias_hn))
    inputs, row_index = (input, None) if embedding is None else rows_and_index(input, embedding, padding_idx)
    rows = torch.nn.functional.linear(inputs, weight_ih, None if bias is None else bias.to(weight_ih.dtype))
    bias_hn = None if bias_hn is None else bias_hn.to(rows.dtype)
    if runs_on_cuda(rows) and c_0 is not None and rows.dtype == torch.bfloat16:
        c_0 = c_0.float()
    output, h_n, c_n = recurrence(rows, row_index, weight_hh, bias_hn, h_0, c_0, reset, lengths, cell=cell)
    return output, h_n, c_n if c_n is None else c_n.to(h_n.dtype)


def rows_and_index(input: Tensor, embedding: Tensor, padding_idx: int | None) -> tuple[Tensor, Tensor]:
    """Embeddings, and which of them each token `[T, B]` reads, −1 for one outside the vocabulary: found without
    waiting for the device, and read by nobody before the kernel, which knows what to do about it."""
    V = embedding.shape[0]
    if input.numel() >= V:
        every = torch.arange(V, device=input.device)
        return torch.nn.functional.embedding(every, embedding, padding_idx), input
    inside = (input >= 0) & (input < V)
    each = torch.arange(input.numel(), device=input.device).view(input.shape)
    tokens = torch.where(inside, input, 0).reshape(-1)
    return torch.nn.functional.embedding(tokens, embedding, padding_idx), torch.where(inside, each, -1)
