"""Imports point only backwards along the way of the data, and `import pyagent` stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pyagent"

# A module may import what stands on an earlier line, and its own package. Modules of one line do not import each other.
ORDER = (
    {"native", "files"},
    {"cuda"},
    {"kernels"},
    {"text"},
    {"ops"},
    {"nn"},
    {"envs", "replay"},
    {"agents"},
    {"evaluation"},
    {"learning"},
    {"integrations"},
    {"info"},
    {"cli"},
)
RANK = {part: rank for rank, parts in enumerate(ORDER) for part in parts}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imported_parts(path: Path):
    """(line, part of pyagent) for every import in a file, those inside functions included."""
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ["pyagent", *path.parent.parts]
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{source}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            words = name.split(".")
            if words[0] == "pyagent" and len(words) > 1:
                yield node.lineno, words[1]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_point_backwards(path):
    own = path.parts[0].removesuffix(".py")
    assert own in RANK, f"{path}: give the new part its place in ORDER"
    for line, part in imported_parts(path):
        if part == own or part.startswith("__"):
            continue
        assert part in RANK, f"{path}:{line}: pyagent.{part} has no place in ORDER"
        assert RANK[part] < RANK[own], f"{path}:{line}: {own} may not import {part}, which comes after it"


def test_import_pyagent_loads_no_extra():
    extras = {"gymnasium", "matplotlib", "minigrid", "rich", "safetensors", "tensorboard", "tokenizers", "typer"}
    program = f"import sys, pyagent; print(sorted({extras} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_resolves():
    program = "import pyagent; [getattr(pyagent, name) for name in dir(pyagent)]"
    subprocess.run([sys.executable, "-c", program], check=True)
