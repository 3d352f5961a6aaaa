"""Text environments: BabyAI levels told in words, registered with gymnasium as ``pyagent/<Level>-v0``."""

try:
    import minigrid  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("pyagent.envs needs minigrid: pip install 'pyagent[train]'", name=error.name) from error

from pyagent.envs.babyai import ACTION_WORDS, BabyAIText
from pyagent.envs.creation import make, make_vec
from pyagent.envs.demonstrations import Episode, demonstrations, prompt_response_pairs
from pyagent.envs.seeds import EVALUATION_SEED_START, evaluation_seeds, training_seeds
from pyagent.envs.tasks import Task, register_tasks, tasks
from pyagent.envs.vector import TextVectorEnv

__all__ = [
    "ACTION_WORDS",
    "EVALUATION_SEED_START",
    "BabyAIText",
    "Episode",
    "Task",
    "TextVectorEnv",
    "demonstrations",
    "evaluation_seeds",
    "make",
    "make_vec",
    "prompt_response_pairs",
    "tasks",
    "training_seeds",
]

register_tasks()
