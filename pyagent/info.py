"""What `pyagent info` prints: versions, instruction sets, threads, and which backends are ready or why not."""

from __future__ import annotations

import importlib.util
import os
import pkgutil
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy
import torch

import pyagent


def _usable_processors() -> int:
    """Processors this process may run on, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu() -> dict[str, Any]:
    try:
        from pyagent import native

        found, used = native.supported_isas(), native.isa()
    except (ImportError, RuntimeError) as error:
        return {"ready": False, "why": str(error), "isas_found": (), "isa_in_use": "none"}
    why = "" if native.available else "PYAGENT_NATIVE=0: the pure-torch reference runs instead"
    return {"ready": native.available, "why": why, "isas_found": found, "isa_in_use": used}


def _no_gpu() -> str:
    """Why torch sees no GPU, or an empty string when it sees one."""
    if torch.cuda.is_available():
        return ""
    return "torch sees no GPU" if torch.backends.cuda.is_built() else f"torch {torch.__version__} is a CPU build"


def _cuda(cpu: dict[str, Any]) -> dict[str, Any]:
    if not cpu["ready"]:
        return {"ready": False, "why": "needs the compiled core"}
    from pyagent import native

    reasons = [reason for reason in (native.cuda_missing_because, _no_gpu()) if reason]
    return {"ready": not reasons, "why": "; ".join(reasons)}


def _triton() -> dict[str, Any]:
    reasons = []
    if importlib.util.find_spec("triton") is None:
        reasons.append("triton is not installed")
    if not list(pkgutil.iter_modules(pyagent.kernels.__path__)):
        reasons.append("pyagent.kernels holds no kernel")
    if no_gpu := _no_gpu():
        reasons.append(no_gpu)
    return {"ready": not reasons, "why": "; ".join(reasons)}


def _triton_version() -> str:
    try:
        return version("triton")
    except PackageNotFoundError:
        return "not installed"


def facts() -> dict[str, Any]:
    """Everything `report` prints, by name: `versions`, `isas_found`, `isa_in_use`, `threads`, `processors`, `backends`.

    `backends` maps cpu, cuda and triton to `{"ready": bool, "why": str}`; `why` is empty when ready.
    """
    cpu = _cpu()
    return {
        "versions": {
            "pyagent": pyagent.__version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": numpy.__version__,
            "triton": _triton_version(),
        },
        "isas_found": cpu["isas_found"],
        "isa_in_use": cpu["isa_in_use"],
        "threads": torch.get_num_threads(),
        "processors": _usable_processors(),
        "backends": {
            "cpu": {"ready": cpu["ready"], "why": cpu["why"]},
            "cuda": _cuda(cpu),
            "triton": _triton(),
        },
    }


def report() -> str:
    """`facts` as lines of text, for a terminal or a bug report."""
    known = facts()
    has = f" (this processor has {', '.join(known['isas_found'])})" if known["isas_found"] else ""
    rows = [
        *known["versions"].items(),
        ("isa", known["isa_in_use"] + has),
        ("threads", f"{known['threads']} on {known['processors']} processors"),
        *((name, "ready" if it["ready"] else f"not ready: {it['why']}") for name, it in known["backends"].items()),
    ]
    return "\n".join(f"{name:<10} {value}" for name, value in rows)
