"""Rung 1: nvcc builds every kernel for every architecture without a spill, and each uses no more than it may."""

from dataclasses import dataclass

import pytest

from tests.gpu.cubins import ARCHITECTURES, cooperative_grid, resources, tensor_instructions
from tests.gpu.devices import SOURCES

pytestmark = pytest.mark.rung(1)


@dataclass
class Kernel:
    """`registers` and `shared` (bytes, static) are at most so many on every architecture; `tensor_instructions` and
    `cooperative_blocks` (on the chip, with `dynamic_shared` bytes for each) at least."""

    source: str
    name: str
    threads: int
    registers: int
    shared: int = 0
    tensor_instructions: int = 0
    dynamic_shared: int = 0
    cooperative_blocks: int = 0


# Every kernel of csrc/cuda has its line. With 32 registers a thread a multiprocessor is full; a block of 1024 threads
# has room for 64.
KERNELS = [
    Kernel("gae.cu", "gae_kernel<float>", threads=128, registers=32),
    Kernel("gae.cu", "gae_kernel<double>", threads=128, registers=32),
    Kernel("q_update.cu", "q_update_kernel<float>", threads=1024, registers=64),
    Kernel("q_update.cu", "q_update_kernel<double>", threads=1024, registers=64),
    Kernel("segment_sum.cu", "run_sums_kernel<1l, float>", threads=256, registers=32),
    Kernel("segment_sum.cu", "run_sums_kernel<1l, __nv_bfloat16>", threads=256, registers=32),
    Kernel("segment_sum.cu", "run_sums_kernel<32l, float>", threads=256, registers=32),
    Kernel("segment_sum.cu", "segment_sums_kernel<float>", threads=256, registers=32),
    Kernel("segment_sum.cu", "segment_sums_kernel<__nv_bfloat16>", threads=256, registers=32),
]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("source", sorted(path.name for path in SOURCES.glob("*.cu")))
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
    blocks = cooperative_grid(architecture, kernel.threads, used, kernel.dynamic_shared)
    assert blocks >= max(1, kernel.cooperative_blocks)
    if kernel.tensor_instructions:
        assert tensor_instructions(kernel.source, architecture)[kernel.name] >= kernel.tensor_instructions
