"""What one call holds at its peak: tensors, and the scratch memory of kernels, of ours and of torch's alike.

Tensors come from torch's allocator, scratch from `posix_memalign` (ours and oneDNN's), so neither torch.profiler nor a
dispatch mode sees everything. The kernel does: in a process whose malloc maps every block of at least 16 KiB by itself
and unmaps it when it is freed, resident memory is what is live, and Linux keeps its peak (VmHWM), which can be set
back. The figure is that peak less what was resident before the call, on the third call, when everything that is built
once exists. It counts pages that were written to: memory asked for and never used is not held against anybody.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from .problem import Problem, Shape
from .recurrent import Data, ours, torch_nn

_MAP_FROM = 16 * 1024
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
available = _CLEAR.exists()


@cache
def peaks(cell: str, shapes: tuple[Shape, ...], tokens: bool, p_reset: float) -> dict[Shape, dict[str, int]]:
    """Bytes at the peak of forward and backward by shape, `ours` and `peer` (torch.nn), from a process of its own."""
    request = {"problems": [Problem(cell, *shape, tokens, p_reset) for shape in shapes]}
    root = str(Path(__file__).parents[__name__.count(".")])
    environment = {
        **os.environ,
        "MALLOC_MMAP_THRESHOLD_": str(_MAP_FROM),
        "MALLOC_TRIM_THRESHOLD_": "0",
        "MALLOC_MMAP_MAX_": "1000000",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    command = [sys.executable, "-m", __name__, json.dumps(request)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return dict(zip(shapes, json.loads(done.stdout), strict=True))


def peak_of(call: Callable[[], object]) -> int:
    """Bytes that a call holds at its peak beyond what is held before it; to be asked of a process set up for it."""
    call()
    call()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    _CLEAR.write_text(_RESET_PEAK)
    before = _resident("VmRSS")
    call()
    return _resident("VmHWM") - before


def _resident(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def _peaks_of(problem: Problem) -> dict[str, int]:
    data = Data(problem)
    found = {}
    for name, make in (("ours", ours), ("peer", torch_nn)):
        contender = make(data)

        def call(contender=contender) -> None:
            contender.train()
            contender.forget()

        found[name] = peak_of(call)
        del contender, call
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps([_peaks_of(Problem(*fields)) for fields in json.loads(sys.argv[1])["problems"]]))
