"""What the returns share: each is one linear recursion backwards in time, every lane for itself,

    x_t = a_t + b_t · x_{t+1}

and an op is the formula that makes a_t and b_t of its arguments. The kernels read those once and write the results.

An episode ends in two ways. Where it *terminated* after r_t, nothing more was to come: discount_t is 0. Where it was
*truncated*, as by a time limit, more would have come, worth v(x), the value of its final observation x: discount_t is
what it is inside an episode, and the op is told so by `truncated`. It then counts the step as one of

    reward  r_t + discount_t · v(x)     and discount  0

so that the recursion is cut there, whatever comes next in the lane, and the return is bootstrapped all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyagent import native
from pyagent.ops import triton_kernels
from pyagent.ops.checks import check_optional, check_tensor, one_device

FLOATS = (torch.float32, torch.float64)


def evaluate(
    op: Callable[..., Any] | None, elsewhere: Callable[..., Any], check: Callable[..., None], *arguments: Any
) -> Any:
    """`op`, of tensors where it has a kernel; else `elsewhere`, of what `check` lets pass."""
    if op is not None:
        # The op checks what it is given, and takes microseconds: words are only made when something is wrong.
        try:
            if triton_kernels.compiled_for(arguments[0]):
                return op(*arguments)
        except (RuntimeError, TypeError, AttributeError):
            check(*arguments)
            raise
    check(*arguments)
    with torch.no_grad():
        return elsewhere(*arguments)


def compiled(name: str, results: int = 1) -> Callable[..., Any] | None:
    """The op of this name, or None without the compiled core. No gradient flows through it, and its results, one or
    more, are like its first argument."""
    if not native.available:
        return None

    def fake(r_t: Tensor, *others: Any) -> Any:
        one_device(name, (r_t, *(x for x in others if isinstance(x, Tensor))))
        made = tuple(r_t.new_empty(r_t.shape) for _ in range(results))
        return made if results > 1 else made[0]

    torch.library.register_fake(f"pyagent::{name}", fake)
    _LIBRARY.impl(name, torch.library.fallthrough_kernel, "Autograd")
    triton_kernels.register(name)
    return getattr(torch.ops.pyagent, name).default


def scan_reference(a_t: Tensor, b_t: Tensor, last: Tensor) -> Tensor:
    """The recursion in torch, one step at a time, from x_T = `last` `[B]`."""
    x_t = torch.empty_like(a_t)
    for t in reversed(range(a_t.shape[0])):
        last = x_t[t] = a_t[t] + b_t[t] * last
    return x_t


def cut_reference(
    r_t: Tensor, discount_t: Tensor, truncated: Tensor | None, v_final: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Rewards and discounts as the recursion sees them."""
    if truncated is None or v_final is None:
        return r_t, discount_t
    return torch.where(truncated, r_t + discount_t * v_final, r_t), discount_t.masked_fill(truncated, 0.0)


def check_steps(r_t: Tensor, discount_t: Tensor, truncated: Tensor | None, **like_r_t: Tensor | None) -> None:
    """Check the arguments `[T, B]` that every return has, and by name those that are like the rewards."""
    check_tensor("r_t", r_t, ["T", "B"], FLOATS)
    for name, tensor in {"discount_t": discount_t, **like_r_t}.items():
        check_tensor(name, tensor, r_t.shape, (r_t.dtype,), r_t.device)
    check_optional("truncated", truncated, r_t.shape, (torch.bool,), r_t.device)


def check_v_final(r_t: Tensor, truncated: Tensor | None, v_final: Tensor | None) -> None:
    """Check an argument that is like the rewards and has a use beside `truncated` alone."""
    check_optional("v_final", v_final, r_t.shape, (r_t.dtype,), r_t.device)
    if truncated is None and v_final is not None:
        raise ValueError("v_final: got a tensor, want None without truncated")


def check_lambda(lambda_: float) -> float:
    """Raise unless λ is in [0, 1]; return it as a float."""
    try:
        inside = 0.0 <= lambda_ <= 1.0
    except (TypeError, RuntimeError):
        raise TypeError(f"lambda_: got {type(lambda_).__name__}, want a number in [0, 1]") from None
    if not inside:
        raise ValueError(f"lambda_: got {lambda_}, want a number in [0, 1]")
    return float(lambda_)


if native.available:
    _LIBRARY = torch.library.Library("pyagent", "FRAGMENT")
