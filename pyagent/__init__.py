"""pyagent: recurrent language agents at the speed of the hardware.

Importing it loads nothing else: each part below is imported at its first use, so that what needs an extra
(`pip install 'pyagent[train]'`) costs nothing and asks for nothing before then.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyagent import agents, cuda, envs, evaluation, kernels, learning, native, nn, ops, replay, text
    from pyagent.agents import Agent, LanguageAgent, TokenAgent
    from pyagent.evaluation import evaluate_policy
    from pyagent.learning import A2C, PPO, RecurrentDQN, Reinforce, Supervised, TabularQ, TokenQ

__version__ = "0.1.0"

__all__ = [
    "A2C",
    "PPO",
    "Agent",
    "LanguageAgent",
    "RecurrentDQN",
    "Reinforce",
    "Supervised",
    "TabularQ",
    "TokenAgent",
    "TokenQ",
    "agents",
    "cuda",
    "envs",
    "evaluate_policy",
    "evaluation",
    "kernels",
    "learning",
    "native",
    "nn",
    "ops",
    "replay",
    "text",
]

_HOME = {
    "A2C": "pyagent.learning",
    "Agent": "pyagent.agents",
    "LanguageAgent": "pyagent.agents",
    "PPO": "pyagent.learning",
    "RecurrentDQN": "pyagent.learning",
    "Reinforce": "pyagent.learning",
    "Supervised": "pyagent.learning",
    "TabularQ": "pyagent.learning",
    "TokenAgent": "pyagent.agents",
    "TokenQ": "pyagent.learning",
    "evaluate_policy": "pyagent.evaluation",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'pyagent' has no attribute {name!r}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    return importlib.import_module(f"pyagent.{name}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
