"""PPO's loss against the formulas written out turn by turn in float64."""

import math

import numpy as np
import torch

from pyagent.learning import ppo_loss


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
    got = ppo_loss(
        torch.tensor(scores).log_softmax(-1),
        *(torch.tensor(x) for x in (value, action, old_log_prob, advantage, target)),
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
    log_probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1]]).log().requires_grad_()
    old = torch.tensor([0.5, 0.5]).log()
    got = ppo_loss(
        log_probabilities,
        torch.zeros(2),
        torch.tensor([0, 0]),
        old,
        torch.tensor([1.0, -1.0]),
        torch.zeros(2),
        clip_range=0.2,
        ent_coef=0.0,
        vf_coef=0.0,
    )
    got.loss.backward()
    assert log_probabilities.grad[0, 0] == 0.0
    assert log_probabilities.grad[1, 0] > 0.0


def test_impossible_actions_change_nothing():
    rng = np.random.default_rng(1)
    scores = torch.tensor(rng.normal(size=(20, 3)), requires_grad=True)
    value, target, advantage, old = (torch.tensor(rng.normal(size=20)) for _ in range(4))
    action = torch.tensor(rng.integers(3, size=20))
    coefficients = {"clip_range": 0.2, "ent_coef": 0.5, "vf_coef": 0.5}

    def loss_and_gradient(masked):
        log_probabilities = masked.log_softmax(-1)
        loss = ppo_loss(log_probabilities, value, action, old, advantage, target, **coefficients).loss
        return loss, torch.autograd.grad(loss, scores)[0]

    padded = torch.cat((scores, torch.full((20, 2), -torch.inf, dtype=scores.dtype)), 1)
    for got, want in zip(loss_and_gradient(padded), loss_and_gradient(scores), strict=True):
        torch.testing.assert_close(got, want)
