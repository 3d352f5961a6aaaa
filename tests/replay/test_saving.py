"""Saved mid-training and resumed, in memory and in files: nothing can tell the difference."""

import json
import os
import shutil

import numpy as np
import pytest

from pyagent.learning.checkpoint import load_checkpoint, save_checkpoint
from pyagent.replay import SequenceReplay
from pyagent.replay import array_folder as array_folder_module
from pyagent.replay.array_folder import load_arrays, save_arrays


def assert_same_future(a, b, player_a, player_b):
    """The same steps and the same errors keep giving the same samples."""
    for player in (player_a, player_b):
        player.random = np.random.default_rng(99)
    generators = [np.random.default_rng(7) for _ in range(2)]
    for _ in range(12):
        for player in (player_a, player_b):
            player.steps(3, 0.3)
        assert a.num_sequences == b.num_sequences
        if not a.num_sequences:
            continue
        batches = [replay.sample(9, 0.7, g) for replay, g in zip((a, b), generators, strict=True)]
        for name in ("reset", "valid", "weights", "ids"):
            np.testing.assert_array_equal(*(getattr(batch, name) for batch in batches))
        for name in batches[0].fields:
            np.testing.assert_array_equal(*(batch.fields[name] for batch in batches))
        for states in zip(*(batch.state for batch in batches), strict=True):
            np.testing.assert_array_equal(*states)
        error = np.random.default_rng(3).standard_normal((a.sequence_length, 9))
        for replay, batch in zip((a, b), batches, strict=True):
            replay.update_priorities(batch.ids, error)


def by_state_dict(replay, fresh, folder):
    fresh.load_state_dict(replay.state_dict())


def by_checkpoint(replay, fresh, folder):
    save_checkpoint(folder / "replay.safetensors", {"replay": replay.state_dict()})
    fresh.load_state_dict(load_checkpoint(folder / "replay.safetensors")["replay"])


def by_folder(replay, fresh, folder):
    replay.save(folder / "replay")
    fresh.load(folder / "replay")


@pytest.mark.parametrize("way", [by_state_dict, by_checkpoint, by_folder])
@pytest.mark.parametrize("steps", [13, 50, 311])
def test_resumes_bit_for_bit(make, tmp_path, sizes, way, steps):
    replay, _, player = make(sizes)
    player.steps(steps, 0.2)
    while not replay.num_sequences:
        player.steps(1)
    ids = replay.sample(20, 0.5, 0).ids
    replay.update_priorities(ids, np.random.default_rng(0).standard_normal((replay.sequence_length, 20)))
    fresh, _, other = make(sizes)
    other.steps(7)  # what was there before does not matter
    way(replay, fresh, tmp_path)
    assert len(fresh) == len(replay)
    assert fresh.num_sequences == replay.num_sequences
    assert_same_future(replay, fresh, player, other)


def test_a_saved_state_is_a_copy(make):
    replay, _, player = make("R2D2's halves")
    player.steps(60)
    state, before = replay.state_dict(), replay.sample(9, 0.5, 0)
    player.steps(60)
    replay.load_state_dict(state)
    after = replay.sample(9, 0.5, 0)
    np.testing.assert_array_equal(after.ids, before.ids)
    np.testing.assert_array_equal(after.fields["observation"], before.fields["observation"])


def test_an_empty_replay_is_saved(make, tmp_path):
    replay, _, _ = make("R2D2's halves")
    replay.save(tmp_path)
    fresh, _, player = make("R2D2's halves")
    player.steps(50)
    fresh.load(tmp_path)
    assert len(fresh) == fresh.num_sequences == 0
    assert fresh.needs_state.all()


def test_files_hold_what_memory_would(make, tmp_path):
    in_memory, _, player = make("R2D2's halves")
    in_files, oracle, other = make("R2D2's halves", path=tmp_path / "steps")
    for each in (player, other):
        each.steps(200, 0.2)
    assert sum(file.stat().st_size for file in (tmp_path / "steps").iterdir()) > 400 * (12 + 16 + 8 + 4)
    oracle.assert_holds(in_files.sample(20, 0.5, 0), ((2, 5), (2, 5)))
    assert_same_future(in_memory, in_files, player, other)


def test_above_the_memory_limit_steps_go_into_a_folder_that_goes_away(make, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    replay, oracle, player = make("R2D2's halves", memory_limit=20_000)
    player.steps(100)
    oracle.assert_holds(replay.sample(20, 0.5, 0), ((2, 5), (2, 5)))
    assert len(list(tmp_path.iterdir())) == 1
    del replay, player
    assert list(tmp_path.iterdir()) == []
    make("R2D2's halves", memory_limit=10**9)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing", ["write_atomically", "sync_folder"])
def test_a_failed_save_leaves_the_old_one(make, tmp_path, monkeypatch, failing):
    replay, _, player = make("R2D2's halves")
    player.steps(60)
    replay.save(tmp_path)
    before = replay.sample(9, 0.5, 0)
    player.steps(60)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(array_folder_module, failing, fail)
    with pytest.raises(OSError, match="disk full"):
        replay.save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    fresh, _, _ = make("R2D2's halves")
    fresh.load(tmp_path)
    np.testing.assert_array_equal(fresh.sample(9, 0.5, 0).fields["reward"], before.fields["reward"])


def test_one_save_replaces_the_other(make, tmp_path):
    replay, _, player = make("R2D2's halves")
    for _ in range(3):
        player.steps(60)
        replay.save(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2
    fresh, _, _ = make("R2D2's halves")
    fresh.load(tmp_path)
    assert len(fresh) == len(replay)


def other_replay(fields, **settings):
    usual = {"capacity": 400, "num_lanes": 5, "burn_in": 4, "sequence_length": 8, "n_step": 3, "period": 4}
    return SequenceReplay(**{"fields": fields, "state": ((2, 5), (2, 5)), **usual, **settings})


@pytest.mark.parametrize(
    "settings",
    [{"capacity": 500}, {"num_lanes": 4}, {"burn_in": 3}, {"period": 3}, {"prioritized": False}, {"state": ()}],
)
def test_another_replay_is_refused_and_left_as_it_was(make, fields, tmp_path, settings):
    replay, _, player = make("R2D2's halves")
    player.steps(60)
    replay.save(tmp_path)
    other = other_replay(fields, **settings)
    with pytest.raises(ValueError, match="state of another replay"):
        other.load(tmp_path)
    with pytest.raises(ValueError, match="state of another replay"):
        other.load_state_dict(replay.state_dict())
    assert len(other) == 0


def without(name):
    def change(arrays):
        del arrays[name]

    return change


def replaced(name, value):
    return lambda arrays: arrays.update({name: value})


@pytest.mark.parametrize(
    "change",
    [
        without("reset"),
        without("written"),
        replaced("more", np.zeros(3)),
        replaced("written", np.full(5, -1)),
        replaced("written", np.full(5, 10**9)),
        replaced("written", np.zeros(4, np.int64)),
        replaced("priority", np.full(100, np.nan)),
        replaced("priority", np.zeros(3)),
        replaced("field.reward", np.zeros((5, 3), np.float32)),
        replaced("state.1", np.zeros((5, 2), np.float32)),
    ],
)
def test_damaged_states_are_refused_and_change_nothing(make, fields, change):
    replay, _, player = make("R2D2's halves")
    player.steps(60)
    state = replay.state_dict()
    change(state["arrays"])
    other, _, player = make("R2D2's halves")
    player.steps(30)
    before = other.sample(9, 0.5, 0)
    with pytest.raises(ValueError, match="got"):
        other.load_state_dict(state)
    np.testing.assert_array_equal(other.sample(9, 0.5, 0).fields["reward"], before.fields["reward"])


def test_damaged_folders_are_refused(make, tmp_path):
    replay, _, player = make("R2D2's halves")
    with pytest.raises(FileNotFoundError, match="nothing was saved"):
        replay.load(tmp_path / "nowhere")
    player.steps(60)
    replay.save(tmp_path / "whole")
    (inside,) = (tmp_path / "whole").glob("arrays-*")

    def copy(name):
        return shutil.copytree(tmp_path / "whole", tmp_path / name)

    os.truncate(copy("cut") / inside.name / "0.npy", 200)
    (copy("missing") / inside.name / "1.npy").unlink()
    (copy("text") / "arrays.json").write_text("{")
    index = json.loads((tmp_path / "whole" / "arrays.json").read_text())
    (copy("format") / "arrays.json").write_text(json.dumps({**index, "format": "other"}))
    (copy("list") / "arrays.json").write_text("[]")
    objects = copy("pickled") / inside.name / "0.npy"
    np.save(objects, np.array([object()]), allow_pickle=True)
    for name in ("cut", "missing", "text", "format", "list", "pickled"):
        with pytest.raises(ValueError, match="holds no saved arrays"):
            replay.load(tmp_path / name)


def test_arrays_of_any_shape_and_name_come_back(tmp_path):
    arrays = {"a/b": np.arange(6).reshape(2, 3), "": np.zeros((0, 4), np.float32), "..": np.array(3.5), "é": np.ones(1)}
    save_arrays(tmp_path / "deep" / "folder", arrays, {"x": [1, "two"]})
    loaded, facts = load_arrays(tmp_path / "deep" / "folder")
    assert facts == {"x": [1, "two"]}
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)
