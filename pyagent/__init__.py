"""pyagent: recurrent language agents at the speed of the hardware.

Importing it loads nothing else: each part below is imported at its first use, so that what needs an extra
(`pip install 'pyagent[train]'`) costs nothing and asks for nothing before then.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PARTS = ("agents", "envs", "evaluation", "kernels", "learning", "native", "nn", "ops", "text")
_NAMES = {
    "LanguageAgent": "pyagent.agents",
    "PPO": "pyagent.learning",
    "Supervised": "pyagent.learning",
    "evaluate_policy": "pyagent.evaluation",
}


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return importlib.import_module(f"pyagent.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'pyagent' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(["__version__", *_PARTS, *_NAMES])
