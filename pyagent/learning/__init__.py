"""Learners, their one loop, run folders, and the main job."""

from pyagent.learning.logger import Logger, read_metrics
from pyagent.learning.ppo import PPO
from pyagent.learning.ppo_loss import PPOLoss, ppo_loss
from pyagent.learning.run_folder import RunFolder
from pyagent.learning.supervised import Supervised

__all__ = ["PPO", "Logger", "PPOLoss", "RunFolder", "Supervised", "ppo_loss", "read_metrics"]
