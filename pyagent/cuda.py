"""The launchers of the CUDA kernels, called with tensors, and what kernels report of bad ids.

A launcher is `extern "C" int pyagent_<op>(const arguments*, void* stream)`: raw pointers in, a cudaError_t out (the
headers in csrc/cuda have the arguments). It is called by ctypes, on the current stream of the tensors' device, so that
the compiled half neither links torch nor depends on its version.

A kernel that meets an id outside its table reads nothing by it, makes its results NaN (an action −1), and says so in a
word of its device; nobody waits for that. `check` does, and raises. With PYAGENT_DEBUG=1 it follows every launch.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

import torch
from torch import Tensor

from pyagent import native

RECURRENCE, Q_UPDATE, KERNELS = range(3)
"""places in `words`"""

TOKEN, ACTION, TARGET, CHOICES = 1, 2, 4, 8
"""bits of the word that the Triton kernels share"""

_MESSAGES = {
    (RECURRENCE, 1): "recurrence: a row_index or a length out of range",
    (Q_UPDATE, 1): "a state or an action outside of the table; the table was not changed",
    (KERNELS, TOKEN): "input: a token outside the table",
    (KERNELS, ACTION): "an action outside [0, A), or a masked one",
    (KERNELS, TARGET): "target: a class outside [0, V) that is not ignore_index",
    (KERNELS, CHOICES): "a row of values with NaN, with a logit of +inf, or without an allowed action",
}

_words: dict[torch.device, Tensor] = {}


def words(device: torch.device) -> Tensor:
    """What kernels of this device report, int32 `[3]`; the same tensor every time, made at the first."""
    if device not in _words:
        _words[device] = torch.zeros(3, dtype=torch.int32, device=device)
    return _words[device]


def check() -> None:
    """Wait for every device that was used, and raise what its kernels met since the last call.

    Raises:
        IndexError: ids or values that a kernel could not read by; the results that they reached are NaN.
    """
    found = []
    for device, reported in _words.items():
        values = reported.tolist()
        reported.zero_()
        found += [f"{device}: {text}" for (place, bit), text in _MESSAGES.items() if values[place] & bit]
    if found:
        raise IndexError("; ".join(found))


class Arguments(ctypes.Structure):
    """The arguments of a launcher. Tensors, which must be contiguous, become the address of their first element, None a
    null pointer, bools and ints what the field is. The tensors live as long as this object does."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**{name: _field(value) for name, value in given.items() if value is not None})
        self.held = tuple(given.values())


def _field(value: Any) -> int:
    if not isinstance(value, Tensor):
        return int(value)
    if not value.is_contiguous():
        raise ValueError("a launcher takes contiguous tensors")
    return value.data_ptr()


def launch(launcher: str, arguments: Arguments, device: torch.device) -> None:
    """Launch kernels on the device's current stream.

    Raises:
        RuntimeError: CUDA refused; in its words.
        IndexError: with PYAGENT_DEBUG=1, what `check` raises.
    """
    library = native.cuda
    if library is None:
        raise RuntimeError(f"{launcher}: the CUDA half is {native.cuda_missing_because}")
    if device.type == "cuda":
        with torch.cuda.device(device):
            stream = ctypes.c_void_p(torch.cuda.current_stream(device).cuda_stream)
            error = getattr(library, launcher)(ctypes.byref(arguments), stream)
    else:  # emulated
        error = getattr(library, launcher)(ctypes.byref(arguments), None)
    if error != 0:
        library.pyagent_cuda_error_string.restype = ctypes.c_char_p
        raise RuntimeError(f"{launcher}: {library.pyagent_cuda_error_string(ctypes.c_int(error)).decode()}")
    if os.environ.get("PYAGENT_DEBUG") == "1":
        check()


def workspace(launcher: str, *sizes: int, device: torch.device) -> Tensor:
    """As many bytes as `pyagent_<op>_workspace_bytes(*sizes)` asks for."""
    sizer = getattr(native.cuda, f"{launcher}_workspace_bytes")
    sizer.restype = ctypes.c_int64
    return torch.empty(sizer(*map(ctypes.c_int64, sizes)), dtype=torch.uint8, device=device)
