"""What kernels report of values that they may not read by: a word of bits a device, which nobody waits for.

A kernel that meets an id outside its table reads nothing by it, makes its results NaN (an action -1) and sets the bit
of its kind. Who wants to know reads the word, which waits for the device.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

TOKEN = tl.constexpr(1)
ACTION = tl.constexpr(2)
TARGET = tl.constexpr(4)
CHOICES = tl.constexpr(8)

MESSAGES = {
    TOKEN.value: "input: a token outside the table",
    ACTION.value: "an action outside [0, A), or a masked one",
    TARGET.value: "target: a class outside [0, V) that is not ignore_index",
    CHOICES.value: "a row of values with NaN, with a logit of +inf, or without an allowed action",
}
"""of each bit"""

_words: dict[torch.device, Tensor] = {}


def word(device: torch.device) -> Tensor:
    """The device's word, int32 `[1]`; the same tensor every time, made at the first."""
    if device not in _words:
        _words[device] = torch.zeros(1, dtype=torch.int32, device=device)
    return _words[device]


@triton.jit
def report(word_ptr, is_bad, BIT: tl.constexpr):
    """Set the bit if any of the block `is_bad` holds."""
    tl.atomic_or(word_ptr, BIT, mask=tl.max(is_bad.to(tl.int32)) > 0, sem="relaxed")
