"""Learners, their one loop, run folders, and the main job."""

from pyagent.learning.a2c import A2C
from pyagent.learning.callbacks import CheckpointCallback, EvalCallback
from pyagent.learning.logger import Logger, read_metrics
from pyagent.learning.ppo import PPO
from pyagent.learning.recurrent_dqn import RecurrentDQN
from pyagent.learning.reinforce import Reinforce
from pyagent.learning.run_folder import RunFolder
from pyagent.learning.supervised import Supervised
from pyagent.learning.tabular_q import TabularQ

__all__ = [
    "A2C",
    "PPO",
    "CheckpointCallback",
    "EvalCallback",
    "Logger",
    "RecurrentDQN",
    "Reinforce",
    "RunFolder",
    "Supervised",
    "TabularQ",
    "read_metrics",
]
