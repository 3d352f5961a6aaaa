"""Token ids in, hidden states out: embedding and recurrent core as one layer.

The input product is made once per distinct token, or once per vocabulary entry where the batch is larger than the
vocabulary, and gathered by the recurrence; nothing of size T·B·E or T·B·G·H exists in between.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pyagent.nn.frozen import Freezable
from pyagent.nn.recurrent import GRU, LSTM, RNN, Recurrent, State, in_float32, parameter_of
from pyagent.ops import StepWeights, linear, pack_step
from pyagent.ops.checks import check_range, check_size, check_tensor
from pyagent.ops.recurrence import split_biases
from pyagent.ops.recurrence_step import TOKENS

# The projected table is kept while frozen up to this size.
TABLE_BYTES = 64 * 2**20


class EmbeddingRecurrent(Freezable):
    """What EmbeddingRNN, EmbeddingGRU and EmbeddingLSTM share: `embedding.weight` and `rnn.<as torch.nn>`."""

    core: type[Recurrent]

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        *,
        padding_idx: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__()
        check_size("num_embeddings", num_embeddings, 0)
        check_size("embedding_dim", embedding_dim, 0)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"padding_idx: got {padding_idx}, want an id of the {num_embeddings} there are")
        self.embedding = nn.Embedding(num_embeddings, embedding_dim, padding_idx, device=device, dtype=dtype)
        self.rnn = self.core(
            embedding_dim,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            device=device,
            dtype=dtype,
            **keywords,
        )

    @property
    def hidden_size(self) -> int:
        return self.rnn.hidden_size

    def forward(
        self, input: Tensor, state: State | None = None, *, reset: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run over a sequence of tokens.

        Args:
            input: token ids `[T, B]` (`[B, T]` with batch_first), int32 or int64, in [0, num_embeddings).
            state, reset, lengths: as in `pyagent.nn.LSTM.forward`.

        Returns:
            output `[T, B, H]` (`[B, T, H]`) and the state of each lane at its end.

        Raises:
            ValueError, TypeError: a wrong shape, device or dtype.
            IndexError: a token outside the vocabulary, a length outside 0…T.
        """
        axes = ["B", "T"] if self.rnn.batch_first else ["T", "B"]
        check_tensor("input", input, axes, TOKENS, self.embedding.weight.device)
        tokens = (input.t() if self.rnn.batch_first else input).long()
        try:
            return self.rnn.forward_layers(tokens, self.embedding, state, reset, lengths)
        except IndexError:
            check_range("input", input, 0, self.embedding.num_embeddings)
            raise

    def step(self, input: Tensor, state: State | None = None, *, reset: Tensor | None = None) -> tuple[Tensor, State]:
        """One time step without gradient or dropout: the acting path, fastest inside `frozen()`.

        Args:
            input: token ids `[B]`, int32 or int64.
            state, reset: as in `pyagent.nn.LSTM.step`.

        Returns:
            output `[B, H]` and the next state.

        Raises:
            ValueError, TypeError: a wrong shape, device or dtype.
            IndexError: a token outside the vocabulary.
        """
        derived = self._derived
        weights = self.step_weights() if derived is None else derived
        try:
            return self.rnn.take_step(weights, input, state, reset)
        except (RuntimeError, ValueError, TypeError, IndexError):
            like = self.rnn.parameter("weight_hh")
            check_tensor("input", input, ["B"], TOKENS, like.device)
            self.rnn.check_step_state(input.shape[0], state, reset, like)
            check_range("input", input, 0, self.embedding.num_embeddings)
            raise

    def step_weights(self) -> StepWeights:
        """What a step reads, as it is."""
        modules = self._modules  # much faster than by attribute
        table = parameter_of(modules["embedding"], "weight")  # type: ignore[arg-type]
        return modules["rnn"].step_weights()._replace(table=in_float32(table))  # type: ignore[union-attr,operator]

    def derive(self) -> StepWeights:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            weights = self.step_weights()
            table, weight_ih = weights.table, weights.layers[0]
            assert table is not None
            if table.shape[0] * weight_ih.shape[0] * table.element_size() <= TABLE_BYTES:
                bias_ih, bias_hh = weights.layers[2:4] if self.rnn.bias else (None, None)
                rows = linear(table, weight_ih, split_biases(bias_ih, bias_hh, self.rnn.cell)[0])
                weights = weights._replace(table=rows, projected=True)
            return pack_step(weights)


class EmbeddingRNN(EmbeddingRecurrent):
    """Embedding and `pyagent.nn.RNN`; takes `nonlinearity` too."""

    core = RNN


class EmbeddingGRU(EmbeddingRecurrent):
    """Embedding and `pyagent.nn.GRU`."""

    core = GRU


class EmbeddingLSTM(EmbeddingRecurrent):
    """Embedding and `pyagent.nn.LSTM`; its state is (h, c)."""

    core = LSTM
