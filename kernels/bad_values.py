"""How kernels report values that they may not read by: a bit of a word of their device (`pyagent.cuda.check`)."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from pyagent import cuda

TOKEN, ACTION, TARGET, CHOICES = (tl.constexpr(bit) for bit in (cuda.TOKEN, cuda.ACTION, cuda.TARGET, cuda.CHOICES))


def word(device: torch.device) -> Tensor:
    """The device's word, the first of an int32 tensor."""
    return cuda.words(device)[cuda.KERNELS :]


@triton.jit
def report(word_ptr, is_bad, BIT: tl.constexpr):
    """Set the bit if any of the block `is_bad` holds."""
    tl.atomic_or(word_ptr, BIT, mask=tl.max(is_bad.to(tl.int32)) > 0, sem="relaxed")
