"""The kernel that draws from a softmax, interpreted, against the CPU op: the same actions."""

import pytest
import torch

from pyagent.kernels.bad_values import CHOICES
from pyagent.kernels.sample_categorical import sample_categorical

SIZES = [(1, 1), (0, 3), (33, 2), (17, 19), (1, 2500)]
RULES = {
    "": (1.0, None, None),
    "cold": (0.05, None, None),
    "frozen": (1e-300, None, None),
    "top_k": (1.0, 3, None),
    "top_k of more than there are": (1.0, 10**6, None),
    "top_p": (1.3, None, 0.6),
    "hardly any": (1.0, None, 1e-9),
    "both": (0.7, 7, 0.9),
}


def sample(N, A, dtype=torch.float32, *, ties=False):
    random = torch.Generator().manual_seed(N * 10000 + A)
    logits = 3 * torch.randn(N, A, generator=random, dtype=dtype)
    if ties:
        logits = (logits / 3).round().mul(-torch.tensor(0.5))  # −0 and 0 are equal too
    logits[:, A // 2] = -torch.inf if A > 1 else 0.0
    mask = torch.rand(N, A, generator=random) < 0.6
    mask[:, 0] |= ~(mask & (logits > -torch.inf)).any(1)
    return logits, torch.rand(N, generator=random, dtype=torch.float64), mask


def check(logits, uniform, rule, mask=None):
    wanted = torch.ops.pyagent.sample_categorical(logits, uniform, *rule, mask)
    assert torch.equal(sample_categorical(logits, uniform, *rule, mask), wanted)


@pytest.mark.parametrize("rule", RULES)
def test_rules(rule, reported):
    logits, uniform, mask = sample(13, 18)
    check(logits, uniform, RULES[rule])
    if rule in ("", "both"):  # what is masked is never looked at
        check(logits.where(mask, torch.nan), uniform, RULES[rule], mask)
    assert reported() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("N", "A"), SIZES)
def test_sizes(N, A, dtype):
    logits, uniform, mask = sample(N, A, dtype)
    check(logits, uniform, RULES["both"], mask)


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_cuts_through_equals_and_ends_of_the_unit_interval(uniform):
    """A draw by the last share of all, or none, is an action that has a share."""
    logits, _, mask = sample(13, 18, ties=True)
    for rule in ((1.0, 5, None), (1.0, 9, 0.3)):
        check(logits, torch.full((13,), uniform, dtype=torch.float64), rule, mask)


@pytest.mark.parametrize("fault", ["NaN", "+inf", "nothing allowed", "nothing above -inf"])
def test_bad_row_is_reported_and_has_no_action(fault, reported):
    logits, uniform, mask = sample(13, 5)
    wanted = sample_categorical(logits, uniform, 1.0, 3, 0.9, mask)
    if fault in ("NaN", "+inf"):
        logits[7, mask[7].int().argmax()] = {"NaN": torch.nan, "+inf": torch.inf}[fault]
    elif fault == "nothing allowed":
        mask[7] = False
    else:
        logits[7] = -torch.inf
    wanted[7] = -1
    assert torch.equal(sample_categorical(logits, uniform, 1.0, 3, 0.9, mask), wanted)
    assert reported() == CHOICES.value
