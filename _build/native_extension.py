"""Compile the native core: one object per source with that source's own instruction-set flags, then one link.

Objects live in build/objects/<key of the command>/ and know their headers from the compiler's dependency file, so
the no-op, one-file, editable and wheel builds of a checkout all share them.
"""

from __future__ import annotations

import filecmp
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cuda_toolkit import code_flags, cuda_library_folder
from installed_torch import torch_to_build_against
from setuptools import Extension
from setuptools.command.build_ext import build_ext

OBJECTS = Path("build/objects")
AVX2 = ["-mavx2", "-mfma"]
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", *AVX2, "-mprefer-vector-width=512"]
# Each file under csrc/core/targets and csrc/numpy/targets is compiled for the instruction set it is named after;
# everything else, baseline included, for the plain CPU of the architecture.
TARGET_FLAGS = {
    "baseline": [],
    "avx2": AVX2,
    "avx512": AVX512,
    "avx512_bf16": [*AVX512, "-mavx512bf16"],
    "amx": [*AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-bf16"],
}
# -g0: Python's default -g makes the library tens of times larger. -ffp-contract=off: results must not depend on
# which multiply-adds a compiler happens to fuse.
CXX_FLAGS = ["-std=c++17", "-O3", "-g0", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-Wall"]
NVCC_FLAGS = ["-std=c++17", "-O3", "-t", "0", "-Xcompiler", "-fPIC"]
INSTALL_COMPILER = (
    "install a C++17 compiler and Python's headers (Debian/Ubuntu: apt install g++ python3-dev; Fedora: dnf install "
    "gcc-c++ python3-devel), or set PYAGENT_NATIVE=0 to install the much slower pure-torch reference instead"
)


def core_sources() -> list[str]:
    """Sources of `pyagent._C` for this machine's architecture, those that take longest to compile first."""
    targets = TARGET_FLAGS if platform.machine().lower() in ("x86_64", "amd64") else ["baseline"]
    torch_facing = sorted(str(path) for path in Path("csrc").glob("*.cpp"))
    core = sorted(str(path) for path in Path("csrc/core").glob("*.cpp"))
    return [*(f"csrc/core/targets/{name}.cpp" for name in reversed(list(targets))), *torch_facing, *core]


def cuda_sources() -> list[str]:
    """Sources of `pyagent._cuda`: kernels with their launchers."""
    return sorted(str(path) for path in Path("csrc/cuda").glob("*.cu"))


def numpy_sources() -> list[str]:
    """Sources of `pyagent._numpy` for this machine's architecture, which sees pybind11 and no torch."""
    targets = ["avx512", "avx2", "baseline"] if platform.machine().lower() in ("x86_64", "amd64") else ["baseline"]
    facing_numpy = sorted(str(path) for path in Path("csrc/numpy").glob("*.cpp"))
    return [*facing_numpy, *(f"csrc/numpy/targets/{name}.cpp" for name in targets)]


def find_cxx() -> str:
    """The C++ compiler to use: `CXX`, or the first of c++, g++, clang++ on the path."""
    for candidate in filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++")):
        if path := shutil.which(candidate):
            break
    else:
        raise SystemExit(f"pyagent: no C++ compiler found; {INSTALL_COMPILER}")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        raise SystemExit(f"pyagent: Python.h of {sys.executable} not found; {INSTALL_COMPILER}")
    return path


def _product_of(command: list[str], name: str) -> Path:
    """Where what `command` makes is kept: other flags or inputs never find it there."""
    key = hashlib.sha256("\0".join(command).encode()).hexdigest()[:16]
    return OBJECTS / key / name


def _dependencies(dependency_file: Path) -> list[str]:
    """Files an object was made from, as the compiler wrote them down (`-MMD`)."""
    return dependency_file.read_text().replace("\\\n", " ").split(":", 1)[1].split()


def _up_to_date(product: Path, inputs: list[str]) -> bool:
    try:
        made = product.stat().st_mtime_ns
        return all(Path(name).stat().st_mtime_ns <= made for name in inputs)
    except FileNotFoundError:
        return False


class BuildNative(build_ext):
    """setuptools' `build_ext` with its compile and link steps replaced."""

    def run(self) -> None:
        if not self.extensions:
            self.warn("PYAGENT_NATIVE=0: installing without the native core; pyagent will be tens of times slower")
        elif why := cuda_library_folder()[1]:
            self.announce(f"pyagent: the CPU half only: {why}", logging.INFO)
        super().run()

    def build_extension(self, ext: Extension) -> None:
        import pybind11  # a build requirement: not there yet when setup.py is asked for metadata

        cxx = find_cxx()
        torch_version, torch_folder = torch_to_build_against()
        # The version is no macro of ours: it makes objects compiled against another torch count as different.
        arguments = [f"-DPYAGENT_BUILT_WITH_TORCH={torch_version}"]
        arguments += [f"-D{name}={value}" for name, value in ext.define_macros]
        arguments += [f"-I{folder}" for folder in ("csrc", torch_folder / "include", pybind11.get_include())]
        arguments += [f"-I{sysconfig.get_path('include')}"]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(lambda source: self._compile(cxx, source, arguments), ext.sources))
        linked = self._link(cxx, [*ext.library_dirs, str(torch_folder / "lib")], ext.libraries, objects)
        library = Path(self.get_ext_fullpath(ext.name))
        library.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(linked, library)

    def _compile(self, cxx: str, source: str, arguments: list[str]) -> Path:
        if source.endswith(".cu"):
            # A kernel file sees neither torch nor Python: it compiles beside a CPU-only torch, and quickly.
            nvcc = str(shutil.which("nvcc"))
            command = [nvcc, *NVCC_FLAGS, *code_flags(nvcc), "-Icsrc"]
        else:
            command = [cxx, *CXX_FLAGS, *TARGET_FLAGS.get(Path(source).stem, []), *arguments]
        target = _product_of([source, *command], f"{Path(source).stem}.o")
        dependency_file = target.with_suffix(".d")
        if dependency_file.exists() and _up_to_date(target, _dependencies(dependency_file)):
            return target
        self._make(target, [*command, "-MMD", "-MF", str(dependency_file), "-c", source])
        return target

    def _link(self, cxx: str, folders: list[str], libraries: list[str], objects: list[Path]) -> Path:
        if sys.platform == "darwin":
            shared = ["-bundle", "-undefined", "dynamic_lookup"]
        else:
            # now: a symbol torch does not have stops the import, not a call hours later.
            shared = ["-shared", "-Wl,-z,now", "-Wl,--as-needed", "-Wl,--exclude-libs,ALL", "-s"]
        inputs = [str(path) for path in objects]
        wanted = [*(f"-L{folder}" for folder in folders), *(f"-l{name}" for name in libraries)]
        command = [cxx, *shared, *inputs, *wanted]
        library = _product_of(command, "library.so")
        if not _up_to_date(library, inputs):
            self._make(library, command)
        return library

    def _make(self, product: Path, command: list[str]) -> None:
        """Run a compiler; an interrupted one leaves nothing that looks finished."""
        product.parent.mkdir(parents=True, exist_ok=True)
        unfinished = product.with_suffix(f".{os.getpid()}.o")
        command = [*command, "-o", str(unfinished)]
        if self.verbose:
            print(" ".join(command), flush=True)
        if subprocess.run(command).returncode != 0:
            raise SystemExit(f"pyagent: this command failed:\n  {' '.join(command)}")
        os.replace(unfinished, product)

    def copy_extensions_to_source(self) -> None:
        """Put the libraries beside the Python sources, each whole or not at all: another process may be importing."""
        for ext in self.extensions:
            built = Path(self.build_lib, self.get_ext_filename(self.get_ext_fullname(ext.name)))
            destination = Path(self.get_ext_fullpath(ext.name))
            if destination.exists() and filecmp.cmp(built, destination, shallow=False):
                continue
            unfinished = destination.with_suffix(f".{os.getpid()}")
            shutil.copy2(built, unfinished)
            os.replace(unfinished, destination)
