"""Load the compiled core once, and say what runs: `pyagent._C`, `_numpy` and `_cuda`, or the pure-torch reference.

The first two are Python modules; `_cuda` is a plain library of launchers (pyagent/cuda.py calls them).

Importing `pyagent._C` registers the ops under `torch.ops.pyagent`. Without it an op's home falls back on its
reference, which happens only where the user asked for it with PYAGENT_NATIVE=0: hundreds of times slower is not
something to find out from a training curve.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import warnings
from types import ModuleType

import torch  # before the core: its libraries must be in the process for ours to find them

_HOW_TO_BUILD = (
    "install a C++17 compiler and Python's headers (Debian/Ubuntu: apt install g++ python3-dev) and run "
    "`pip install .` (in a checkout: `make install`), or set PYAGENT_NATIVE=0 to run on the much slower pure-torch "
    "reference"
)


def _load(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"pyagent.{name}")
    except ImportError as error:
        raise ImportError(
            f"pyagent's compiled core did not load ({error}; torch {torch.__version__}): {_HOW_TO_BUILD}"
        ) from error


def _load_core() -> ModuleType | None:
    if os.environ.get("PYAGENT_NATIVE") == "0":
        warnings.warn(
            "PYAGENT_NATIVE=0: pyagent runs on its pure-torch reference, tens to hundreds of times slower than the "
            "compiled core; unset it for any real work",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return _load("_C")


def _load_cuda() -> tuple[ctypes.CDLL | None, str]:
    """The library of CUDA launchers, or None and why not."""
    if core is None:
        return None, "PYAGENT_NATIVE=0"
    found = importlib.util.find_spec("pyagent._cuda")
    if found is None or found.origin is None:
        return None, "not built: no nvcc at build time, or PYAGENT_CUDA=0"
    try:
        return ctypes.CDLL(found.origin), ""
    except OSError as error:
        return None, f"built, but does not load: {error}"


core = _load_core()
available = core is not None
arrays = _load("_numpy") if available else None
cuda, cuda_missing_because = _load_cuda()


def need_arrays(what: str) -> ModuleType:
    """`arrays`, for what has no reference.

    Raises:
        ImportError: the compiled core is not loaded; names `what` needs it.
    """
    if arrays is None:
        raise ImportError(f"{what} needs the compiled core: unset PYAGENT_NATIVE")
    return arrays


def isa() -> str:
    """The instruction set whose kernels run: amx, avx512_bf16, avx512, avx2 or baseline; without the compiled core
    `reference`."""
    return core.isa() if core is not None else "reference"


def supported_isas() -> tuple[str, ...]:
    """Every instruction set that this processor has and `PYAGENT_CPU_ISA` may force, best first."""
    return core.supported_isas() if core is not None else ()
