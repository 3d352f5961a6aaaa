"""Learners, their one loop, run folders, and the main job."""

from pyagent.learning.ilql_loss import ILQLLoss, ilql_loss
from pyagent.learning.logger import Logger, read_metrics
from pyagent.learning.ppo import PPO
from pyagent.learning.ppo_loss import PPOLoss, ppo_loss
from pyagent.learning.run_folder import RunFolder
from pyagent.learning.supervised import Supervised
from pyagent.learning.token_log import LoggedEpisode, LoggedTurn, TokenLog
from pyagent.learning.token_q import TokenQ

__all__ = [
    "PPO",
    "ILQLLoss",
    "LoggedEpisode",
    "LoggedTurn",
    "Logger",
    "PPOLoss",
    "RunFolder",
    "Supervised",
    "TokenLog",
    "TokenQ",
    "ilql_loss",
    "ppo_loss",
    "read_metrics",
]
