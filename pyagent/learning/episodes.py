"""What learners tell of the episodes they have played."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

EPISODES_SHOWN = 100


def episode_figures(recent: Collection[tuple[float, int, float | None]]) -> dict[str, float]:
    """Means over episodes (reward, length, success or None) under Stable-Baselines3's keys."""
    if not recent:
        return {}
    rewards, lengths, successes = zip(*recent, strict=True)
    figures = {"rollout/ep_rew_mean": float(np.mean(rewards)), "rollout/ep_len_mean": float(np.mean(lengths))}
    told = [success for success in successes if success is not None]
    return figures | ({"rollout/success_rate": float(np.mean(told))} if told else {})
