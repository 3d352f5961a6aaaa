"""The language agent and its five parts."""

try:
    import gymnasium  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "pyagent.agents needs gymnasium: pip install 'pyagent[train]'", name=error.name
    ) from error

from pyagent.agents.choosing import ChoiceDecision, ChoiceUnderstanding, ChoosingAgent, load_agent
from pyagent.agents.decision import Decision
from pyagent.agents.generation import Generation
from pyagent.agents.interaction import EpisodeEnd, Interaction, Rollout
from pyagent.agents.language_agent import LanguageAgent, Reply
from pyagent.agents.state_tracking import CORES, recurrent_core, select_lanes
from pyagent.agents.understanding import Turns, Understanding

__all__ = [
    "CORES",
    "ChoiceDecision",
    "ChoiceUnderstanding",
    "ChoosingAgent",
    "Decision",
    "EpisodeEnd",
    "Generation",
    "Interaction",
    "LanguageAgent",
    "Reply",
    "Rollout",
    "Turns",
    "Understanding",
    "load_agent",
    "recurrent_core",
    "select_lanes",
]
