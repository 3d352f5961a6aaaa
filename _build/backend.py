"""setuptools' build backend, except that torch is a build requirement only where the environment has none.

Listing torch under `[build-system] requires` would make pip download a second copy of it into the isolated build
environment, possibly a CUDA build of several gigabytes, although only the headers of the installed one are needed.
"""

from __future__ import annotations

import os

from installed_torch import installed_torch, stop_if_too_old
from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403  (the remaining hooks are setuptools' own)


def _with_torch(requirements: list[str]) -> list[str]:
    found = installed_torch()
    if found is not None:
        stop_if_too_old(found[0])
        return requirements
    if os.environ.get("PYAGENT_NATIVE") == "0":
        return requirements
    return [*requirements, "torch==2.13.0"]


def get_requires_for_build_wheel(config_settings: dict | None = None) -> list[str]:
    return _with_torch(build_meta.get_requires_for_build_wheel(config_settings))


def get_requires_for_build_editable(config_settings: dict | None = None) -> list[str]:
    return _with_torch(build_meta.get_requires_for_build_editable(config_settings))
