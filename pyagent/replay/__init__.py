"""What off-policy learners learn from: sequences of steps with stored recurrent state, and the tree that draws them."""

from pyagent.replay.sequence_batch import SequenceBatch
from pyagent.replay.sequence_replay import SequenceReplay
from pyagent.replay.sum_tree import SumTree

__all__ = ["SequenceBatch", "SequenceReplay", "SumTree"]
