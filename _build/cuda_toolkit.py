"""Find out whether the CUDA half can be built here: a compiler, and the static runtime it links."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

# Ampere, Hopper and Blackwell data-centre parts as machine code; everything newer compiles the PTX at load time.
GENCODE = [
    argument
    for part in (
        "arch=compute_80,code=sm_80",
        "arch=compute_90,code=sm_90",
        "arch=compute_100,code=[sm_100,compute_100]",
    )
    for argument in ("-gencode", part)
]


def static_runtime_folder(nvcc: str) -> Path | None:
    """Folder of `libcudart_static.a` among those nvcc itself would link from; `None` where it is not installed."""
    plan = subprocess.run([nvcc, "--dryrun", "-shared", "a.o", "-o", "a.so"], capture_output=True, text=True).stderr
    folders = [Path(folder).resolve() for folder in re.findall(r'-L"?([^"\s]+)', plan)]
    return next((folder for folder in folders if (folder / "libcudart_static.a").exists()), None)


def cuda_library_folder() -> Path | None:
    """Where to link the CUDA runtime from; `None`, with the reason printed, when only the CPU half is to be built."""
    if os.environ.get("PYAGENT_CUDA", "auto") == "0":
        return None
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        print("pyagent: no nvcc on the path, so the CPU half only")
        return None
    folder = static_runtime_folder(nvcc)
    if folder is None:
        print(f"pyagent: {nvcc} has no libcudart_static.a, so the CPU half only")
    return folder
