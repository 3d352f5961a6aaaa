"""Where the launchers of csrc/cuda run: on the CPU, emulated, or on a GPU. Neither needs torch or an installed pyagent.

A launcher is `extern "C" int pyagent_<op>(..., void* stream)` and returns its cudaError_t. Both devices build some of
the sources into one library and call it the same way, so the same test runs on either:

    device = Emulated(["segment_sum.cu"])
    out = device.empty((3, 4), np.float32)
    device.call("pyagent_segment_sum_f32", device.upload(x), ..., out)
    assert np.array_equal(out.download(), expected)
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.gpu.emulation.cu2emu import rewrite

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"
SOURCES = CSRC / "cuda"
EMULATION = Path(__file__).with_name("emulation")
PRODUCTS = ROOT / "build/gpu-check"
LIBRARY = "library.so"
ALIGNMENT = 256  # of cudaMalloc; what kernels load as vectors relies on it
SANITIZER_RUNTIME = {"address": "libasan.so", "thread": "libtsan.so"}


class Buffer:
    """Memory of a device that holds an array; freed with this object."""

    def __init__(self, device, pointer, shape, dtype):
        self.device, self.pointer, self.shape, self.dtype = device, pointer, shape, np.dtype(dtype)

    def download(self) -> np.ndarray:
        array = np.empty(self.shape, self.dtype)
        self.device.copy(array.ctypes.data, self.pointer, array.nbytes)
        return array


class Device:
    """What both have in common. `library` is the built one; subclasses allocate, free and copy."""

    stream = None

    def __init__(self, library: Path):
        self.library = ctypes.CDLL(str(library))

    def upload(self, array) -> Buffer:
        array = np.ascontiguousarray(array)
        buffer = self.empty(array.shape, array.dtype)
        self.copy(buffer.pointer, array.ctypes.data, array.nbytes)
        return buffer

    def zeros(self, shape, dtype) -> Buffer:
        return self.upload(np.zeros(shape, dtype))

    def empty(self, shape, dtype) -> Buffer:
        """Every bit set: NaN in a float and -1 in an integer, so that what a kernel leaves out or trusts shows."""
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        pointer = self.allocate(size)
        buffer = Buffer(self, pointer, shape, dtype)
        weakref.finalize(buffer, self.free, pointer)
        ones = np.full(size, 0xFF, np.uint8)
        self.copy(pointer, ones.ctypes.data, size)
        return buffer

    def call(self, launcher: str, *arguments) -> None:
        """Call a launcher and wait for its kernels. Arguments are buffers, None, integers (64 bits), ctypes values and
        ctypes structures (by address); the stream comes last and is added here. Raises RuntimeError with CUDA's name of
        the error where it returns one."""
        function = getattr(self.library, launcher)
        self.check(launcher, function(*map(as_argument, arguments), self.stream))
        self.synchronise(launcher)

    def workspace(self, sizer: str, *arguments) -> Buffer:
        """What a launcher wants as its workspace: as many bytes as its `pyagent_<op>_workspace_bytes` says."""
        function = getattr(self.library, sizer)
        function.restype = ctypes.c_int64
        return self.empty((function(*map(as_argument, arguments)),), np.uint8)

    def check(self, what: str, error: int) -> None:
        if error != 0:
            raise RuntimeError(f"{what}: {self.describe(error)}")


class Emulated(Device):
    """The sources (paths, or names in csrc/cuda) as a host compiler builds them against the headers in emulation/.
    `seed` chooses the order in which threads run; 0 is the order of their numbers. `replacements` plants faults in
    them or in headers of theirs: (file name, text, other text), where the text has to occur exactly once.

    With a sanitizer ("address,undefined" or "thread") its runtime has to be loaded before Python is: `preload`."""

    def __init__(self, sources: Sequence[str], sanitizer: str | None = None, seed=0, replacements=()):
        self.seed = seed
        super().__init__(build_emulated([SOURCES / name for name in sources], sanitizer, replacements))
        self.library.emu_error.restype = ctypes.c_char_p
        self.library.emu_reset(ctypes.c_long(seed))
        self.libc = ctypes.CDLL(None)
        self.libc.free.argtypes = [ctypes.c_void_p]

    def call(self, launcher: str, *arguments) -> None:
        self.library.emu_reset(ctypes.c_long(self.seed))
        super().call(launcher, *arguments)

    def allocate(self, size: int) -> int:
        """Of exactly this size, so that a sanitizer sees the first byte beyond."""
        pointer = ctypes.c_void_p()
        assert self.libc.posix_memalign(ctypes.byref(pointer), ctypes.c_size_t(ALIGNMENT), ctypes.c_size_t(size)) == 0
        return pointer.value

    def free(self, pointer: int) -> None:
        self.libc.free(pointer)

    def copy(self, target: int, source: int, size: int) -> None:
        ctypes.memmove(target, source, size)

    def synchronise(self, what: str) -> None:
        """A launch returns when its threads have ended."""

    has_clusters = True

    def describe(self, error: int) -> str:
        return self.library.emu_error().decode() or f"cudaError {error}"


class Cuda(Device):
    """The sources as nvcc builds them for this machine's GPU."""

    def __init__(self, sources: Sequence[str]):
        super().__init__(build_cuda([SOURCES / name for name in sources]))
        self.library.cudaGetErrorName.restype = ctypes.c_char_p

    def allocate(self, size: int) -> int:
        pointer = ctypes.c_void_p()
        self.check("cudaMalloc", self.library.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(max(size, 1))))
        return pointer.value

    def free(self, pointer: int) -> None:
        self.library.cudaFree(ctypes.c_void_p(pointer))

    def copy(self, target: int, source: int, size: int) -> None:
        whichever_way = 4  # cudaMemcpyDefault: the driver knows what each address is
        places = ctypes.c_void_p(target), ctypes.c_void_p(source), ctypes.c_size_t(size)
        self.check("cudaMemcpy", self.library.cudaMemcpy(*places, ctypes.c_int(whichever_way)))

    def synchronise(self, what: str) -> None:
        self.check(what, self.library.cudaDeviceSynchronize())

    def time(self, launcher: str, *arguments, repeats: int = 50) -> float:
        """Microseconds from the launch of a call to the end of its kernels: the median, after some to warm up."""
        events = [ctypes.c_void_p(), ctypes.c_void_p()]
        for event in events:
            self.check("cudaEventCreate", self.library.cudaEventCreate(ctypes.byref(event)))
        function, given = getattr(self.library, launcher), [as_argument(argument) for argument in arguments]
        measured = []
        for _ in range(10 + repeats):
            self.library.cudaEventRecord(events[0], self.stream)
            self.check(launcher, function(*given, self.stream))
            self.library.cudaEventRecord(events[1], self.stream)
            self.check(launcher, self.library.cudaEventSynchronize(events[1]))
            milliseconds = ctypes.c_float()
            self.library.cudaEventElapsedTime(ctypes.byref(milliseconds), *events)
            measured.append(1000 * milliseconds.value)
        return float(np.median(measured[10:]))

    @property
    def has_clusters(self) -> bool:
        major, capability_major = ctypes.c_int(), 75
        self.check("clusters", self.library.cudaDeviceGetAttribute(ctypes.byref(major), capability_major, 0))
        return major.value >= 9

    def describe(self, error: int) -> str:
        return self.library.cudaGetErrorName(error).decode()


def as_argument(value):
    if isinstance(value, Buffer):
        return ctypes.c_void_p(value.pointer)
    if isinstance(value, ctypes.Structure):
        return ctypes.byref(value)
    return ctypes.c_int64(value) if isinstance(value, int | np.integer) else value


def launcher_tests() -> list[Path]:
    """The test modules that take a `device`: they need no torch."""
    modules = sorted(Path(__file__).parent.glob("test_*.py"))
    return [path for path in modules if re.search(r"^def test_\w+\(device", path.read_text(), re.MULTILINE)]


def why_no_gpu() -> str | None:
    """Why `Cuda` cannot be had here, or None."""
    if shutil.which("nvcc") is None:
        return "no nvcc on the path"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver (libcuda.so.1)"
    count = ctypes.c_int()
    found = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    return None if found else "no NVIDIA GPU"


def preload(sanitizer: str) -> dict[str, str]:
    """The environment in which a Python process can load a library built with this sanitizer."""
    runtime = SANITIZER_RUNTIME[sanitizer.split(",")[0]]
    path = subprocess.run(["g++", f"-print-file-name={runtime}"], capture_output=True, text=True, check=True).stdout
    # Python itself leaks on purpose, and a first report is enough.
    options = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}
    return {**options, "TSAN_OPTIONS": "halt_on_error=1", "LD_PRELOAD": path.strip()}


def build_emulated(sources: list[Path], sanitizer: str | None, replacements) -> Path:
    texts = {path: path.read_text() for path in with_headers(sources)}
    for name, text, other in replacements:
        path = next(path for path in texts if path.name == name)
        assert texts[path].count(text) == 1, f"{name} has not exactly one of: {text}"
        texts[path] = texts[path].replace(text, other)
    flags = ["-std=c++17", "-O1", "-g1", "-fPIC", "-shared", "-ffp-contract=off", "-Wall", "-Wno-unknown-pragmas"]
    flags += ["-fno-gnu-unique"]  # each library has its own emulated device
    if sanitizer is not None:
        flags += [f"-fsanitize={sanitizer}", "-fno-omit-frame-pointer", "-fno-sanitize-recover=undefined"]
    flags += [f"-I{folder}" for folder in (EMULATION, CSRC, cuda_include())]

    rewritten = {path: rewrite(text, str(path)) for path, text in texts.items()}

    def build(library: Path) -> None:
        folder = library.parent  # laid out as csrc is, and found before it
        for path, text in rewritten.items():
            target = folder / (path.relative_to(CSRC) if path.is_relative_to(CSRC) else path.name)
            target.parent.mkdir(exist_ok=True)
            target.write_text(text)
        units = [str(next(folder.rglob(path.name))) for path in sources]
        run(["g++", f"-I{folder}", *flags, "-x", "c++", *units, "-o", str(library)])

    emulation = [path.read_text() for path in EMULATION.rglob("*.h")]
    return built(LIBRARY, [*flags, *map(str, sources), *rewritten.values(), *emulation], build)


def with_headers(sources: list[Path]) -> list[Path]:
    """The sources, and what they include of csrc."""
    found = list(sources)
    for path in found:
        included = (CSRC / name for name in re.findall('^#include "(.*)"', path.read_text(), re.MULTILINE))
        found += [header for header in included if header.exists() and header not in found]
    return found


def build_cuda(sources: list[Path]) -> Path:
    folder = cuda_include().parent / "lib64"
    flags = ["-std=c++17", "-O3", "-arch=native", "-shared", "-Xcompiler=-fPIC", "-cudart=shared", "-lineinfo"]
    command = ["nvcc", *flags, f"-I{CSRC}", f"-Xlinker=-rpath={folder}", *map(str, sources)]
    texts = [path.read_text() for path in with_headers(sources)]
    return built(LIBRARY, [*command, *texts], lambda library: run([*command, "-o", str(library)]))


def built(name: str, inputs: list[str], build) -> Path:
    """The file of this name made from these inputs: built when they are new, with its folder whole or not at all."""
    folder = PRODUCTS / hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:16]
    if not (folder / name).exists():
        PRODUCTS.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=PRODUCTS))
        try:
            build(unfinished / name)
            with contextlib.suppress(OSError):  # another process was faster
                unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder / name


@functools.cache
def cuda_include() -> Path:
    """The folder of CUDA's headers, where nvcc itself takes them from."""
    top = re.search("^#\\$ TOP=(.*)$", run(["nvcc", "--dryrun", "-c", "a.cu"]), re.MULTILINE)
    return Path(top[1]).resolve() / "include"


def run(command: list[str]) -> str:
    """What it prints. Compilers run without the sanitizer that this process may have been started with."""
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return done.stdout + done.stderr
