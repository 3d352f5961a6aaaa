"""What was compiled and how it loads: instruction sets where they belong, clear errors where something is missing."""

import os
import platform
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from pyagent import native

ROOT = Path(__file__).parents[1]
TARGETS = ROOT / "csrc/core/targets"
needs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the instruction-set targets are x86's")
needs_binutils = pytest.mark.skipif(shutil.which("objdump") is None, reason="binutils are not installed")


def python(program: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a program in a fresh interpreter, with these environment variables on top of ours."""
    settings = {"OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, cwd=ROOT)


def newest_object(stem: str) -> Path:
    """The object compiled last from a source of this name; older ones were compiled with other flags."""
    return max(ROOT.glob(f"build/objects/*/{stem}.o"), key=lambda path: path.stat().st_mtime_ns)


def instructions(stem: str) -> str:
    command = ["objdump", "--disassemble", "--no-show-raw-insn", newest_object(stem)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_native_core_is_loaded():
    assert native.available
    assert native.core.__file__.endswith(".abi3.so")
    assert native.isa() in native.supported_isas()
    assert native.supported_isas()[-1] == "baseline"


@needs_x86
@needs_binutils
@pytest.mark.parametrize(
    "stem",
    ["baseline", *(path.stem for folder in ("csrc", "csrc/core") for path in sorted((ROOT / folder).glob("*.cpp")))],
)
def test_code_for_every_cpu_holds_no_avx(stem):
    found = re.search(r"%[yz]mm\d+|\tv[a-z0-9]+ .*%xmm\d+", instructions(stem))
    assert found is None, f"{stem}.o holds {found.group()}"


@needs_x86
@needs_binutils
def test_targets_hold_the_registers_of_their_instruction_set():
    avx2, avx512 = instructions("avx2"), instructions("avx512")
    assert "%ymm" in avx2
    assert "%zmm" not in avx2
    assert "%zmm" in avx512
    assert "vdpbf16ps" not in avx512
    assert "vdpbf16ps" in instructions("avx512_bf16")
    assert "%tmm" not in instructions("avx512_bf16")
    assert "tdpbf16ps %tmm6,%tmm4,%tmm0" in instructions("amx")


@needs_x86
@needs_binutils
@pytest.mark.parametrize("stem", sorted(path.stem for path in TARGETS.glob("*.cpp")))
def test_targets_define_no_weak_symbol(stem):
    """The linker keeps one copy of a weak symbol for all: it could be the one compiled for a newer CPU."""
    listing = subprocess.run(
        ["nm", "-C", "--defined-only", newest_object(stem)], capture_output=True, text=True, check=True
    )
    weak = [line for line in listing.stdout.splitlines() if re.match(r"[0-9a-f]+ [WVwvu] ", line)]
    assert weak == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("csrc/core/**/*.*")), ids=lambda path: path.name)
def test_core_is_plain_cpp(path):
    assert not re.search(r"#include [<\"](torch|ATen|c10|Python|pybind11)", path.read_text())


def test_kernels_are_part_of_the_package():
    import pyagent.kernels

    assert Path(pyagent.kernels.__file__) == ROOT / "kernels/__init__.py"


@pytest.mark.parametrize("isa", native.supported_isas())
def test_every_instruction_set_of_this_cpu_can_be_forced(isa):
    done = python("from pyagent import native; print(native.isa())", PYAGENT_CPU_ISA=isa)
    assert done.stdout.strip() == isa, done.stderr


def test_unknown_instruction_set_is_an_error_that_names_the_choices():
    done = python("from pyagent import native; native.isa()", PYAGENT_CPU_ISA="sse9")
    assert done.returncode != 0
    assert "PYAGENT_CPU_ISA" in done.stderr
    assert "sse9" in done.stderr
    assert "baseline" in done.stderr


def test_reference_runs_only_when_asked_for_and_says_so():
    program = "import torch; from pyagent.ops.gae import gae; v = torch.ones(3, 1); print(gae(v[1:], v[1:], v, 1.0))"
    done = python(program, PYAGENT_NATIVE="0")
    assert done.returncode == 0, done.stderr
    assert "[2.]" in done.stdout
    assert "RuntimeWarning: PYAGENT_NATIVE=0" in done.stderr


def test_missing_core_is_an_error_that_says_how_to_build_it():
    program = "import sys; sys.modules['pyagent._C'] = None; from pyagent import native"
    done = python(program)
    assert done.returncode != 0
    assert "apt install g++ python3-dev" in done.stderr
    assert "PYAGENT_NATIVE=0" in done.stderr


def test_build_without_a_compiler_says_what_to_install():
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    environment = {name: value for name, value in os.environ.items() if name != "CXX"} | {"PATH": "/nowhere"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "no C++ compiler found" in done.stderr
    assert "apt install g++ python3-dev" in done.stderr
    assert "PYAGENT_NATIVE=0" in done.stderr


@pytest.fixture
def call_backend(tmp_path):
    """Call a hook of the build backend in an environment that holds a given torch, or none."""
    import setuptools

    venv.create(tmp_path / "env", with_pip=False)
    interpreter = tmp_path / "env/bin/python"
    packages = next((tmp_path / "env").glob("lib/python*/site-packages"))

    def call(hook: str, torch_version: str | None) -> subprocess.CompletedProcess:
        if torch_version is not None:
            (packages / "torch/include").mkdir(parents=True)
            metadata = packages / f"torch-{torch_version}.dist-info"
            metadata.mkdir()
            (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {torch_version}\n")
        search = os.pathsep.join([str(ROOT / "_build"), str(Path(setuptools.__file__).parents[1])])
        command = [interpreter, "-c", f"import backend; print(backend.{hook})"]
        settings = {"PYTHONPATH": search, "PATH": os.environ["PATH"]}
        return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True)

    return call


@pytest.mark.parametrize(
    "hook",
    [
        "get_requires_for_build_wheel()",
        "get_requires_for_build_editable()",
        "prepare_metadata_for_build_wheel('/nowhere')",
        "prepare_metadata_for_build_editable('/nowhere')",
    ],
)
def test_build_stops_at_an_older_torch(call_backend, hook):
    done = call_backend(hook, "2.12.1+cu126")
    assert done.returncode != 0
    assert "found torch 2.12.1+cu126; pyagent needs >= 2.13; upgrade it yourself, nothing was changed" in done.stderr


@pytest.mark.parametrize(("installed", "asks_for_torch"), [("2.14.1", False), (None, True)])
def test_build_asks_for_torch_only_where_there_is_none(call_backend, installed, asks_for_torch):
    done = call_backend("get_requires_for_build_wheel()", installed)
    assert done.returncode == 0, done.stderr
    assert ("torch==2.13.0" in done.stdout) == asks_for_torch
