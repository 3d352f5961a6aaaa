"""Declares the compiled extensions; how they are compiled is in _build/native_extension.py, the rest in pyproject.toml.

PYAGENT_NATIVE=0 installs without them (the pure-torch reference), PYAGENT_CUDA=0 leaves out the CUDA half.
This file also runs before build requirements are installed, so it reads metadata and never imports torch.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup

sys.path.insert(0, str(Path(__file__).parent / "_build"))
from cuda_toolkit import cuda_library_folder
from native_extension import BuildNative, core_sources, cuda_sources, numpy_sources


def extensions() -> list[Extension]:
    """`pyagent._C`, and `pyagent._cuda` where nvcc can build it, for every torch >= 2.13; and `pyagent._numpy`."""
    if os.environ.get("PYAGENT_NATIVE") == "0":
        return []
    settings = {
        "define_macros": [("Py_LIMITED_API", "0x030a0000"), ("TORCH_TARGET_VERSION", "0x020d000000000000")],
        "py_limited_api": True,
    }
    built = [
        Extension("pyagent._C", core_sources(), libraries=["c10", "torch_cpu"], **settings),
        # pybind11 has no stable interface, so this one ties a wheel to one Python.
        Extension("pyagent._numpy", numpy_sources()),
    ]
    cuda_folder, _ = cuda_library_folder()
    if cuda_folder is not None:
        # A library of launchers rather than a module, and so without torch; named as modules are, so as to be found.
        libraries = ["cudart_static", "rt", "pthread", "dl"]
        built.append(
            Extension("pyagent._cuda", cuda_sources(), library_dirs=[str(cuda_folder)], libraries=libraries, **settings)
        )
    return built


# Top-level folders that are part of the package.
MAPPED = {
    "pyagent.benchmarks": "benchmarks",
    "pyagent.benchmarks.peers": "benchmarks/peers",
    "pyagent.kernels": "kernels",
}

setup(
    packages=[*find_packages(include=["pyagent", "pyagent.*"]), *MAPPED],
    package_dir=MAPPED,
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildNative},
)
