"""A sequence replay in plain Python: every step of every lane is kept in lists, for ever."""

from __future__ import annotations

import numpy as np
import pytest

from pyagent.replay import SequenceReplay

FIELDS = {
    "observation": ((3,), "float32"),
    "tokens": ((2, 2), "int32"),
    "action": ((), "int64"),
    "reward": ((), "float32"),
}
LSTM = ((2, 5), (2, 5))
SIZES = {  # capacity, num_lanes, burn_in, sequence_length, n_step, period
    "one-step transitions": (100, 4, 0, 1, 1, 1),
    "one lane, ring of one sequence": (6, 1, 2, 3, 1, 2),
    "R2D2's halves": (400, 5, 4, 8, 3, 4),
    "ring no multiple of the period": (119, 3, 1, 5, 2, 3),
    "gaps between sequences": (90, 2, 0, 3, 0, 7),
    "period above the ring": (14, 2, 0, 2, 1, 11),
}


class Oracle:
    def __init__(self, capacity, num_lanes, burn_in, sequence_length, n_step, period, **_):
        self.rows, self.B = capacity // num_lanes, num_lanes
        self.burn_in, self.learned, self.T = burn_in, sequence_length, burn_in + sequence_length + n_step
        self.period = period
        self.lanes = [[] for _ in range(num_lanes)]

    def add(self, fields, state, reset, valid, lanes):
        for i, lane in enumerate(lanes):
            self.lanes[lane].append(
                {
                    "fields": {name: value[i] for name, value in fields.items()},
                    "state": None if state is None else [each[:, i] for each in state],
                    "reset": bool(reset[i]),
                    "valid": bool(valid[i]),
                }
            )

    def sequences(self):
        """By id the steps of every sequence that may be drawn."""
        found = {}
        for lane, steps in enumerate(self.lanes):
            for number in range(len(steps)):
                start = number * self.period
                sequence = steps[start : start + self.T]
                if len(sequence) < self.T or start < len(steps) - self.rows:
                    continue
                if any(step["valid"] for step in sequence[self.burn_in : self.burn_in + self.learned]):
                    found[number * self.B + lane] = sequence
        return found

    def assert_holds(self, batch, state_shapes):
        """Every sequence of the batch may be drawn, and is step by step what was added."""
        there = self.sequences()
        for i, id in enumerate(batch.ids):
            steps = there[int(id)]
            assert batch.reset[:, i].tolist() == [step["reset"] for step in steps]
            assert batch.valid[:, i].tolist() == [step["valid"] for step in steps]
            for name, (_, dtype) in FIELDS.items():
                wanted = np.stack([step["fields"][name] for step in steps]).astype(dtype)
                np.testing.assert_array_equal(batch.fields[name][:, i], wanted)
            for k, shape in enumerate(state_shapes):
                wanted = np.zeros(shape) if steps[0]["state"] is None else steps[0]["state"][k]
                np.testing.assert_array_equal(batch.state[k][:, i], wanted)


class Player:
    """Adds random steps to a replay and to its oracle."""

    def __init__(self, replay, oracle, state_shapes, seed=0):
        self.replay, self.oracle, self.state_shapes = replay, oracle, state_shapes
        self.random = np.random.default_rng(seed)

    def step(self, lanes=None, p_invalid=0.2):
        chosen = np.arange(self.oracle.B) if lanes is None else np.asarray(lanes)
        n, random = len(chosen), self.random
        fields = {
            "observation": random.standard_normal((n, 3), np.float32),
            "tokens": random.integers(-9, 9, (n, 2, 2)),
            "action": random.integers(0, 4, n),
            "reward": random.standard_normal(n),
        }
        state = tuple(random.standard_normal((L, n, H), np.float32) for L, H in self.state_shapes)
        if random.random() < 0.1:
            state = None
        reset, valid = random.random(n) < 0.3, random.random(n) >= p_invalid
        self.replay.add(fields, state, reset, valid, lanes=lanes)
        self.oracle.add(fields, state, reset, valid, chosen)

    def steps(self, count, p_some_lanes=0.0):
        for _ in range(count):
            some = self.random.random() < p_some_lanes
            self.step(np.flatnonzero(self.random.random(self.oracle.B) < 0.5) if some else None)


@pytest.fixture(scope="session")
def fields():
    return FIELDS


@pytest.fixture(scope="session")
def make():
    """A replay, its oracle and a player of both, of sizes named above or given."""

    def make(sizes, state=LSTM, **options):
        names = ("capacity", "num_lanes", "burn_in", "sequence_length", "n_step", "period")
        settings = dict(zip(names, SIZES.get(sizes, sizes), strict=True))
        replay, oracle = SequenceReplay(fields=FIELDS, state=state, **settings, **options), Oracle(**settings)
        return replay, oracle, Player(replay, oracle, state)

    return make


@pytest.fixture(params=SIZES)
def sizes(request):
    return request.param
