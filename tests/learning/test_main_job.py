"""The main job in its tiny form: all stages, the report, and going on after an interruption."""

import json
import signal

import pytest
import torch

from pyagent.agents import LanguageAgent
from pyagent.learning import RunFolder
from pyagent.learning.main_job import run
from pyagent.learning.main_job_config import MainJobConfig


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = RunFolder(tmp_path_factory.mktemp("straight"))
    told = []
    return folder, run(MainJobConfig.tiny(), folder, control=True, announce=told.append), told


def test_every_agent_is_evaluated_on_the_same_named_seeds(straight):
    _, result, told = straight
    assert set(result.results) == {"pyagent/GoToLocalS5N2-v0", "pyagent/GoToObj-v0"}
    for agents in result.results.values():
        assert list(agents) == ["random", "supervised", "control", "final"]
        assert {tuple(episodes.seeds) for episodes in agents.values()} == {tuple(range(2**30, 2**30 + 8))}
    assert set(result.differences()) == {"final − supervised", "final − control"}
    assert len(told) == 4


def test_the_run_folder_holds_it_all(straight):
    folder, result, _ = straight
    names = {path.name for path in folder.path.iterdir()}
    assert names >= {
        "config.json",
        "tokenizer.json",
        "weights.safetensors",
        "metrics.jsonl",
        "checkpoint.safetensors",
        "evaluation.json",
        "table.md",
        "learning_curve.png",
        "tensorboard",
    }
    assert MainJobConfig.from_json(folder.read_config()) == MainJobConfig.tiny()
    lines = folder.metrics()
    assert any("eval/loss" in line for line in lines)
    assert any("rollout/ep_rew_mean" in line for line in lines)
    steps = [line["step"] for line in lines]
    assert steps == sorted(steps)
    assert (folder.path / "table.md").read_text().splitlines()[-1] == result.summary()
    words = result.summary().split()
    assert [*words[:2], words[3], words[5]] == ["success:", "random", "supervised", "final"]
    evaluation = json.loads((folder.path / "evaluation.json").read_text())
    assert evaluation["level"] == result.level


def test_the_saved_agent_is_the_final_one(straight):
    folder, _, _ = straight
    agent = LanguageAgent.load(folder.path)
    saved = folder.load_checkpoint()["reinforcement"]["agent"]
    for name, weight in agent.state_dict().items():
        assert torch.equal(weight, saved[name]), name


@pytest.mark.parametrize("stage", ["eval/loss", "rollout/ep_rew_mean"])
def test_it_goes_on_after_ctrl_c(straight, tmp_path, monkeypatch, stage):
    folder = RunFolder(tmp_path)
    import pyagent.learning.learner as learner_module

    log, handler = learner_module.Learner.log, signal.getsignal(signal.SIGINT)

    def interrupting(self, figures):
        log(self, figures)
        # A checkpoint's boundary, so that what follows is what would have followed.
        if stage in figures and (stage == "eval/loss" or self.num_timesteps == 128):
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(learner_module.Learner, "log", interrupting)
        with pytest.raises(KeyboardInterrupt):
            run(MainJobConfig.tiny(), folder)
    assert signal.getsignal(signal.SIGINT) is handler
    result = run(MainJobConfig.tiny(), RunFolder.open(tmp_path))
    want, got = (LanguageAgent.load(path).state_dict() for path in (straight[0].path, tmp_path))
    for name, weight in want.items():
        assert torch.equal(weight, got[name]), name
    assert result.summary() == straight[1].summary()
    strip = [{k: v for k, v in line.items() if k not in ("seconds", "time/fps")} for line in folder.metrics()]
    reference = [{k: v for k, v in line.items() if k not in ("seconds", "time/fps")} for line in straight[0].metrics()]
    assert strip == reference


def test_a_finished_run_only_reports_again(straight):
    folder, result, _ = straight
    assert run(MainJobConfig.tiny(), folder).summary() == result.summary()


def test_a_checkpoint_of_other_settings_is_refused(straight):
    with pytest.raises(ValueError, match="config"):
        run(MainJobConfig.tiny(seed=1), straight[0])


@pytest.mark.parametrize(("name", "value"), [("demonstrations", 0), ("num_envs", 6), ("evaluation_episodes", 0)])
def test_bad_settings_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        MainJobConfig(**{name: value})
