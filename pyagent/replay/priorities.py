"""How likely a sequence is to be drawn again, from the errors of its steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sequence_priorities(
    td_error: NDArray[np.float64], valid: NDArray[np.bool_] | None, alpha: float, eta: float, epsilon: float
) -> NDArray[np.float64]:
    """`(η · max_t |δ_t| + (1 − η) · mean_t |δ_t| + ε)^α` over the valid steps of each sequence: `[T, n]` → `[n]`.

    Raises:
        ValueError: an error of a valid step that is not finite.
    """
    error = np.abs(td_error if valid is None else np.where(valid, td_error, 0.0))
    if not np.isfinite(error).all():
        raise ValueError(f"td_error: got {error[~np.isfinite(error)][0]}, want finite numbers")
    count = len(error) if valid is None else np.maximum(valid.sum(axis=0), 1)
    return (eta * error.max(axis=0) + (1.0 - eta) * error.sum(axis=0) / count + epsilon) ** alpha


def check_fraction(name: str, value: float) -> None:
    """Raise ValueError unless 0 <= value <= 1."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name}: got {value}, want 0 to 1")
