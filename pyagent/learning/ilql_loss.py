"""The loss of implicit language Q-learning."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from pyagent.agents.token_agent import SpokenWords


class ILQLLoss(NamedTuple):
    """The loss and what it is made of, all scalars."""

    loss: Tensor
    q: Tensor
    v: Tensor
    conservatism: Tensor
    cross_entropy: Tensor


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """|τ − 1(u < 0)|·u², elementwise, of differences u and τ = `expectile`: its minimum over v of u = x − v is the
    τ-expectile of x, the mean for τ = ½ and the largest x in the limit τ → 1."""
    weight = (difference >= 0) * (2 * expectile - 1) + (1 - expectile)
    return weight * difference.square()


def next_value(v: Tensor, continues: Tensor) -> Tensor:
    """V of the next state, [K] of the values [K] of states in order; 0 where the episode does not go on."""
    return v.new_zeros(v.shape).index_copy(0, continues.nonzero()[:, 0], v[1:][continues[:-1]])


def ilql_loss(
    spoken: SpokenWords,
    there: Tensor,
    reward: Tensor,
    continues: Tensor,
    *,
    gamma: float,
    expectile: float,
    cql_alpha: float,
    q_coef: float,
) -> ILQLLoss:
    """cross-entropy + q_coef·(L_Q + L_V + cql_alpha·L_CQL), means over the words a_k spoken in states s_k:

        L_Q   = Σ_i (r_k + γ·V(s_{k+1}) − Q_i(s_k, a_k))²        V(s_{k+1}) without gradient, 0 after the end
        L_V   = |τ − 1(u < 0)|·u²,  u = min_i Q̂_i(s_k, a_k) − V(s_k)
        L_CQL = Σ_i log Σ_w exp Q_i(s_k, w) − Q_i(s_k, a_k)

    with i the two heads, Q̂ their targets and τ = `expectile`. V learns what the best of the words that were in fact
    spoken in such a state is worth, so no value of a word that no one ever spoke is taken for granted.

    Args:
        spoken: what the heads say of the words.
        there: bool [K]: a word was spoken; elsewhere only V counts, for the word before.
        reward: [K].
        continues: bool [K]: state k + 1 follows state k in the same episode.
        gamma: discount of a word.

    Snell et al. 2022, "Offline RL for natural language generation with implicit language Q-learning",
    https://arxiv.org/abs/2206.11871; Kostrikov et al. 2021, https://arxiv.org/abs/2110.06169 (the expectile).
    """
    target = reward + gamma * next_value(spoken.v.detach(), continues)
    q = (target - spoken.q).square().sum(0)[there].mean()
    v = expectile_loss(spoken.target_q - spoken.v, expectile)[there].mean()
    conservatism = spoken.conservatism.sum()
    loss = spoken.cross_entropy + q_coef * (q + v + cql_alpha * conservatism)
    return ILQLLoss(loss, q, v, conservatism, spoken.cross_entropy)
