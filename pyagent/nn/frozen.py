"""The one place where anything derived from weights is kept: inside `with module.frozen()`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from typing_extensions import Self

from pyagent.ops import StepWeights

# Entering and leaving is rare and quick, so one lock serves every module (and none has to be copied or pickled).
_LOCK = threading.Lock()


class Freezable(nn.Module):
    """A module that may keep what its steps derive from its weights while they are promised not to change."""

    def __init__(self) -> None:
        super().__init__()
        self._derived: StepWeights | None = None
        self._frozen_depth = 0

    def derive(self) -> StepWeights:
        """What a step reads, made of the weights as they are now and independent of them from here on."""
        raise NotImplementedError

    @contextmanager
    def frozen(self) -> Iterator[Self]:
        """Keep packed weights and projected tables until the block ends; changes to weights inside it go unseen.

        May be nested and entered from several threads; what is kept is dropped when the last one leaves. It is never
        part of the state dict, a pickle or a copy.
        """
        with _LOCK:
            if self._frozen_depth == 0:
                self._derived = self.derive()
            self._frozen_depth += 1
        try:
            yield self
        finally:
            with _LOCK:
                self._frozen_depth -= 1
                if self._frozen_depth == 0:
                    self._derived = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_derived": None, "_frozen_depth": 0}
