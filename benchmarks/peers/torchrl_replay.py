"""TorchRL: segment trees in C++.

Its wheel's library loads only beside the torch that it was built with; beside another one the sources that come in the
wheel are compiled, once, into torch's folder of extensions.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..replay import ALPHA, BATCH, BETA


def _extension() -> Any:
    spec = importlib.util.find_spec("torchrl")
    if spec is None:
        raise ModuleNotFoundError("No module named 'torchrl'", name="torchrl")
    try:
        return importlib.import_module("torchrl._torchrl")
    except ImportError:
        pass
    if shutil.which("ninja") is None:
        raise NotImplementedError("its library was built for another torch, and there is no ninja to build it anew")
    from torch.utils import cpp_extension

    sources = [str(Path(str(spec.origin)).parent / "csrc" / name) for name in ("pybind.cpp", "utils.cpp")]
    built = cpp_extension.load("_torchrl", sources, extra_cflags=["-O3"])
    sys.modules["torchrl._torchrl"] = built
    return built


class Tree:
    """float32, the default of its sampler and the faster one."""

    def __init__(self, priority: np.ndarray) -> None:
        self.tree, self.size = _extension().SumSegmentTreeFp32(len(priority)), len(priority)
        self.update(np.arange(len(priority)), priority)

    def find(self, uniform: np.ndarray) -> np.ndarray:
        return self.tree.scan_lower_bound((uniform * self.tree.query(0, self.size)).astype(np.float32))

    def update(self, index: np.ndarray, priority: np.ndarray) -> None:
        self.tree[index] = priority.astype(np.float32)


class Sampler:
    def __init__(self, priority: np.ndarray) -> None:
        _extension()
        from torchrl.data import LazyTensorStorage, PrioritizedSampler

        self.sampler = PrioritizedSampler(len(priority), ALPHA, BETA, eps=0.0)
        self.storage = LazyTensorStorage(len(priority))
        self.storage.set(torch.arange(len(priority)), torch.zeros(len(priority), dtype=torch.uint8))
        self.update(np.arange(len(priority)), priority)

    def sample(self) -> tuple[Any, Any]:
        index, facts = self.sampler.sample(self.storage, BATCH)
        return index, facts["priority_weight"]

    def update(self, index: Any, priority: np.ndarray) -> None:
        self.sampler.update_priority(torch.as_tensor(index), torch.as_tensor(priority, dtype=torch.float32))


tree, sampler = Tree, Sampler
