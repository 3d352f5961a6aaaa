"""Rung 1: nvcc builds every kernel for every architecture without a spill, and each uses no more than it may."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import pytest

from tests.gpu.cubins import ARCHITECTURES, blocks_of_multiprocessor, compiled, resources, tensor_instructions
from tests.gpu.devices import SOURCES

pytestmark = pytest.mark.rung(1)


@dataclass
class Kernel:
    """On every architecture, `registers` and `shared` (bytes, static) are at most so many; `tensor_instructions`, and
    the `blocks` that a multiprocessor holds with `dynamic_shared` bytes for each, at least."""

    source: str
    name: str
    threads: int
    registers: int
    shared: int = 0
    tensor_instructions: int = 0
    dynamic_shared: int = 0
    blocks: int = 1


# Every kernel of csrc/cuda has its line. A multiprocessor has 65536 registers and room for 2048 threads. The blocks of
# a recurrence wait for each other, one a multiprocessor and each with all the shared memory that an A100 has for one.
RECURRENCE = dict(threads=256, dynamic_shared=163 * 1024)
KERNELS = [
    Kernel("q_update.cu", "q_update_kernel<float>", threads=1024, registers=64),
    Kernel("q_update.cu", "q_update_kernel<double>", threads=1024, registers=64),
    Kernel("recurrence_backward.cu", "recurrence_backward_kernel<float, false>", registers=200, **RECURRENCE),
    Kernel("recurrence_backward.cu", "recurrence_backward_kernel<float, true>", registers=200, **RECURRENCE),
    *(
        Kernel(f"recurrence_{way}.cu", name, registers=184, tensor_instructions=128, **RECURRENCE)
        for way in ("backward", "forward")
        for name in (f"recurrence_{way}_kernel<__nv_bfloat16, {cluster}>" for cluster in ("false", "true"))
    ),
    Kernel("recurrence_backward.cu", "transpose_kernel<float>", threads=256, registers=32, shared=4224, blocks=8),
    Kernel(
        "recurrence_backward.cu", "transpose_kernel<__nv_bfloat16>", threads=256, registers=32, shared=4224, blocks=8
    ),
    Kernel("recurrence_forward.cu", "recurrence_forward_kernel<float, false>", registers=184, **RECURRENCE),
    Kernel("recurrence_forward.cu", "recurrence_forward_kernel<float, true>", registers=184, **RECURRENCE),
    Kernel("segment_sum.cu", "run_sums_kernel<1l, float>", threads=256, registers=32, blocks=8),
    Kernel("segment_sum.cu", "run_sums_kernel<1l, __nv_bfloat16>", threads=256, registers=32, blocks=8),
    Kernel("segment_sum.cu", "run_sums_kernel<32l, float>", threads=256, registers=32, blocks=8),
    Kernel("segment_sum.cu", "segment_sums_kernel<float>", threads=256, registers=32, blocks=8),
    Kernel("segment_sum.cu", "segment_sums_kernel<__nv_bfloat16>", threads=256, registers=32, blocks=8),
]
FILES = sorted(path.name for path in SOURCES.glob("*.cu"))


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    """Side by side, as many at a time as there are processors. What a compiler says against a file, its tests say."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for source, architecture in product(FILES, ARCHITECTURES):
            pool.submit(compiled, source, architecture)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("source", FILES)
def test_every_kernel_has_its_line(source, architecture):
    built = resources(source, architecture)
    assert sorted(built) == sorted(kernel.name for kernel in KERNELS if kernel.source == source)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name.replace(" ", ""))
def test_a_kernel_uses_no_more_than_it_may(kernel, architecture):
    used = resources(kernel.source, architecture)[kernel.name]
    assert used.stack == 0
    assert used.registers <= kernel.registers
    assert used.shared <= kernel.shared
    assert blocks_of_multiprocessor(architecture, kernel.threads, used, kernel.dynamic_shared) >= kernel.blocks
    if kernel.tensor_instructions:
        assert tensor_instructions(kernel.source, architecture)[kernel.name] >= kernel.tensor_instructions
