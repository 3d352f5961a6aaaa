"""setuptools' build backend, except that torch is a build requirement only where the environment has none.

Listing torch under `[build-system] requires` would make pip download a second copy of it into the isolated build
environment, possibly a CUDA build of several gigabytes, although only the headers of the installed one are needed.

Where the environment's torch is too old, every hook that installers call before they change anything stops: those for
requirements, and, because installers skip these without build isolation, those for metadata.
"""

from __future__ import annotations

import os

from installed_torch import installed_torch, stop_if_too_old
from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403  (the remaining hooks are setuptools' own)


def _has_torch() -> bool:
    """Whether the environment has a torch to build against; SystemExit where it is too old."""
    found = installed_torch()
    if found is not None:
        stop_if_too_old(found[0])
    return found is not None


def _missing_requirements() -> list[str]:
    return [] if _has_torch() or os.environ.get("PYAGENT_NATIVE") == "0" else ["torch==2.13.0"]


def get_requires_for_build_wheel(config_settings: dict | None = None) -> list[str]:
    return [*_missing_requirements(), *build_meta.get_requires_for_build_wheel(config_settings)]


def get_requires_for_build_editable(config_settings: dict | None = None) -> list[str]:
    return [*_missing_requirements(), *build_meta.get_requires_for_build_editable(config_settings)]


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: dict | None = None) -> str:
    _has_torch()
    return build_meta.prepare_metadata_for_build_wheel(metadata_directory, config_settings)


def prepare_metadata_for_build_editable(metadata_directory: str, config_settings: dict | None = None) -> str:
    _has_torch()
    return build_meta.prepare_metadata_for_build_editable(metadata_directory, config_settings)
