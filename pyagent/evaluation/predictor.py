"""What can be evaluated, and how it is asked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from inspect import signature
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Predictor(Protocol):
    """What can be evaluated: our learners and agents, and Stable-Baselines3 models.

    Where its `predict` has a parameter `action_masks` too, it is told what the environment allows, bool [B, A].
    """

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Actions for a batch of observations, and the memory to hand back with the next batch."""
        ...


def acting(model: Predictor) -> AbstractContextManager[object]:
    """What to predict inside of: a model that can is frozen, as its weights stay as they are."""
    frozen: Callable[[], AbstractContextManager[object]] | None = getattr(model, "frozen", None)
    return nullcontext() if frozen is None else frozen()


def takes_masks(model: Predictor) -> bool:
    """Whether the model's `predict` has a parameter `action_masks`."""
    return "action_masks" in signature(model.predict).parameters


def predict(
    model: Predictor,
    observations: Any,
    state: Any,
    episode_start: NDArray[np.bool_],
    deterministic: bool,
    masks: NDArray[np.bool_] | None,
) -> tuple[Any, Any]:
    """The model's `predict`; `masks` is None where nobody tells any, or the model does not take them."""
    told = {} if masks is None else {"action_masks": masks}
    return model.predict(observations, state=state, episode_start=episode_start, deterministic=deterministic, **told)
