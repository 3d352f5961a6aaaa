"""Find the torch that is installed in the environment pyagent is being installed into.

Build isolation hides that environment from the import system, so it is looked up on disk. Torch itself is never
imported: that takes seconds, and inside build isolation it may not be there.
"""

from __future__ import annotations

import importlib.util
import site
import sys
from importlib.metadata import distributions
from pathlib import Path

MINIMUM = (2, 13)


def _site_folders() -> list[str]:
    """Folders the target environment imports packages from, the most specific first."""
    prefixes = [sys.prefix]
    config = Path(sys.prefix, "pyvenv.cfg")
    if config.exists() and "include-system-site-packages = true" in config.read_text().lower():
        prefixes.append(sys.base_prefix)
    return list(dict.fromkeys(site.getsitepackages(prefixes)))


def installed_torch() -> tuple[str, Path] | None:
    """Version and package folder of the environment's torch; `None` where it has none."""
    for folder in _site_folders():
        for distribution in distributions(name="torch", path=[folder]):
            package = Path(folder, "torch")
            if (package / "include").is_dir():
                return distribution.version, package
    return None


def torch_to_build_against() -> tuple[str, Path]:
    """The environment's torch, or else the one that build isolation brought along.

    Raises SystemExit, with what to do, where there is no torch or only one that is too old.
    """
    found = installed_torch()
    if found is None:
        spec = importlib.util.find_spec("torch")
        if spec is None or spec.origin is None:
            raise SystemExit(
                "pyagent: building the native core needs torch >= 2.13 and found none; install it first "
                "(pip install torch)"
            )
        package = Path(spec.origin).parent
        version = next(iter(distributions(name="torch", path=[str(package.parent)]))).version
        found = version, package
    stop_if_too_old(found[0])
    return found


def stop_if_too_old(version: str) -> None:
    """Raise SystemExit when `version` lacks the stable interface that the native core is compiled against."""
    if tuple(int(part) for part in version.split(".")[:2]) < MINIMUM:
        raise SystemExit(f"found torch {version}; pyagent needs >= 2.13; upgrade it yourself, nothing was changed")
