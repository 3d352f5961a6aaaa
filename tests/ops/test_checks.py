"""What ops ask of their arguments, and the words in which they refuse."""

import pytest
import torch

from pyagent.ops.checks import check_optional, check_range, check_tensor, first_order_only, one_device

FLOATS = (torch.float32, torch.float64)


@pytest.mark.parametrize("tensor", [torch.zeros(2, 3), torch.zeros(5, 3).double(), torch.zeros(0, 3)])
def test_a_letter_is_any_size(tensor):
    check_tensor("x", tensor, ["B", 3], FLOATS, torch.device("cpu"))


def test_an_optional_tensor_may_be_none():
    check_optional("x", None, ["B", 3], FLOATS)
    with pytest.raises(TypeError, match="x: got NoneType, want a tensor"):
        check_tensor("x", None, ["B", 3], FLOATS)
    with pytest.raises(TypeError, match="x: got int64"):
        check_optional("x", torch.zeros(1, 3, dtype=torch.int64), ["B", 3], FLOATS)


@pytest.mark.parametrize(
    ("tensor", "error", "message"),
    [
        (3.0, TypeError, "x: got float, want a tensor"),
        (torch.zeros(2, 3).int(), TypeError, "x: got int32, want float32 or float64"),
        (torch.zeros(3), ValueError, r"x: got shape \(3,\), want \[B, 3\]"),
        (torch.zeros(2, 4), ValueError, r"x: got shape \(2, 4\), want \[B, 3\]"),
        (torch.zeros(2, 3).to_sparse(), ValueError, "x: got a sparse_coo tensor, want a strided one"),
        (torch.zeros(2, 3, device="meta"), ValueError, "x: got a tensor on meta, want cpu"),
    ],
)
def test_check_tensor_says_what_came_and_what_is_wanted(tensor, error, message):
    with pytest.raises(error, match=message):
        check_tensor("x", tensor, ["B", 3], FLOATS, torch.device("cpu"))


def test_check_range():
    check_range("x", None, 0, 1)
    check_range("x", torch.zeros(0, dtype=torch.int64), 0, 0)
    check_range("x", torch.tensor([0, 4]), 0, 5)
    for value in (-3, 5):
        with pytest.raises(IndexError, match=f"x: got {value}, want 0 to 4"):
            check_range("x", torch.tensor([2, value]), 0, 5)


def test_one_device():
    one_device("op", (None, torch.zeros(1), torch.zeros(2)))
    with pytest.raises(RuntimeError, match="op: got tensors on cpu and meta"):
        one_device("op", (torch.zeros(1), torch.zeros(1, device="meta")))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_first_order_only_lets_plain_tensors_through():
    x = torch.zeros(2)
    first_order_only("op", (None, x))
    with torch.autograd.forward_ad.dual_level():
        first_order_only("op", (x,))
        with pytest.raises(NotImplementedError, match="op: forward-mode"):
            first_order_only("op", (torch.autograd.forward_ad.make_dual(x, x),))
    with pytest.raises(NotImplementedError, match=r"op: torch\.func"):
        torch.func.vmap(lambda y: (first_order_only("op", (y,)), y)[1])(x)
