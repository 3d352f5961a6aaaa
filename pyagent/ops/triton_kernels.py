"""The Triton kernels as CUDA implementations of the ops of their names, imported when the first CUDA tensor comes."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import torch
from torch import Tensor

from pyagent import native

available = importlib.util.find_spec("triton") is not None
_library = torch.library.Library("pyagent", "IMPL")


def compiled_for(tensor: Tensor) -> bool:
    """Whether an op that has a CPU and a Triton kernel has one for this tensor."""
    return native.available and (tensor.is_cpu or (available and tensor.is_cuda))


def register(op: str, module: str = "") -> None:
    """Make `op` of `pyagent.kernels.<module>` (of the op's own name by default) the op's CUDA implementation."""

    def launch(*arguments: Any) -> Any:
        return getattr(importlib.import_module(f"pyagent.kernels.{module or op}"), op)(*arguments)

    if available:
        _library.impl(op, launch, "CUDA")
