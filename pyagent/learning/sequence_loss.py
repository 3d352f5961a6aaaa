"""The loss of replayed sequences in recurrent Q-learning."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyagent.agents import Agent
from pyagent.ops import TDLoss, bootstrap_value, n_step_returns, td_loss


def values_after_burn_in(agent: Agent, turns: Any, state: tuple[Tensor, ...], reset: Tensor, burn_in: int) -> Tensor:
    """Action values [T − burn_in, n, A] of n sequences; the steps before only bring the state up to date.

    Args:
        agent: whose scores are action values.
        turns: what its understanding reads, T·n rows, row t·n+b.
        state: the core's before step 0; empty of a core without memory.
        reset: bool [T, n].
        burn_in: steps without gradient.
    """
    read = agent.understanding(turns)
    read = read.view(*reset.shape, *read.shape[1:])
    start: Any = state if len(state) > 1 else state[0] if state else None
    if burn_in:
        with torch.no_grad():
            _, start = agent.state_tracking(read[:burn_in], start, reset=reset[:burn_in])
    return agent(read[burn_in:], start, reset[burn_in:])[0]


def sequence_loss(
    q: Tensor,
    q_target: Tensor,
    action: Tensor,
    reward: Tensor,
    terminated: Tensor,
    valid: Tensor,
    weights: Tensor,
    mask: Tensor | None = None,
    *,
    n_step: int,
    gamma: float,
    double: bool,
    rescale_epsilon: float | None,
) -> TDLoss:
    """With the target network's values Q⁻ and h(x) = sign(x)(√(|x|+1) − 1) + εx,

        y_t = h(r_t + γ r_{t+1} + … + γ^{n−1} r_{t+n−1} + γ^n h⁻¹(Q⁻(s_{t+n}, argmax_a Q(s_{t+n}, a))))
        loss = mean w · huber(y_t − Q(s_t, a_t))

    over the first L of L + `n_step` steps, cut where an episode ends.

    Args:
        q: [L + n_step, n, A], to learn; chooses the action of the bootstrap if `double`, otherwise Q⁻ does.
        q_target: [L + n_step, n, A], Q⁻.
        action: int64 [L + n_step, n].
        reward: [L + n_step, n].
        terminated: bool [L + n_step, n]: nothing follows the step.
        valid: bool [L + n_step, n]: False where an episode was over and the step is its last observation alone.
        weights: [n], w.
        mask: bool [L + n_step, n, A], the actions that may be chosen; None allows all.
        n_step: n.
        rescale_epsilon: ε of h; None leaves out h.

    Returns:
        the loss, and the errors y_t − Q(s_t, a_t), [L, n].

    Kapturowski et al. 2019, "Recurrent experience replay in distributed reinforcement learning"; h: Pohlen et al. 2018,
    "Observe and look further: achieving consistent performance on Atari", https://arxiv.org/abs/1805.11593
    """
    L = len(q) - n_step
    chooser = q.detach() if double else q_target
    if mask is not None:
        chooser = chooser.masked_fill(~mask, -torch.inf)
    value = bootstrap_value(q_target, chooser, rescale_epsilon=rescale_epsilon)
    # A step that was not valid stands for what its observation is worth, and nothing follows it.
    r_t = torch.where(valid, reward, value)[:-1]
    discount_t = (gamma * (valid & ~terminated)).to(r_t.dtype)[:-1]
    target = n_step_returns(r_t, discount_t, value[1:].contiguous(), n_step)[:L]
    return td_loss(
        q[:L], action[:L], target, weights=weights * valid[:L], huber_delta=1.0, rescale_epsilon=rescale_epsilon
    )
