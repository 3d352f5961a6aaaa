"""Programs of the core's amx target on emulated tiles: no processor with them is needed."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
FLAGS = ["-std=c++17", "-O1", "-ffp-contract=off", "-Wno-psabi", f"-I{ROOT / 'csrc'}"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="module")
def run_emulated(tmp_path_factory):
    """`run_emulated(source)` compiles a program beside the tests; what that returns maps tensors and bytes, written to
    its standard input, to its standard output."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))), None)
    if compiler is None or platform.machine() != "x86_64":
        pytest.skip("AMX is x86's, and its emulation needs a C++ compiler")

    def build(source):
        program = tmp_path_factory.mktemp("amx") / "program"
        command = [compiler, *FLAGS, Path(__file__).with_name(source), "-o", program]
        if subprocess.run([*command, *SANITIZERS], capture_output=True).returncode != 0:
            subprocess.run(command, check=True)  # a compiler without its sanitizers' run-time

        def run(*given):
            done = subprocess.run([program], input=b"".join(map(raw_bytes, given)), capture_output=True)
            assert done.returncode == 0, done.stderr.decode()
            return bytearray(done.stdout)

        return run

    return build


def raw_bytes(x):
    if isinstance(x, bytes):
        return x
    return b"" if x is None else x.contiguous().flatten().view(torch.uint8).numpy().tobytes()
