"""Distributions over one and over several choices, against torch.distributions in float64."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch.distributions import Categorical

from pyagent.agents import Choices


@pytest.mark.parametrize("sizes", [[1], [5], [3, 1, 4]])
@pytest.mark.parametrize("masked", [False, True])
def test_probabilities_and_entropies_are_torchs(sizes, masked):
    space = gym.spaces.Discrete(sizes[0]) if len(sizes) == 1 else gym.spaces.MultiDiscrete(sizes)
    choices = Choices(space)
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(7, 3, sum(sizes), dtype=torch.float64, generator=generator)
    mask = torch.rand(scores.shape, generator=generator) < 0.5 if masked else None
    if mask is not None:
        for part in mask.split(sizes, -1):
            part[..., 0] = True
    likely = choices.log_probabilities(scores, mask)
    action = choices.sample(likely.flatten(0, 1), generator).unflatten(0, (7, 3))
    parts = (scores if mask is None else scores.masked_fill(~mask, -1e300)).split(sizes, -1)
    actions = [action] if len(sizes) == 1 else action.unbind(-1)
    want = [Categorical(logits=part) for part in parts]
    log_prob = sum(one.log_prob(chosen) for one, chosen in zip(want, actions, strict=True))
    torch.testing.assert_close(choices.log_prob(likely, action), log_prob)
    entropy = sum(-(one.probs * one.probs.clamp(min=1e-300).log()).sum(-1) for one in want)
    torch.testing.assert_close(choices.entropy(likely), entropy)
    assert torch.equal(
        choices.best(likely),
        torch.stack([part.argmax(-1) for part in parts], -1).squeeze(-1)
        if len(sizes) == 1
        else torch.stack([part.argmax(-1) for part in parts], -1),
    )
    if mask is not None:
        for chosen, allowed in zip(actions, mask.split(sizes, -1), strict=True):
            assert allowed.gather(-1, chosen[..., None]).all()


def test_a_score_of_minus_infinity_is_an_action_that_is_not_there():
    choices = Choices(gym.spaces.Discrete(3))
    scores = torch.tensor([[0.0, -torch.inf, 1.0]], requires_grad=True)
    likely = choices.log_probabilities(scores)
    choices.entropy(likely).sum().backward()
    assert likely.exp()[0, 1] == 0
    assert scores.grad.isfinite().all()


def test_actions_are_counted_as_the_environment_counts_them():
    choices = Choices(gym.spaces.Discrete(3, start=-1))
    assert choices.to_env(torch.tensor([0, 2])).tolist() == [-1, 1]


@pytest.mark.parametrize("space", [gym.spaces.Box(0, 1, (2,)), gym.spaces.MultiDiscrete(np.ones((2, 2), dtype=int))])
def test_other_spaces_are_refused(space):
    with pytest.raises(TypeError, match="env: want Discrete or MultiDiscrete"):
        Choices(space)
