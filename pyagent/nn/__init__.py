"""Recurrent layers over the compiled core, with the parameters of torch.nn's."""

from pyagent.nn.embedding_recurrent import EmbeddingGRU, EmbeddingLSTM, EmbeddingRNN
from pyagent.nn.recurrent import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN", "EmbeddingGRU", "EmbeddingLSTM", "EmbeddingRNN"]
