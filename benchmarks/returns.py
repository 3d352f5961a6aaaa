"""A rollout that every return is computed of."""

from __future__ import annotations

import torch
from torch import Tensor

A, N_STEPS = 6, 5


class Steps:
    """T steps of B lanes, float32, of which one in fifty terminates an episode."""

    gamma, lambda_ = 0.99, 0.95

    def __init__(self, T: int, B: int) -> None:
        torch.manual_seed(0)
        self.r_t, self.v = torch.randn(T, B), torch.randn(T + 1, B)
        self.terminated = torch.rand(T, B) < 0.02
        self.discount_t = self.gamma * (~self.terminated).float()
        self.rho_tm1 = torch.randn(T, B).mul(0.3).exp()
        self.size = 4 * T * B  # bytes of one number a step

    def actions(self) -> tuple[Tensor, ...]:
        """q_t, a_t, pi_t and mu_t."""
        T, B = self.r_t.shape
        q_t, pi_t = torch.randn(T, B, A), torch.randn(T, B, A).softmax(-1)
        return q_t, torch.randint(A, (T, B)), pi_t, 0.05 + torch.rand(T, B)
