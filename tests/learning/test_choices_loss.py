"""PPO's loss against the formulas written out turn by turn in float64."""

import math

import gymnasium as gym
import numpy as np
import torch

from pyagent.agents import Choices
from pyagent.learning.choices_loss import ppo_loss_of_choices


def test_loss_is_the_papers():
    rng = np.random.default_rng(0)
    N, A, clip, ent_coef, vf_coef = 50, 4, 0.2, 0.03, 0.7
    scores, old_scores = rng.normal(size=(2, N, A))
    value, target, advantage = rng.normal(size=(3, N))
    action = rng.integers(A, size=N)
    total_policy = total_value = total_entropy = total_kl = 0.0
    clipped = 0
    old_log_prob = np.empty(N)
    for n in range(N):
        p = np.exp(scores[n]) / np.exp(scores[n]).sum()
        old = np.exp(old_scores[n]) / np.exp(old_scores[n]).sum()
        old_log_prob[n] = math.log(old[action[n]])
        ratio = p[action[n]] / old[action[n]]
        bounded = min(max(ratio, 1 - clip), 1 + clip)
        total_policy -= min(ratio * advantage[n], bounded * advantage[n])
        total_value += (value[n] - target[n]) ** 2
        total_entropy -= sum(q * math.log(q) for q in p)
        total_kl += ratio - 1 - math.log(ratio)
        clipped += ratio != bounded
    likely = torch.tensor(scores).log_softmax(-1)
    choices = Choices(gym.spaces.Discrete(A))
    got = ppo_loss_of_choices(
        choices.log_prob(likely, torch.tensor(action)),
        choices.entropy(likely),
        *(torch.tensor(x) for x in (value, old_log_prob, advantage, target)),
        clip_range=clip,
        ent_coef=ent_coef,
        vf_coef=vf_coef,
    )
    want = (total_policy + vf_coef * total_value - ent_coef * total_entropy) / N
    np.testing.assert_allclose(float(got.loss), want, rtol=1e-12)
    np.testing.assert_allclose(float(got.policy), total_policy / N, rtol=1e-12)
    np.testing.assert_allclose(float(got.value), total_value / N, rtol=1e-12)
    np.testing.assert_allclose(float(got.entropy), total_entropy / N, rtol=1e-12)
    np.testing.assert_allclose(float(got.approx_kl), total_kl / N, rtol=1e-9)
    np.testing.assert_allclose(float(got.clip_fraction) * N, clipped, rtol=1e-6)


def test_no_gradient_where_the_ratio_has_left_the_range_the_right_way():
    log_prob = torch.tensor([0.9, 0.9]).log().requires_grad_()
    old = torch.tensor([0.5, 0.5]).log()
    got = ppo_loss_of_choices(
        log_prob,
        torch.zeros(2),
        torch.zeros(2),
        old,
        torch.tensor([1.0, -1.0]),
        torch.zeros(2),
        clip_range=0.2,
        ent_coef=0.0,
        vf_coef=0.0,
    )
    got.loss.backward()
    assert log_prob.grad[0] == 0.0
    assert log_prob.grad[1] > 0.0
