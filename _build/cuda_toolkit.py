"""Find out whether the CUDA half can be built here: a compiler, and the static runtime it links."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

# Ampere, Hopper and Blackwell as machine code; GPUs between and after them compile the newest one's PTX at load time.
ARCHITECTURES = (80, 90, 100)


def code_flags(nvcc: str) -> list[str]:
    """nvcc's flags for those of `ARCHITECTURES` that it knows."""
    known = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=True).stdout.split()
    wanted = [number for number in ARCHITECTURES if f"compute_{number}" in known]
    flags = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in wanted]
    return [*flags, f"-gencode=arch=compute_{wanted[-1]},code=compute_{wanted[-1]}"]


def static_runtime_folder(nvcc: str) -> Path | None:
    """Folder of `libcudart_static.a` among those nvcc itself would link from; `None` where it is not installed."""
    plan = subprocess.run([nvcc, "--dryrun", "-shared", "a.o", "-o", "a.so"], capture_output=True, text=True).stderr
    folders = [Path(folder).resolve() for folder in re.findall(r'-L"?([^"\s]+)', plan)]
    return next((folder for folder in folders if (folder / "libcudart_static.a").exists()), None)


def cuda_library_folder() -> tuple[Path | None, str]:
    """Where to link the CUDA runtime from; or `None` and why, when only the CPU half is to be built."""
    if os.environ.get("PYAGENT_CUDA") == "0":
        return None, "PYAGENT_CUDA=0"
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return None, "no nvcc on the path"
    folder = static_runtime_folder(nvcc)
    return folder, "" if folder else f"{nvcc} has no libcudart_static.a"
