"""A ring of steps, sampled as overlapping sequences with the recurrent state at their start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from pyagent.ops.checks import check_size
from pyagent.replay.array_folder import load_arrays, save_arrays
from pyagent.replay.priorities import check_fraction, sequence_priorities
from pyagent.replay.sequence_batch import SequenceBatch
from pyagent.replay.sequence_index import SequenceIndex
from pyagent.replay.storage import Spec, Storage, checked, field_spec, gather

_BOOL = np.dtype(np.bool_)
_FLOAT32 = np.dtype(np.float32)


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
        for name, size, least in (
            ("capacity", capacity, 1),
            ("num_lanes", num_lanes, 1),
            ("burn_in", burn_in, 0),
            ("sequence_length", sequence_length, 1),
            ("n_step", n_step, 0),
        ):
            check_size(name, size, least)
        self.num_lanes, self.burn_in, self.sequence_length, self.n_step = num_lanes, burn_in, sequence_length, n_step
        self.period = (sequence_length + 1) // 2 if period is None else period
        check_size("period", self.period, 1)
        self.num_steps = burn_in + sequence_length + n_step
        rows = capacity // num_lanes
        if rows < self.num_steps:
            raise ValueError(f"capacity: got {capacity}, want at least {self.num_steps * num_lanes}, a sequence a lane")
        check_fraction("alpha", alpha)
        check_fraction("eta", eta)
        if not 0.0 < epsilon < np.inf:
            raise ValueError(f"epsilon: got {epsilon}, want a number above 0")
        self.prioritized, self.alpha, self.eta, self.epsilon = prioritized, alpha, eta, epsilon
        self._fields = {name: field_spec(name, spec) for name, spec in fields.items()}
        self._state_shapes = [tuple(int(size) for size in shape) for shape in state]
        if any(len(shape) != 2 for shape in self._state_shapes):
            raise ValueError(f"state: got {state}, want a shape (L, H) for each array")
        self._index = SequenceIndex(num_lanes, rows, self.period, self.num_steps)
        self._storage = Storage(self._storage_specs(), memory_limit, path)

    def __len__(self) -> int:
        """Steps that are stored, of all lanes together."""
        return int(np.minimum(self._index.written, self._index.rows).sum())

    @property
    def num_sequences(self) -> int:
        """Sequences that `sample` draws from."""
        return len(self._index)

    @property
    def needs_state(self) -> NDArray[np.bool_]:
        """bool `[B]`: the next step of the lane starts a sequence, so that `add` will keep its state."""
        return self._index.starting

    def stored(self, name: str) -> NDArray[Any]:
        """A view of a field's values, `[B, steps, *shape]`; zeros where a lane has fewer steps than another."""
        return self._storage[f"field.{name}"][:, : self._index.filled_rows]

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
        lane = self._checked_lanes(lanes)
        steps = self._checked_steps(fields, reset, valid, len(lane))
        starting = self._index.starting[lane]
        states = self._checked_states(state, len(lane)) if starting.any() else []
        step = self._index.written[lane]
        for name, value in steps.items():
            self._storage[name][lane, step % self._index.rows] = value
        slot = step[starting] // self.period % self._index.slots
        for k, value in enumerate(states):
            self._storage[f"state.{k}"][lane[starting], slot] = value[:, starting].swapaxes(0, 1)
        self._enter(*self._index.advance(lane))

    def sample(self, batch_size: int, beta: float, generator: np.random.Generator | int) -> SequenceBatch:
        """Draw sequences.

        Args:
            batch_size: how many sequences, n.
            beta: β, 0 (weights of 1) to 1 (an unbiased gradient).
            generator: draws them; the same state of it and of the replay gives the same batch.

        Raises:
            ValueError: no sequence is complete yet; `batch_size` below 1; β outside [0, 1].
        """
        check_size("batch_size", batch_size, 1)
        check_fraction("beta", beta)
        if self.num_sequences == 0:
            raise ValueError(f"sample: no sequence of {self.num_steps} steps is complete yet")
        lane, number, priority = self._index.sample(batch_size, generator)
        start = number * self.period % self._index.rows
        steps = {
            name: gather(array, lane, start, self.num_steps)
            for name, array in self._storage.items()
            if not name.startswith("state.")
        }
        slot = number % self._index.slots
        states = (self._storage[f"state.{k}"][lane, slot] for k in range(len(self._state_shapes)))
        return SequenceBatch(
            fields={name: steps[f"field.{name}"] for name in self._fields},
            reset=steps["reset"],
            valid=steps["valid"],
            state=tuple(np.ascontiguousarray(state.swapaxes(0, 1)) for state in states),
            weights=((priority.min() / priority) ** beta).astype(np.float32),
            ids=self._index.ids(lane, number),
        )

    def update_priorities(self, ids: ArrayLike, td_error: ArrayLike, valid: ArrayLike | None = None) -> None:
        """Set the priorities of sampled sequences; those overwritten since then are passed over.

        Args:
            ids: int `[n]` of a batch; of equal ones the last counts.
            td_error: `[sequence_length, n]`, δ of the learned steps.
            valid: bool `[sequence_length, n]`: the steps that count, `batch.valid[burn_in : burn_in + sequence_length]`
                or fewer; by default all of them.

        Raises:
            ValueError: an error that is not finite, a wrong shape; IndexError: an id that was never sampled from here.
            Nothing has changed then.
        """
        ids = np.asarray(ids)
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise TypeError(f"ids: got {ids.dtype} of shape {ids.shape}, want integers [n]")
        shape = (self.sequence_length, len(ids))
        td_error = checked("td_error", td_error, shape, np.dtype(np.float64))
        valid = None if valid is None else checked("valid", valid, shape, _BOOL)
        priority = sequence_priorities(td_error, valid, self.alpha, self.eta, self.epsilon)
        if self.prioritized:
            self._index.update(ids.astype(np.int64), priority)

    def state_dict(self) -> dict[str, Any]:
        """Settings, stored steps, states and priorities, as arrays and numbers (`save_checkpoint` takes it)."""
        return {
            "settings": self._settings(),
            "largest": self._index.largest,
            "arrays": {name: array.copy() for name, array in self._arrays().items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`: everything, the next samples included, is as if it had not been interrupted.

        Raises:
            ValueError: it is of a replay with other settings, or damaged; nothing is changed.
        """
        if state.keys() != {"settings", "largest", "arrays"}:
            raise ValueError(f"state: got {sorted(state)}, want arrays, largest and settings")
        if state["settings"] != self._settings():
            raise ValueError(f"state of another replay: got {state['settings']}, want {self._settings()}")
        arrays = state["arrays"]
        if arrays.keys() != {*self._storage, "written", "priority"}:
            raise ValueError(f"state: got the arrays {sorted(arrays)}")
        index = SequenceIndex(self.num_lanes, self._index.rows, self.period, self.num_steps)
        written = checked("written", arrays["written"], (self.num_lanes,), np.dtype(np.int64))
        index.restore(written, arrays["priority"], state["largest"])
        steps = {}
        for name, array in self._storage.items():
            shape = (self.num_lanes, _filled(name, index), *array.shape[2:])
            steps[name] = checked(name, arrays[name], shape, array.dtype)
        for name, value in steps.items():
            self._storage[name][:, : value.shape[1]] = value
        self._index = index

    def save(self, folder: str | Path) -> None:
        """Write `state_dict()` into a folder, an array a file, without pickle.

        A crash at any moment leaves the folder with what was saved before, or with this, whole.
        """
        save_arrays(folder, self._arrays(), {"settings": self._settings(), "largest": self._index.largest})

    def load(self, folder: str | Path) -> None:
        """Go on from what `save` wrote; settings must be the same, as in `load_state_dict`.

        Raises:
            FileNotFoundError: nothing was saved there; ValueError: other settings, or damaged files.
        """
        arrays, facts = load_arrays(folder)
        self.load_state_dict({**facts, "arrays": arrays})

    def _storage_specs(self) -> dict[str, Spec]:
        B, R, slots = self.num_lanes, self._index.rows, self._index.slots
        specs: dict[str, Spec] = {
            f"field.{name}": ((B, R, *shape), dtype) for name, (shape, dtype) in self._fields.items()
        }
        specs.update(reset=((B, R), _BOOL), valid=((B, R), _BOOL))
        specs.update({f"state.{k}": ((B, slots, *shape), _FLOAT32) for k, shape in enumerate(self._state_shapes)})
        return specs

    def _checked_lanes(self, lanes: ArrayLike | None) -> NDArray[np.int64]:
        if lanes is None:
            return np.arange(self.num_lanes)
        lane = np.asarray(lanes)
        if lane.ndim != 1 or (lane.size and lane.dtype.kind not in "iu"):
            raise TypeError(f"lanes: got {lane.dtype} of shape {lane.shape}, want integers [B']")
        if lane.size and not 0 <= lane.min() <= lane.max() < self.num_lanes:
            raise IndexError(f"lanes: got {lane.min()} to {lane.max()}, want 0 to {self.num_lanes - 1}")
        if len(np.unique(lane)) != len(lane):
            raise ValueError("lanes: got a lane twice, want each once")
        return lane.astype(np.int64)

    def _checked_steps(
        self, fields: Mapping[str, ArrayLike], reset: ArrayLike, valid: ArrayLike | None, B: int
    ) -> dict[str, NDArray[Any]]:
        if fields.keys() != self._fields.keys():
            raise ValueError(f"fields: got {sorted(fields)}, want {sorted(self._fields)}")
        steps = {
            f"field.{name}": checked(f"fields[{name!r}]", fields[name], (B, *shape), dtype)
            for name, (shape, dtype) in self._fields.items()
        }
        steps["reset"] = checked("reset", reset, (B,), _BOOL)
        steps["valid"] = checked("valid", np.ones(B, np.bool_) if valid is None else valid, (B,), _BOOL)
        return steps

    def _checked_states(self, state: Sequence[ArrayLike] | None, B: int) -> list[NDArray[Any]]:
        shapes = [(L, B, H) for L, H in self._state_shapes]
        if state is None:
            return [np.zeros(shape, np.float32) for shape in shapes]
        if len(state) != len(shapes):
            raise ValueError(f"state: got {len(state)} arrays, want {len(shapes)}")
        return [checked(f"state[{k}]", state[k], shape, _FLOAT32) for k, shape in enumerate(shapes)]

    def _enter(self, lane: NDArray[np.int64], start: NDArray[np.int64]) -> None:
        """Complete sequences with anything to learn from are sampled from now on."""
        if len(lane):
            learned = start[:, None] + self.burn_in + np.arange(self.sequence_length)
            valid = self._storage["valid"][lane[:, None], learned % self._index.rows]
            self._index.enter(lane, start, np.asarray(valid.any(axis=1)))

    def _settings(self) -> dict[str, Any]:
        """What must be equal for a replay to go on from another's state; as JSON has it."""
        return {
            "num_lanes": self.num_lanes,
            "steps_per_lane": self._index.rows,
            "burn_in": self.burn_in,
            "sequence_length": self.sequence_length,
            "n_step": self.n_step,
            "period": self.period,
            "prioritized": self.prioritized,
            "fields": {name: [list(shape), dtype.str] for name, (shape, dtype) in self._fields.items()},
            "state": [list(shape) for shape in self._state_shapes],
        }

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """All that the replay holds, without rows and slots that no lane has reached."""
        index = self._index
        arrays = {name: array[:, : _filled(name, index)] for name, array in self._storage.items()}
        return {**arrays, "written": index.written, "priority": index.priorities()}


def _filled(name: str, index: SequenceIndex) -> int:
    return index.filled_slots if name.startswith("state.") else index.filled_rows
