"""What launchers launch, caught instead of launched, and compiled for GPUs that are not here."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
# What a program may have in shared memory: CUDA C++ programming guide, table of compute capabilities; CDNA3's LDS.
SHARED_LIMIT = {"sm_80": 163 << 10, "sm_90": 227 << 10, "sm_100": 227 << 10, "gfx942": 64 << 10}
ALIGNED = [["tt.divisibility", 16]]
OPTIONS = ("num_warps", "num_stages", "enable_fp_fusion")


@dataclasses.dataclass
class Launch:
    """A kernel and what it was launched with."""

    kernel: JITFunction
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    options: dict[str, Any]

    def source(self) -> ASTSource:
        """What Triton would compile at this launch: tensors are aligned, None and constexprs are constants."""
        signature, constants, attributes = {}, {}, {}
        for place, parameter in enumerate(self.kernel.params):
            value = self.arguments[parameter.name]
            if parameter.is_constexpr or value is None:
                signature[parameter.name], constants[(place,)] = "constexpr", value
            elif isinstance(value, torch.Tensor):
                signature[parameter.name], attributes[(place,)] = triton.runtime.jit.mangle_type(value), ALIGNED
            else:
                assert parameter.annotation_type, f"{parameter.name}: a number needs a type, or its value decides it"
                signature[parameter.name] = parameter.annotation_type
                if isinstance(value, int) and value % 16 == 0 and not parameter.do_not_specialize:
                    attributes[(place,)] = ALIGNED
        return ASTSource(self.kernel, signature, constants, attributes)

    def compile(self, target: str) -> Any:
        return triton.compile(self.source(), target=TARGETS[target], options=self.options)


def launches(monkeypatch, launcher, *arguments: Any) -> list[Launch]:
    """Call a launcher with tensors that have no memory (device "meta"), and catch its launches."""
    caught = []

    def run(kernel, *values, grid, warmup, **named):
        options = {name: named.pop(name) for name in OPTIONS if name in named}
        names = [parameter.name for parameter in kernel.params]
        caught.append(Launch(kernel, grid, dict(zip(names, values, strict=False)) | named, options))

    with monkeypatch.context() as patch:
        patch.setattr(JITFunction, "run", run)
        patch.setattr("pyagent.cuda._words", {})  # one on "meta" could not be read
        launcher(*arguments)
    return caught


@dataclasses.dataclass
class Resources:
    """Of a program."""

    registers: int
    spilled: int
    shared: int


def resources(compiled: Any, target: str) -> Resources:
    """As the assembler recorded them: of a cubin by cuobjdump, of AMD's code in its metadata."""
    if target.startswith("gfx"):
        found = dict(re.findall(r"^\s*\.(\w+):\s+(\d+)$", compiled.asm["amdgcn"], re.MULTILINE))
        spilled = int(found["private_segment_fixed_size"]) + int(found["vgpr_spill_count"])
        return Resources(int(found["vgpr_count"]), spilled, compiled.metadata.shared)
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        listing = subprocess.run([tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True)
    found = dict(re.findall(r"(\w+):(\d+)", listing.stdout))
    return Resources(int(found["REG"]), int(found["STACK"]) + int(found["LOCAL"]), compiled.metadata.shared)
