"""Actions or tokens drawn from a softmax, reproducible from a generator.

An action i of logit z_i is drawn with probability p_i ∝ exp(z_i / temperature), among those that are left:

1. the allowed ones: mask is True and z_i > −∞;
2. of these the first k in rank (top_k);
3. of these the fewest first in rank whose probability, renormalised, reaches p (top_p; Holtzman et al. 2020, "The
   curious case of neural text degeneration", https://arxiv.org/abs/1904.09751).

Rank is by logit, largest first, and by index among equals, so that a cut through equals is no matter of chance. (That,
and that k cuts through equals at all, is the only difference to transformers' warpers in the same order.) A row takes
one number u in [0, 1) from the generator, in float64, and its action is the first with Σ_{j ≤ i} p_j > u.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pyagent import native
from pyagent.ops.checks import check_choices, check_optional, check_tensor, one_device
from pyagent.ops.triton_kernels import compiled_for, register
from pyagent.ops.uniform import uniform

FLOATS = (torch.float32, torch.float64)
INFINITY = float("inf")


def sample_categorical(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """One action a row.

    Args:
        logits: `[…, A]`, float32 or float64, normalised or not; −∞ is an action that is never drawn. Those of actions
            that are not allowed are never looked at.
        temperature: above 0.
        top_k: at least 1; None: all.
        top_p: in (0, 1]; None: all.
        mask: bool `[…, A]`, True where an action is allowed; None: all are.
        generator: of any device; None: torch's own.

    Returns:
        actions, int64 `[…]`, the same on every processor and for any number of threads: exponentials are made by one
        sequence of additions and multiplications in the logits' dtype, and summed in float64.

    Raises:
        TypeError, ValueError: a wrong shape, device or dtype; a number out of range; a row with NaN or +∞ among its
            allowed logits, or without an allowed action: the error names the row (the numbers are drawn by then).
    """
    check_tensor("logits", logits, [*["…"] * (logits.dim() - 1 if isinstance(logits, Tensor) else 0), "A"], FLOATS)
    check_optional("mask", mask, list(logits.shape), (torch.bool,), logits.device)
    if not 0 < temperature < INFINITY:
        raise ValueError(f"temperature: got {temperature}, want a number above 0")
    if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
        raise ValueError(f"top_k: got {top_k!r}, want an integer of at least 1")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p: got {top_p}, want a number in (0, 1]")
    *rows, A = logits.shape
    flat = logits.detach().reshape(-1, A) if A else logits.new_empty(torch.Size(rows).numel(), 0)
    flat_mask = None if mask is None else mask.reshape(flat.shape)
    numbers = uniform(flat.shape[0], device=logits.device, generator=generator)
    draw = torch.ops.pyagent.sample_categorical.default if compiled_for(logits) else sample_categorical_reference
    try:
        return draw(flat, numbers, temperature, top_k, top_p, flat_mask).view(rows)
    except RuntimeError:
        check_choices("logits", logits, mask, most=torch.finfo(logits.dtype).max)  # names the row at fault
        raise


def sample_categorical_reference(
    logits: Tensor, uniform: Tensor, temperature: float, top_k: int | None, top_p: float | None, mask: Tensor | None
) -> Tensor:
    """The native op in torch, in float64: of rows `[N, A]` and their numbers `[N]`."""
    check_choices("logits", logits, mask, most=torch.finfo(logits.dtype).max)
    logits = logits.double() if mask is None else logits.double().where(mask, -INFINITY)
    ranked, action = logits.sort(dim=-1, descending=True, stable=True)
    if top_k is not None:
        ranked[:, top_k:] = -INFINITY
    weight = ((ranked - ranked[:, :1]) / temperature).exp()
    if top_p is not None:
        weight = weight.where(weight.cumsum(-1) - weight < top_p * weight.sum(-1, keepdim=True), 0.0)
    weight = torch.zeros_like(weight).scatter(-1, action, weight)
    share = weight.cumsum(-1)
    # A share that rounding leaves behind all is that of the last action with a weight.
    wanted = torch.minimum(uniform * share[:, -1], share[:, -1].nextafter(share.new_zeros(())))
    return (share > wanted[:, None]).long().argmax(-1)


if native.available:
    register("sample_categorical")

    @torch.library.register_fake("pyagent::sample_categorical")
    def _(
        logits: Tensor,
        uniform: Tensor,
        temperature: float,
        top_k: int | None,
        top_p: float | None,
        mask: Tensor | None,
    ) -> Tensor:
        one_device("sample_categorical", (logits, uniform, mask))
        return logits.new_empty(logits.shape[0], dtype=torch.int64)
