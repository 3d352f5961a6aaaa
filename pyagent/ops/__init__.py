"""The ops: pure functions on tensors, each with its maths, reference and compiled kernel in the file of its name."""

from pyagent.ops.clip_grad_norm import clip_grad_norm
from pyagent.ops.discounted_returns import discounted_returns
from pyagent.ops.distinct_tokens import distinct_tokens
from pyagent.ops.double_q_update import double_q_update
from pyagent.ops.epsilon_greedy import epsilon_greedy
from pyagent.ops.expected_sarsa_update import expected_sarsa_update
from pyagent.ops.gae import gae
from pyagent.ops.lambda_returns import lambda_returns
from pyagent.ops.linear import linear
from pyagent.ops.linear_cross_entropy import linear_cross_entropy
from pyagent.ops.n_step_returns import n_step_returns
from pyagent.ops.ppo_loss import PPOLoss, ppo_loss
from pyagent.ops.q_lambda_update import q_lambda_update
from pyagent.ops.q_update import q_update
from pyagent.ops.recurrence import recurrence
from pyagent.ops.recurrence_step import StepWeights, pack_step, recurrence_step
from pyagent.ops.recurrent_layer import recurrent_layer
from pyagent.ops.retrace import retrace
from pyagent.ops.sample_categorical import sample_categorical
from pyagent.ops.sarsa_update import sarsa_update
from pyagent.ops.tanh_layers import tanh_layers
from pyagent.ops.td_loss import (
    TDLoss,
    bootstrap_value,
    double_q_learning_td_error,
    q_learning_loss,
    q_learning_td_error,
    td_loss,
)
from pyagent.ops.value_rescaling import signed_hyperbolic, signed_parabolic
from pyagent.ops.vtrace import vtrace

__all__ = [
    "PPOLoss",
    "StepWeights",
    "TDLoss",
    "bootstrap_value",
    "clip_grad_norm",
    "discounted_returns",
    "distinct_tokens",
    "double_q_learning_td_error",
    "double_q_update",
    "epsilon_greedy",
    "expected_sarsa_update",
    "gae",
    "lambda_returns",
    "linear",
    "linear_cross_entropy",
    "n_step_returns",
    "pack_step",
    "ppo_loss",
    "q_lambda_update",
    "q_learning_loss",
    "q_learning_td_error",
    "q_update",
    "recurrence",
    "recurrence_step",
    "recurrent_layer",
    "retrace",
    "sample_categorical",
    "sarsa_update",
    "signed_hyperbolic",
    "signed_parabolic",
    "tanh_layers",
    "td_loss",
    "vtrace",
]
