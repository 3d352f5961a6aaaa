"""Agents and their parts."""

try:
    import gymnasium  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "pyagent.agents needs gymnasium: pip install 'pyagent[train]'", name=error.name
    ) from error

from pyagent.agents.agent import Agent
from pyagent.agents.choices import Choices
from pyagent.agents.choosing import ChoiceDecision, ChoiceUnderstanding, ChoosingAgent, load_language_agent
from pyagent.agents.decision import Decision
from pyagent.agents.generation import Generation
from pyagent.agents.heads import ActorCritic, DuelingQ
from pyagent.agents.interaction import Interaction, Rollout
from pyagent.agents.language_agent import LanguageAgent, Reply
from pyagent.agents.observations import SpaceReader
from pyagent.agents.play import EpisodeEnd, Outcome, Play
from pyagent.agents.state_tracking import CORES, recurrent_core
from pyagent.agents.token_agent import SpokenWords, TokenAgent
from pyagent.agents.understanding import Turns, Understanding

__all__ = [
    "CORES",
    "ActorCritic",
    "Agent",
    "ChoiceDecision",
    "ChoiceUnderstanding",
    "Choices",
    "ChoosingAgent",
    "Decision",
    "DuelingQ",
    "EpisodeEnd",
    "Generation",
    "Interaction",
    "LanguageAgent",
    "Outcome",
    "Play",
    "Reply",
    "Rollout",
    "SpaceReader",
    "SpokenWords",
    "TokenAgent",
    "Turns",
    "Understanding",
    "load_language_agent",
    "recurrent_core",
]
