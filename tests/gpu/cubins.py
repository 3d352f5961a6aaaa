"""What nvcc makes of a kernel file without a GPU: the registers and memory of each kernel, and its instructions."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.gpu.devices import CSRC, SOURCES, built, cuda_include, run, with_headers

ARCHITECTURES = (80, 90, 100)
SPILLS_ARE_ERRORS = "-Xptxas=-v,--warn-on-spills,--warning-as-error"
TENSOR_INSTRUCTION = re.compile(r"\b(HMMA|HGMMA|UTCHMMA|UTCQMMA)\b")


@dataclass
class Resources:
    """`stack` counts local memory, which lies in the memory of the device."""

    registers: int
    shared: int
    stack: int


@functools.cache
def compiled(source: str, architecture: int) -> tuple[Path, str]:
    """The cubin of a file in csrc/cuda, and what ptxas said of it. A spilled register is an error."""
    command = ["nvcc", "-std=c++17", "-O3", f"-arch=sm_{architecture}", "-cubin", SPILLS_ARE_ERRORS]
    command += [f"-I{CSRC}", str(SOURCES / source)]
    texts = [path.read_text() for path in with_headers([SOURCES / source])]

    def build(cubin: Path) -> None:
        done = subprocess.run([*command, "-o", str(cubin)], capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
        cubin.with_suffix(".log").write_text(done.stderr)

    cubin = built("kernels.cubin", [*command, *texts], build)
    return cubin, cubin.with_suffix(".log").read_text()


@functools.cache
def resources(source: str, architecture: int) -> dict[str, Resources]:
    """By kernel, named as C++ names it without its namespaces and arguments: `q_update_kernel<float>`."""
    log = compiled(source, architecture)[1]
    found = {}
    for entry in log.split("Compiling entry function '")[1:]:
        stack = re.search(r"(\d+) bytes stack frame", entry)
        registers = re.search(r"Used (\d+) registers", entry)
        shared = re.search(r"(\d+) bytes smem", entry)
        name = readable(entry.split("'", 1)[0])
        found[name] = Resources(int(registers[1]), int(shared[1]) if shared else 0, int(stack[1]))
    return found


@functools.cache
def tensor_instructions(source: str, architecture: int) -> dict[str, int]:
    """How many instructions of the tensor cores each kernel has."""
    text = run([tool("cuobjdump"), "-sass", str(compiled(source, architecture)[0])])
    functions = text.split("Function : ")[1:]
    return {readable(f.split(None, 1)[0]): len(TENSOR_INSTRUCTION.findall(f)) for f in functions}


def blocks_of_multiprocessor(architecture: int, threads: int, used: Resources, dynamic_shared: int) -> int:
    """How many fit at once. The blocks of a cooperative grid wait for each other, so it has at most as many on each."""
    calculator = ctypes.CDLL(str(occupancy_calculator()))
    arguments = architecture, threads, used.registers, used.shared, dynamic_shared
    return calculator.blocks_per_multiprocessor(*map(ctypes.c_int, arguments))


def occupancy_calculator() -> Path:
    source = Path(__file__).with_name("occupancy.cpp")
    command = ["g++", "-std=c++17", "-O1", "-fPIC", "-shared", f"-I{cuda_include()}", str(source)]
    return built("occupancy.so", [*command, source.read_text()], lambda library: run([*command, "-o", str(library)]))


def readable(symbol: str) -> str:
    """`void (anonymous namespace)::f<float>(float*)` is `f<float>`."""
    name = run(["c++filt", symbol]).strip().replace("(anonymous namespace)::", "").removeprefix("void ")
    return name.split("(", 1)[0].rsplit("::", 1)[-1]


def tool(name: str) -> str:
    """A tool of CUDA that nvcc's package may lack: on the path, or as wheels bring it along."""
    found = shutil.which(name) or next(tools_of_wheels(name), None)
    assert found is not None, f"{name} is not installed; the wheels of triton and nvidia-cuda-{name} have it"
    return found


def tools_of_wheels(name: str) -> Iterator[str]:
    for package in ("triton", "nvidia"):
        spec = importlib.util.find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            yield from map(str, Path(folder).glob(f"**/bin/{name}"))
