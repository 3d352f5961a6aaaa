"""What one call holds at its peak: tensors, and the scratch memory of kernels, of ours and of torch's alike.

Tensors come from torch's allocator, scratch from `posix_memalign` (ours and oneDNN's), so neither torch.profiler nor a
dispatch mode sees everything. The kernel does: in a process whose malloc maps every block of at least 16 KiB by itself
and unmaps it when it is freed, resident memory is what is live, and Linux keeps its peak (VmHWM), which can be set
back. The figure is that peak less what was resident before the call, when everything that is built once exists. It is
exact to 256 KiB, since Linux adds up pages 32 at a time a processor, which is why the process stays on one, and since
the process does without huge pages, which would count 2 MiB for a block that ends inside one. It holds pages that were
written to: memory asked for and never used is not held against anybody.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from .problem import Problem, Shape
from .recurrent import Data, ours, torch_nn

_MAP_FROM = 16 * 1024
_PROC = Path("/proc/self")
_RESET_PEAK = "5"
_PR_SET_THP_DISABLE = 41
_CALLS = 3
_PROGRAM = """
import json, sys
from importlib import import_module
module, function, arguments = sys.argv[1:]
print(json.dumps(getattr(import_module(module), function)(*json.loads(arguments))))
"""
available = (_PROC / "clear_refs").exists()


def measured(function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)`, which asks `peak_of`, from a process set up for that.

    Args:
        function: of a module of this package; its arguments and what it returns are what JSON holds.
    """
    root = str(Path(__file__).parents[__name__.count(".")])
    environment = {
        **os.environ,
        "MALLOC_MMAP_THRESHOLD_": str(_MAP_FROM),
        "MALLOC_TRIM_THRESHOLD_": "0",
        "MALLOC_MMAP_MAX_": "1000000",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    call = [function.__module__, function.__name__, json.dumps(arguments)]
    done = subprocess.run([sys.executable, "-c", _PROGRAM, *call], env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


@cache
def peaks(cell: str, shapes: tuple[Shape, ...], tokens: bool, p_reset: float) -> dict[Shape, dict[str, int]]:
    """Bytes at the peak of forward and backward by shape, `ours` and `peer` (torch.nn)."""
    problems = [Problem(cell, *shape, tokens, p_reset) for shape in shapes]
    return dict(zip(shapes, measured(_peaks_of, problems), strict=True))


def peak_of(call: Callable[[], object]) -> int:
    """Bytes that a call holds at its peak beyond what is held before it; to be asked in what `measured` runs."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    ctypes.CDLL(None).prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)
    call()
    call()
    gc.collect()
    found = []
    for _ in range(_CALLS):
        ctypes.CDLL(None).malloc_trim(0)
        (_PROC / "clear_refs").write_text(_RESET_PEAK)
        before = _peak_so_far()
        call()
        found.append(_peak_so_far() - before)
    return int(median(found))


def _peak_so_far() -> int:
    """VmHWM in bytes, also right after it was set back: VmRSS is counted with another error."""
    line = next(line for line in (_PROC / "status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _peaks_of(problems: Iterable[Iterable[Any]]) -> list[dict[str, int]]:
    return [
        {name: peak_of(make(Data(problem)).train_and_forget) for name, make in (("ours", ours), ("peer", torch_nn))}
        for problem in (Problem(*fields) for fields in problems)
    ]
