"""A ring of steps, sampled as overlapping sequences with the recurrent state at their start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray


@dataclass(frozen=True)
class SequenceBatch:
    """n sequences of `T = burn_in + sequence_length + n_step` steps, laid out `[T, n, …]`."""

    fields: dict[str, NDArray[Any]]
    """each `[T, n, *shape]`, as it was added"""
    reset: NDArray[np.bool_]
    """`[T, n]`: the state is replaced by zeros before this step"""
    valid: NDArray[np.bool_]
    """`[T, n]`: False where the environment ignored the action and only its observation counts"""
    state: tuple[NDArray[np.float32], ...]
    """the core's state before step 0, each `[L, n, H]`; empty where none is kept"""
    weights: NDArray[np.float32]
    """`[n]`: importance weights, the largest 1"""
    ids: NDArray[np.int64]
    """`[n]`: for `update_priorities`"""


class SequenceReplay:
    """Replay for recurrent off-policy learning, as in R2D2; with one-step sequences, for a plain DQN.

    B lanes (the environments of a vector environment) write step by step. A sequence starts every `period` steps of a
    lane and takes T = burn_in + sequence_length + n_step of them: `burn_in` to bring the stored state up to date, then
    `sequence_length` to learn from, then `n_step` of which only observations and what stands on the way there
    (rewards, resets) are needed, for n-step bootstrapping. So with T = τ the learner's step t of a sequence bootstraps
    from step t + n_step. Sequences cross the ends of episodes: `reset` says where, and a core that resets inside a
    sequence needs no padding. Steps are stored once, however many sequences they are in.

    **What a step is.** A row holds an observation, the action taken on it, and the reward, `terminated` and `truncated`
    that came back. `reset` says that the observation is the first of an episode; `valid` is False where the action was
    ignored. The invariant: *after the last step of an episode comes a row with its final observation, `valid=False`;
    the row after that has `reset=True`*. Then the row after any valid step holds its next observation, also at a
    time limit. Gymnasium's next-step autoreset produces just these rows: add every vector step as it comes. Under
    same-step autoreset add, when lanes end, one more step for these alone, `add(…, valid=False, lanes=ended)`, with
    `infos["final_obs"]`, any action, and a reward of 0; then go on. (The same where environments are reset by hand.)

    **Priorities.** A new sequence gets the largest priority seen so far. `update_priorities` gives it

        p = (η · max_t |δ_t| + (1 − η) · mean_t |δ_t| + ε)^α,      t over the valid learned steps,

    and sampling is stratified with P(i) = p_i / Σ p and importance weights w_i = (N · P(i))^−β / max_j w_j (N cancels).
    Sequences with no valid learned step are never sampled.

    Kapturowski et al., Recurrent Experience Replay in Distributed Reinforcement Learning, 2019; Schaul et al.,
    Prioritized Experience Replay, 2016.

    Args:
        capacity: steps of all lanes together; each lane keeps the last `capacity // num_lanes`.
        num_lanes: B.
        fields: shape and dtype of one step of one lane, by name: `{"observation": ((4,), "float32"), …}`.
        burn_in, sequence_length, n_step: see above; 0, 1 and 1 make plain one-step transitions.
        period: steps between the starts of sequences; by default half of `sequence_length`, rounded up, as in R2D2.
        state: shape `(L, H)` of each array of the core's state: one for an RNN or GRU, two for an LSTM, none for no
            state.
        prioritized: False samples uniformly, with weights of 1; `update_priorities` then does nothing.
        alpha, eta, epsilon: α, η, ε above.
        memory_limit: bytes above which the arrays live in files instead of memory.
        path: folder of these files, which makes them used in any case; a temporary one by default. They are working
            storage and not a copy that survives a crash: `save` makes one.

    Raises:
        ValueError: a size below its least; a capacity that holds no sequence; α, η, ε outside their ranges.
        TypeError: a field without shape and dtype.
    """

    def __init__(
        self,
        capacity: int,
        num_lanes: int,
        fields: Mapping[str, tuple[Sequence[int], DTypeLike]],
        *,
        burn_in: int = 0,
        sequence_length: int = 1,
        n_step: int = 1,
        period: int | None = None,
        state: Sequence[tuple[int, int]] = (),
        prioritized: bool = True,
        alpha: float = 0.9,
        eta: float = 0.9,
        epsilon: float = 1e-6,
        memory_limit: int | None = None,
        path: str | Path | None = None,
    ) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        """Steps that are stored, of all lanes together."""
        raise NotImplementedError

    @property
    def num_sequences(self) -> int:
        """Sequences that `sample` draws from."""
        raise NotImplementedError

    @property
    def needs_state(self) -> NDArray[np.bool_]:
        """bool `[B]`: the next step of the lane starts a sequence, so that `add` will keep its state."""
        raise NotImplementedError

    def add(
        self,
        fields: Mapping[str, ArrayLike],
        state: Sequence[ArrayLike] | None,
        reset: ArrayLike,
        valid: ArrayLike | None = None,
        *,
        lanes: ArrayLike | None = None,
    ) -> None:
        """One step of every lane, or of some.

        Args:
            fields: every field of the constructor, `[B, *shape]`, with a dtype that casts to it safely or of its kind.
            state: the core's state before this step (before `reset` acts on it), each `[L, B, H]`; None is zeros. It
                is read only where `needs_state`.
            reset: bool `[B]`: the observation is the first of an episode.
            valid: bool `[B]`: the action counted; by default all did.
            lanes: int `[B']`, distinct: the arguments hold these lanes only (B' in place of B).

        Raises:
            ValueError: a missing or unknown field, a wrong shape; IndexError: a lane outside 0 … B−1;
            TypeError: a dtype that does not fit. Nothing is stored after any of these.
        """
        raise NotImplementedError

    def sample(self, batch_size: int, beta: float, generator: np.random.Generator | int) -> SequenceBatch:
        """Draw sequences.

        Args:
            batch_size: how many sequences, n.
            beta: β, 0 (weights of 1) to 1 (an unbiased gradient).
            generator: draws them; the same state of it and of the replay gives the same batch.

        Raises:
            ValueError: no sequence is complete yet; `batch_size` below 1; β outside [0, 1].
        """
        raise NotImplementedError

    def update_priorities(self, ids: ArrayLike, td_error: ArrayLike, valid: ArrayLike | None = None) -> None:
        """Set the priorities of sampled sequences; those overwritten since then are passed over.

        Args:
            ids: int `[n]` of a batch; of equal ones the last counts.
            td_error: `[sequence_length, n]`, δ of the learned steps.
            valid: bool `[sequence_length, n]`: the steps that count, `batch.valid[burn_in : burn_in + sequence_length]`;
                by default all of them.

        Raises:
            ValueError: an error that is not finite, a wrong shape; IndexError: an id that was never sampled from here.
            Nothing has changed then.
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Settings, stored steps, states and priorities, as arrays and numbers (`save_checkpoint` takes it)."""
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`: everything, the next samples included, is as if it had not been interrupted.

        Raises:
            ValueError: it is of a replay with other settings; nothing is changed.
        """
        raise NotImplementedError

    def save(self, folder: str | Path) -> None:
        """Write `state_dict()` into a folder, an array a file, without pickle.

        A crash at any moment leaves the folder with what was saved before, or with this, whole.
        """
        raise NotImplementedError

    def load(self, folder: str | Path) -> None:
        """Go on from what `save` wrote; settings must be the same, as in `load_state_dict`.

        Raises:
            FileNotFoundError: nothing was saved there; ValueError: other settings, or damaged files.
        """
        raise NotImplementedError
