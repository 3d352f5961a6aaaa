"""Bad arguments of temporal-difference errors and losses are named before anything is computed."""

import math

import pytest
import torch

from pyagent.ops import bootstrap_value, double_q_learning_td_error, q_learning_loss, td_loss

ops = torch.ops.pyagent


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"q_tm1": torch.zeros(3, 5)}, ValueError, r"q_tm1: got shape \(3, 5\), want \[T, B, A\]"),
        ({"q_tm1": torch.zeros(2, 3, 4).half()}, TypeError, "q_tm1: got float16"),
        ({"q_tm1": [0.0]}, TypeError, "q_tm1: got list"),
        ({"q_tm1": torch.zeros(2, 3, 0)}, ValueError, r"q_t: got shape \(2, 3, 4\)"),
        ({"a_tm1": torch.zeros(2, 3, dtype=torch.int32)}, TypeError, "a_tm1: got int32, want int64"),
        ({"a_tm1": torch.zeros(2, 4, dtype=torch.int64)}, ValueError, "a_tm1: got shape"),
        ({"a_tm1": torch.full((2, 3), 4)}, IndexError, "a_tm1: got 4, want 0 to 3"),
        ({"a_tm1": torch.full((2, 3), -1)}, IndexError, "a_tm1: got -1, want 0 to 3"),
        ({"r_t": torch.zeros(3)}, ValueError, "r_t: got shape"),
        ({"r_t": None}, TypeError, "r_t: got NoneType"),
        ({"discount_t": None}, TypeError, "discount_t: got NoneType"),
        ({"q_t": None}, TypeError, "q_t: got NoneType"),
        ({"discount_t": 0.99}, TypeError, "discount_t: got float"),
        ({"discount_t": torch.zeros(2, 3).double()}, TypeError, "discount_t: got float64, want float32"),
        ({"discount_t": torch.zeros(2, 3, device="meta")}, ValueError, "discount_t: got a tensor on meta"),
        ({"q_t": torch.zeros(2, 3, 5)}, ValueError, "q_t: got shape"),
        ({"q_t": torch.zeros(2, 3, 4).to_sparse()}, ValueError, "q_t: got a sparse_coo tensor"),
        ({"q_t_selector": torch.zeros(2, 3)}, ValueError, "q_t_selector: got shape"),
        ({"weights": torch.zeros(2)}, ValueError, r"weights: got shape \(2,\), want \[3\]"),
        ({"weights": torch.zeros(3, 3)}, ValueError, r"weights: got shape \(3, 3\), want \[2, 3\]"),
        ({"weights": torch.zeros(3, dtype=torch.bool)}, TypeError, "weights: got bool, want float32"),
        ({"huber_delta": 0.0}, ValueError, "huber_delta: got 0.0, want a number above 0"),
        ({"huber_delta": math.nan}, ValueError, "huber_delta: got nan"),
        ({"rescale_epsilon": -1.0}, ValueError, "rescale_epsilon: got -1.0"),
    ],
)
@pytest.mark.parametrize("grad", [False, True])
def test_bad_input_names_the_argument(changes, error, message, grad):
    good = {
        "q_tm1": torch.zeros(2, 3, 4, requires_grad=grad),
        "a_tm1": torch.zeros(2, 3, dtype=torch.int64),
        **dict.fromkeys(("r_t", "discount_t"), torch.zeros(2, 3)),
        "q_t": torch.zeros(2, 3, 4),
    }
    with pytest.raises(error, match=message):
        q_learning_loss(**{**good, **changes})


def test_bad_targets_and_values_are_named():
    q, a = torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match="target: got shape"):
        td_loss(q, a, torch.zeros(3))
    with pytest.raises(TypeError, match="q_t_selector: got NoneType"):
        double_q_learning_td_error(q, a, torch.zeros(2, 3), torch.zeros(2, 3), q, None)
    with pytest.raises(ValueError, match="q_t: got shape"):
        bootstrap_value(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="at least one action"):
        bootstrap_value(torch.zeros(2, 3, 0))
    with pytest.raises(ValueError, match="rescale_epsilon"):
        bootstrap_value(q, rescale_epsilon=-1.0)


def test_the_raw_ops_read_nothing_out_of_bounds():
    q, a, r = torch.zeros(2, 3, 4), torch.full((2, 3), 9), torch.zeros(2, 3)
    with pytest.raises(RuntimeError, match="a_tm1"):
        ops.td_loss_forward.default(q, a, r, *(None,) * 6)
    with pytest.raises(RuntimeError, match="a_tm1"):
        ops.td_loss_backward.default(r, a, None, 4)
    with pytest.raises(RuntimeError, match="want it with"):
        ops.td_loss_forward.default(q, 0 * a, r, r, *(None,) * 5)
