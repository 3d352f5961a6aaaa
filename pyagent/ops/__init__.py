"""The ops: pure functions on tensors, each with its maths, reference and compiled kernel in the file of its name."""

from pyagent.ops.distinct_tokens import distinct_tokens
from pyagent.ops.gae import gae
from pyagent.ops.linear import linear
from pyagent.ops.linear_cross_entropy import linear_cross_entropy
from pyagent.ops.recurrence import recurrence
from pyagent.ops.recurrence_step import StepWeights, pack_step, recurrence_step
from pyagent.ops.recurrent_layer import recurrent_layer

__all__ = [
    "StepWeights",
    "distinct_tokens",
    "gae",
    "linear",
    "linear_cross_entropy",
    "pack_step",
    "recurrence",
    "recurrence_step",
    "recurrent_layer",
]
