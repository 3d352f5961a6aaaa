"""Text environments, registered with gymnasium as ``pyagent/<Name>-v0``: BabyAI levels told in words, and the games of
TextWorldExpress (these need the extra ``textworld``, and load it when one is made)."""

try:
    import minigrid  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("pyagent.envs needs minigrid: pip install 'pyagent[train]'", name=error.name) from error

from pyagent.envs.babyai import ACTION_WORDS, BabyAIText
from pyagent.envs.creation import make, make_game, make_vec
from pyagent.envs.demonstrations import Episode, demonstrations, prompt_response_pairs
from pyagent.envs.games import Game, games, register_games
from pyagent.envs.seeds import EVALUATION_SEED_START, evaluation_seeds, training_seeds
from pyagent.envs.tasks import Task, register_tasks, tasks
from pyagent.envs.vector import TextVectorEnv

__all__ = [
    "ACTION_WORDS",
    "EVALUATION_SEED_START",
    "BabyAIText",
    "Episode",
    "Game",
    "Task",
    "TextVectorEnv",
    "demonstrations",
    "evaluation_seeds",
    "games",
    "make",
    "make_game",
    "make_vec",
    "prompt_response_pairs",
    "tasks",
    "training_seeds",
]

register_tasks()
register_games()
