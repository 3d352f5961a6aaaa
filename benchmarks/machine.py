"""What this machine can do: arithmetic and memory peaks, measured in the run that they are compared with."""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from pyagent import info, ops

_MATMUL_SIZES = ((1024, 1024, 1024), (512, 512, 512), (2048, 512, 512))  # M, N, K
_COPY_BYTES = 2**28
# Twelve accumulators hide the latency of a multiply-add and fit into the registers.
_FMA_SOURCE = """
#ifdef __AVX512F__
enum { kBytes = 64 };
#else
enum { kBytes = 32 };
#endif
enum { kWidth = kBytes / sizeof(float), kChains = 12 };
typedef float vec __attribute__((vector_size(kBytes)));
long flops_a_step() { return 2 * kWidth * kChains; }
float chains(long steps, float m) {
  vec a[kChains], x = (vec){0} + m, sum = (vec){0};
  for (int i = 0; i < kChains; ++i) a[i] = x * (float)i;
  for (long s = 0; s < steps; ++s)
    for (int i = 0; i < kChains; ++i) a[i] = a[i] * x + x;
  for (int i = 0; i < kChains; ++i) sum += a[i];
  float total = 0;
  for (int i = 0; i < kWidth; ++i) total += sum[i];
  return total;
}
"""
_FMA_STEPS = 1_000_000


def _fastest(call: Callable[[], object], rounds: int = 5) -> float:
    call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def _matmul_peak(product: Callable[[torch.Tensor, torch.Tensor], object], dtype: torch.dtype) -> float:
    """FLOP/s of the fastest of several sizes; `product` takes `[M, K]` and `[N, K]`."""
    rates = []
    for M, N, K in _MATMUL_SIZES:
        a, b = torch.randn(M, K).to(dtype), torch.randn(N, K).to(dtype)
        rates.append(2 * M * N * K / _fastest(lambda a=a, b=b: product(a, b)))
    return max(rates)


def fma_peak() -> float | None:
    """FLOP/s of fused multiply-adds on registers, one thread: no program does more. None without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "fma.c"), Path(folder, "fma.so")
        source.write_text(_FMA_SOURCE)
        flags = ["-O3", "-march=native", "-ffp-contract=fast", "-funroll-loops", "-shared", "-fPIC"]
        if subprocess.run([compiler, *flags, "-o", library, source], capture_output=True).returncode:
            return None
        fma = ctypes.CDLL(str(library))
        fma.chains.argtypes, fma.chains.restype = [ctypes.c_long, ctypes.c_float], ctypes.c_float
        return _FMA_STEPS * fma.flops_a_step() / _fastest(lambda: fma.chains(_FMA_STEPS, 0.5))


class Machine:
    """Peaks of one thread count, each measured when it is first asked for."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    @cached_property
    def sgemm(self) -> float:
        return self._with_threads(lambda: _matmul_peak(lambda a, b: torch.mm(a, b.t()), torch.float32))

    @cached_property
    def bf16_gemm(self) -> float:
        return self._with_threads(lambda: _matmul_peak(lambda a, b: torch.mm(a, b.t()), torch.bfloat16))

    @cached_property
    def our_sgemm(self) -> float:
        return self._with_threads(lambda: _matmul_peak(ops.linear, torch.float32))

    @cached_property
    def fma(self) -> float | None:
        return fma_peak()

    @cached_property
    def memory_bandwidth(self) -> float:
        """Bytes a second, read and written, of a copy far larger than any cache."""
        source = torch.ones(_COPY_BYTES // 8)
        target = torch.empty_like(source)
        return self._with_threads(lambda: _COPY_BYTES / _fastest(lambda: target.copy_(source)))

    def peak(self, dtype: torch.dtype) -> float:
        """FLOP/s of torch.mm, which is what a share of the peak is of."""
        return self.bf16_gemm if dtype == torch.bfloat16 else self.sgemm

    def facts(self) -> dict[str, Any]:
        known = info.facts()
        return {
            "versions": known["versions"],
            "isa": known["isa_in_use"],
            "isas_found": list(known["isas_found"]),
            "processors": known["processors"],
            "system": platform.platform(),
            "threads": self.threads,
            "gflops": {
                "torch.mm fp32": self.sgemm / 1e9,
                "torch.mm bf16": self.bf16_gemm / 1e9,
                "pyagent linear fp32": self.our_sgemm / 1e9,
                "FMA of one core, fp32": None if self.fma is None else self.fma / 1e9,
            },
            "copy_gb_s": self.memory_bandwidth / 1e9,
        }

    def _with_threads(self, measure: Callable[[], float]) -> float:
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            return measure()
        finally:
            torch.set_num_threads(before)
