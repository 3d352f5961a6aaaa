"""What is computed in a recurrent benchmark: the sizes, the FLOPs that they need, the bytes that must move."""

from __future__ import annotations

from typing import NamedTuple

VOCABULARY = 256
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
Shape = tuple[int, int, int]  # B, T, H

TRAINING_SHAPES: tuple[Shape, ...] = (
    (8, 16, 128),
    (32, 64, 128),
    (32, 64, 256),
    (64, 32, 512),
    (128, 32, 256),
    (256, 16, 128),
)
RESET_SHAPES: tuple[Shape, ...] = ((8, 32, 64), (16, 32, 128), (32, 64, 128), (64, 32, 256))
RESET_PROBABILITY = 1 / 32


def shape_id(shape: Shape) -> str:
    return "B{}-T{}-H{}".format(*shape)


class Problem(NamedTuple):
    """One layer with E = H over T steps of B lanes; the input is tokens, or dense and then differentiated too."""

    cell: str
    B: int
    T: int
    H: int
    tokens: bool = True
    p_reset: float = 0.0

    @property
    def weights(self) -> int:
        """Parameters: the recurrent layer's, and the embedding's where tokens come in."""
        rnn = GATES[self.cell] * self.H * (2 * self.H + 2)
        return rnn + (VOCABULARY * self.H if self.tokens else 0)

    def flops(self, training: bool, distinct: bool = True) -> int:
        """Floating-point operations of the matrix products, a backward pass counting twice a forward one.

        With `distinct`, the input product is made once a distinct token (at most the vocabulary), which is all that is
        needed; without, once a position, which is what torch.nn does.
        """
        positions = self.T * self.B
        rows = min(VOCABULARY, positions) if self.tokens and distinct else positions
        forward = 2 * GATES[self.cell] * self.H * self.H * (rows + positions)
        return forward * (3 if training else 1)

    def bytes(self, training: bool, width: int = 4) -> int:
        """Bytes that any implementation moves: every input, weight, output and gradient of those, once."""
        positions = self.T * self.B
        dense = 0 if self.tokens else positions * self.H * width
        arrays = width * (self.weights + positions * self.H) + dense
        return arrays * (2 if training else 1) + (8 * positions if self.tokens else 0)
