"""Text in, batches of token ids out."""

from pyagent.text.packing import Batch, batches
from pyagent.text.tokenizer import Tokenizer

__all__ = ["Batch", "Tokenizer", "batches"]
