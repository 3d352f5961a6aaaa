"""ε-greedy actions, reproducible from a generator."""

from __future__ import annotations

import torch
from torch import Tensor

from pyagent import native
from pyagent.ops.checks import check_choices, check_optional, check_tensor, one_device
from pyagent.ops.triton_kernels import compiled_for, register
from pyagent.ops.uniform import uniform

FLOATS = (torch.float32, torch.float64)
INFINITY = float("inf")


def epsilon_greedy(
    q: Tensor,
    epsilon: float | Tensor,
    *,
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """With probability ε any allowed action, all equally likely; else the allowed action of the largest value.

    Of equal values the first is taken, as argmax does: what is drawn depends on the generator alone. Every row takes
    two numbers u, w in [0, 1) from it, in float64: the row explores if u < ε, and then takes the ⌊w·n⌋-th of its n
    allowed actions.

    Args:
        q: action values `[…, A]`, float32 or float64; those of actions that are not allowed are never looked at.
        epsilon: in [0, 1]; a number, or a tensor that broadcasts to `[…]`, such as `[B]` for `[B, A]` or `[T, B, A]`.
        mask: bool `[…, A]`, True where an action is allowed; None: all are.
        generator: of any device; None: torch's own.

    Returns:
        actions, int64 `[…]`, the same on every processor and for any number of threads.

    Raises:
        TypeError, ValueError: a wrong shape, device or dtype; ε outside [0, 1]; a row with NaN among its allowed
            values, or without an allowed action: the error names the row (the numbers are drawn by then).
    """
    _check(q, epsilon, mask)
    *rows, A = q.shape
    flat_q = q.detach().reshape(-1, A) if A else q.new_empty(torch.Size(rows).numel(), 0)
    flat_mask = None if mask is None else mask.reshape(flat_q.shape)
    by_row = epsilon.detach().expand(rows).reshape(-1).double() if isinstance(epsilon, Tensor) else None
    number = 0.0 if isinstance(epsilon, Tensor) else epsilon
    numbers = uniform(flat_q.shape[0], 2, device=q.device, generator=generator)
    choose = torch.ops.pyagent.epsilon_greedy.default if compiled_for(q) else epsilon_greedy_reference
    try:
        return choose(flat_q, number, by_row, numbers, flat_mask).view(rows)
    except RuntimeError:
        check_choices("q", q, mask, most=INFINITY)  # names the row, if one was at fault
        raise


def epsilon_greedy_reference(
    q: Tensor, epsilon: float, epsilon_of_row: Tensor | None, uniform: Tensor, mask: Tensor | None
) -> Tensor:
    """The native op in torch: of rows `[N, A]` and their numbers `[N, 2]`."""
    check_choices("q", q, mask, most=INFINITY)
    allowed = torch.ones_like(q, dtype=torch.bool) if mask is None else mask
    best = q.where(allowed, -INFINITY).amax(-1, keepdim=True)
    greedy = (allowed & (q == best)).long().argmax(-1)
    count = allowed.sum(-1)
    left = torch.minimum((uniform[:, 1] * count).long(), count - 1)
    any_of_them = (allowed.cumsum(-1) > left[:, None]).long().argmax(-1)
    return any_of_them.where(uniform[:, 0] < (epsilon if epsilon_of_row is None else epsilon_of_row), greedy)


def _check(q: Tensor, epsilon: float | Tensor, mask: Tensor | None) -> None:
    check_tensor("q", q, [*["…"] * (q.dim() - 1 if isinstance(q, Tensor) else 0), "A"], FLOATS)
    check_optional("mask", mask, list(q.shape), (torch.bool,), q.device)
    if not isinstance(epsilon, Tensor):
        if not 0 <= epsilon <= 1:
            raise ValueError(f"epsilon: got {epsilon}, want a number in [0, 1]")
        return
    check_tensor("epsilon", epsilon, ["…"] * epsilon.dim(), FLOATS, q.device)
    rows = q.shape[:-1]
    if epsilon.dim() > len(rows) or any(
        size not in (1, wanted) for size, wanted in zip(epsilon.shape[::-1], rows[::-1], strict=False)
    ):
        raise ValueError(f"epsilon: got shape {tuple(epsilon.shape)}, want one that broadcasts to {tuple(rows)}")
    if not q.is_cuda and not ((epsilon >= 0) & (epsilon <= 1)).all():  # there it would wait for the device
        raise ValueError("epsilon: got a number that is not in [0, 1]")


if native.available:
    register("epsilon_greedy")

    @torch.library.register_fake("pyagent::epsilon_greedy")
    def _(q: Tensor, epsilon: float, epsilon_of_row: Tensor | None, uniform: Tensor, mask: Tensor | None) -> Tensor:
        one_device("epsilon_greedy", (q, epsilon_of_row, uniform, mask))
        return q.new_empty(q.shape[0], dtype=torch.int64)
