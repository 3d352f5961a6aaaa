"""Value rescaling: the invertible squashing of returns that lets one learner cope with rewards of every size."""

from __future__ import annotations

from torch import Tensor


def signed_hyperbolic(x: Tensor, epsilon: float = 1e-3) -> Tensor:
    """h(x) = sign(x)(√(|x| + 1) − 1) + εx, elementwise and differentiable everywhere: h'(x) = 1 / (2√(|x| + 1)) + ε.

    Args:
        x: of any shape, floating point.
        epsilon: ε ≥ 0.

    Raises:
        ValueError: ε is negative or no number.

    Pohlen et al. 2018, "Observe and look further: achieving consistent performance on Atari",
    https://arxiv.org/abs/1805.11593
    """
    _check(epsilon)
    # As x times something: no sign whose gradient is lost at 0, and √(|x| + 1) − 1 does not cancel.
    return x * (1 / ((x.abs() + 1).sqrt() + 1) + epsilon)


def signed_parabolic(x: Tensor, epsilon: float = 1e-3) -> Tensor:
    """h⁻¹(x), the inverse of `signed_hyperbolic`; its gradient is 1 / h'(h⁻¹(x)).

    With s = √(|h⁻¹(x)| + 1), h is quadratic in s − 1, which is solved as u = 2|x| / (k + √(k² + 4ε|x|)), k = 1 + 2ε, so
    that nothing cancels in float32 and ε may be 0; |h⁻¹(x)| = u(u + 2).

    Args and errors are those of `signed_hyperbolic`.
    """
    _check(epsilon)
    k, size = 1 + 2 * epsilon, x.abs()
    share = 2 / (k + (k * k + 4 * epsilon * size).sqrt())
    return x * share * (size * share + 2)


def _check(epsilon: float) -> None:
    if not 0 <= epsilon < float("inf"):
        raise ValueError(f"epsilon: got {epsilon}, want a number of at least 0")
