"""bfloat16 as numpy can hold it: the upper half of a float32."""

import numpy as np


def bf16_bits(x) -> np.ndarray:
    """uint16, rounded to nearest even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bf16_bits(bits) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)
