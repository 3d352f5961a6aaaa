"""The ops: pure functions on tensors, each with its maths, reference and compiled kernel in the file of its name."""

from pyagent.ops.discounted_returns import discounted_returns
from pyagent.ops.distinct_tokens import distinct_tokens
from pyagent.ops.gae import gae
from pyagent.ops.lambda_returns import lambda_returns
from pyagent.ops.linear import linear
from pyagent.ops.linear_cross_entropy import linear_cross_entropy
from pyagent.ops.n_step_returns import n_step_returns
from pyagent.ops.recurrence import recurrence
from pyagent.ops.recurrence_step import StepWeights, pack_step, recurrence_step
from pyagent.ops.recurrent_layer import recurrent_layer
from pyagent.ops.retrace import retrace
from pyagent.ops.vtrace import vtrace

__all__ = [
    "StepWeights",
    "discounted_returns",
    "distinct_tokens",
    "gae",
    "lambda_returns",
    "linear",
    "linear_cross_entropy",
    "n_step_returns",
    "pack_step",
    "recurrence",
    "recurrence_step",
    "recurrent_layer",
    "retrace",
    "vtrace",
]
