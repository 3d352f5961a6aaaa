"""Learners, their one loop, run folders, and the main job."""

from pyagent.learning.a2c import A2C
from pyagent.learning.callbacks import CheckpointCallback, EvalCallback
from pyagent.learning.ilql_loss import ILQLLoss, ilql_loss
from pyagent.learning.logger import Logger, read_metrics
from pyagent.learning.ppo import PPO
from pyagent.learning.recurrent_dqn import RecurrentDQN
from pyagent.learning.reinforce import Reinforce
from pyagent.learning.run_folder import RunFolder
from pyagent.learning.supervised import Supervised
from pyagent.learning.tabular_q import TabularQ
from pyagent.learning.token_log import LoggedEpisode, LoggedTurn, TokenLog
from pyagent.learning.token_q import TokenQ

__all__ = [
    "A2C",
    "PPO",
    "CheckpointCallback",
    "EvalCallback",
    "ILQLLoss",
    "LoggedEpisode",
    "LoggedTurn",
    "Logger",
    "RecurrentDQN",
    "Reinforce",
    "RunFolder",
    "Supervised",
    "TabularQ",
    "TokenLog",
    "TokenQ",
    "ilql_loss",
    "read_metrics",
]
