"""The kernel of ε-greedy actions, interpreted, against the CPU op: the same actions."""

import pytest
import torch

from pyagent.kernels.bad_values import CHOICES
from pyagent.kernels.epsilon_greedy import epsilon_greedy

SIZES = [(1, 1), (0, 3), (33, 2), (70, 18), (5, 1300)]


def sample(N, A, dtype=torch.float32):
    """q with ties, numbers in [0, 1) and a mask that leaves something."""
    random = torch.Generator().manual_seed(N * 10000 + A)
    q = torch.randn(N, A, generator=random, dtype=dtype).mul(2).round()
    q[:, A // 2] = -torch.inf
    mask = torch.rand(N, A, generator=random) < 0.6
    mask[:, A - 1] |= ~mask.any(1)
    return q, torch.rand(N, 2, generator=random, dtype=torch.float64), mask


@pytest.mark.parametrize(("dtype", "masked"), [(torch.float64, False), (torch.float32, True)], ids=["", "masked"])
@pytest.mark.parametrize("epsilon", [0.0, 0.4, 1.0, "by row"])
@pytest.mark.parametrize(("N", "A"), SIZES)
def test_actions(N, A, epsilon, masked, dtype, reported):
    q, uniform, mask = sample(N, A, dtype)
    of_row = torch.linspace(0, 1, N, dtype=torch.float64) if epsilon == "by row" else None
    mask = mask if masked else None
    if masked:
        q = q.where(mask, torch.nan)  # never looked at
    arguments = (q, 0.0 if epsilon == "by row" else epsilon, of_row, uniform, mask)
    assert torch.equal(epsilon_greedy(*arguments), torch.ops.pyagent.epsilon_greedy(*arguments))
    assert reported() == 0


def test_epsilon_is_compared_in_float64():
    q, uniform, _ = sample(2, 4)
    uniform[:, 0] = 0.1
    exactly, above = (
        0.1,
        torch.tensor(0.1, dtype=torch.float64).nextafter(torch.tensor(1.0, dtype=torch.float64)).item(),
    )
    uniform[:, 1] = 0.9  # explores action 3
    assert (epsilon_greedy(q, above, None, uniform, None) == 3).all()
    assert torch.equal(epsilon_greedy(q, exactly, None, uniform, None), q.argmax(1))


@pytest.mark.parametrize("fault", ["NaN", "nothing allowed"])
def test_bad_row_is_reported_and_has_no_action(fault, reported):
    q, uniform, mask = sample(40, 5)
    wanted = epsilon_greedy(q, 0.5, None, uniform, mask)
    if fault == "NaN":
        q[7, mask[7].int().argmax()] = torch.nan
    else:
        mask[7] = False
    wanted[7] = -1
    assert torch.equal(epsilon_greedy(q, 0.5, None, uniform, mask), wanted)
    assert reported() == CHOICES.value


def test_no_actions_at_all(reported):
    assert (epsilon_greedy(torch.empty(3, 0), 0.5, None, torch.rand(3, 2, dtype=torch.float64), None) == -1).all()
    assert reported() == CHOICES.value
