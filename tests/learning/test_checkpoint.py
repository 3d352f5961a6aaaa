"""Checkpoints come back as they were, and a crash while writing one leaves the old or the new."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from pyagent.files import load_weights, save_weights
from pyagent.learning.checkpoint import load_checkpoint, save_checkpoint


def test_a_tree_of_every_kind_comes_back(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    tree = {
        "a.b": torch.tensor(1),
        "a": {"b": torch.tensor(2), "transposed": shared.T, "again": shared},
        "empty": torch.zeros(0, 4, dtype=torch.bfloat16),
        "flags": torch.tensor([True, False]),
        "array": np.float64([[1.5]]),
        "zero_dim": np.array(3, dtype=np.uint8),
        "numpy scalars": (np.float32(0.5), np.int64(7), np.bool_(True)),
        "state": {0: {"step": torch.tensor(3.0)}, 1: {"step": torch.tensor(4.0)}},
        "list": [1, 2.5, "ü", None, True, [], {}, ()],
        "big": 2**127 + 1,
        "infinite": [math.inf, -math.inf],
        "$tensor": "a string under a name of ours",
    }
    save_checkpoint(tmp_path / "c.safetensors", tree)
    loaded = load_checkpoint(tmp_path / "c.safetensors")
    assert loaded.keys() == tree.keys()
    torch.testing.assert_close(loaded["a.b"], tree["a.b"])
    torch.testing.assert_close(loaded["a"], tree["a"])
    torch.testing.assert_close(loaded["state"], tree["state"])
    assert loaded["empty"].shape == (0, 4)
    assert loaded["empty"].dtype == torch.bfloat16
    assert loaded["flags"].tolist() == [True, False]
    np.testing.assert_array_equal(loaded["array"], [[1.5]])
    assert loaded["array"].dtype == np.float64
    assert loaded["zero_dim"].shape == ()
    for name in ("list", "big", "infinite", "$tensor"):
        assert loaded[name] == tree[name]
    assert loaded["numpy scalars"] == (0.5, 7, True)
    assert isinstance(loaded["numpy scalars"], tuple)


def test_nan_comes_back_as_nan(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.safetensors", {"loss": math.nan})
    assert math.isnan(load_checkpoint(tmp_path / "c.safetensors")["loss"])


def _steps(model: torch.nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator, count: int) -> None:
    for _ in range(count):
        optimizer.zero_grad()
        model(torch.randn(4, 3, generator=generator)).square().sum().backward()
        optimizer.step()


def test_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def fresh() -> tuple[torch.nn.Linear, torch.optim.Adam, torch.Generator, np.random.Generator]:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        return model, torch.optim.Adam(model.parameters()), torch.Generator().manual_seed(1), np.random.default_rng(2)

    model, optimizer, generator, rng = fresh()
    _steps(model, optimizer, generator, 3)
    rng.random(5)
    save_checkpoint(
        tmp_path / "c.safetensors",
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "generator": generator.get_state(),
            "numpy": rng.bit_generator.state,
        },
    )
    _steps(model, optimizer, generator, 3)

    resumed, resumed_optimizer, resumed_generator, resumed_rng = fresh()
    tree = load_checkpoint(tmp_path / "c.safetensors")
    resumed.load_state_dict(tree["model"])
    resumed_optimizer.load_state_dict(tree["optimizer"])
    resumed_generator.set_state(tree["generator"])
    resumed_rng.bit_generator.state = tree["numpy"]
    _steps(resumed, resumed_optimizer, resumed_generator, 3)
    assert torch.equal(resumed.weight, model.weight)
    assert resumed_rng.random() == rng.random()


@pytest.mark.parametrize("value", [{1, 2}, object(), b"bytes", np.array(["text"]), {(1, 2): 3}, {True: 1}])
def test_what_cannot_be_kept_is_named_and_nothing_is_written(tmp_path: Path, value: object) -> None:
    with pytest.raises(TypeError, match=r"outer\.inner"):
        save_checkpoint(tmp_path / "c.safetensors", {"outer": {"inner": value}})
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        load_checkpoint(tmp_path / "none.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"\x80torn")
    with pytest.raises(ValueError, match="not a checkpoint"):
        load_checkpoint(tmp_path / "torn.safetensors")
    save_weights(tmp_path / "weights.safetensors", {"w": torch.ones(1)})
    with pytest.raises(ValueError, match="want format"):
        load_checkpoint(tmp_path / "weights.safetensors")


def test_tied_weights_are_kept_under_both_names(tmp_path: Path) -> None:
    weight = torch.ones(2, 2)
    save_weights(tmp_path / "w.safetensors", {"embedding": weight, "head": weight, "half": weight[:1]})
    loaded = load_weights(tmp_path / "w.safetensors")
    assert {name: list(tensor.shape) for name, tensor in loaded.items()} == {
        "embedding": [2, 2],
        "head": [2, 2],
        "half": [1, 2],
    }
    with pytest.raises(FileNotFoundError, match="no weights"):
        load_weights(tmp_path / "none.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(ValueError, match="holds no weights"):
        load_weights(tmp_path / "torn.safetensors")


@pytest.mark.parametrize("fault", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"step": 1, "w": torch.ones(3)})

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os, fault, fail)
    with pytest.raises(OSError, match="disk is full"):
        save_checkpoint(path, {"step": 2, "w": torch.zeros(3)})
    monkeypatch.undo()
    tree = load_checkpoint(path)
    assert tree["step"] == 1
    assert tree["w"].tolist() == [1, 1, 1]
    assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]


WRITER = """
import sys, torch
from pyagent.learning.checkpoint import save_checkpoint
for step in range(10**9):
    save_checkpoint(sys.argv[1], {"step": step, "w": torch.full((200_000,), float(step)), "v": torch.tensor(step)})
    if step == 1:
        print("ready", flush=True)
"""


def test_a_killed_writer_leaves_one_whole_moment(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    for delay in (0.0, 0.003, 0.011):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            time.sleep(delay)
            writer.send_signal(signal.SIGKILL)
        tree = load_checkpoint(path)
        assert tree["v"].item() == tree["step"]
        assert (tree["w"] == tree["step"]).all()
