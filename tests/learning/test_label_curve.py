"""The learning curve against the number of labels, and dropout."""

import json

import pytest
import torch

from pyagent.learning import Supervised
from pyagent.learning.label_curve import label_curve, write_label_curve
from pyagent.learning.supervised import Dropout


def test_more_labels_and_seeds_are_told_with_intervals(tmp_path):
    told = []
    curve = label_curve("pyagent/GoToObj-v0", [4, 2], seeds=2, episodes=3, announce=told.append)
    assert [point.demonstrations for point in curve] == [2, 4]
    assert curve[0].turns < curve[1].turns
    assert len(told) == 4
    assert all(point.success.low <= point.success.value <= point.success.high for point in curve)
    paths = write_label_curve(curve, tmp_path, "GoToObj")
    assert all(path.stat().st_size > 0 for path in paths)
    rows = json.loads(paths[0].read_text())
    assert [row["labels"] for row in rows] == [point.turns for point in curve]


@pytest.mark.parametrize("sizes", [[], [1]])
def test_too_few_labels_are_refused(sizes):
    with pytest.raises(ValueError, match="sizes"):
        label_curve("pyagent/GoToObj-v0", sizes)


def test_dropout_keeps_the_mean_and_follows_from_the_generator():
    numbers = torch.ones(400, 100)
    one, other = (Dropout(0.25, torch.Generator().manual_seed(3))(numbers) for _ in range(2))
    assert torch.equal(one, other)
    assert one.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert abs(float(one.mean()) - 1) < 0.01  # 3 deviations of the mean are 0.009
    assert abs(float((one == 0).float().mean()) - 0.25) < 0.01


def test_dropout_acts_in_learning_alone_and_is_resumed(recall_env, recall_episodes, tmp_path):
    def learner(dropout):
        return Supervised(
            recall_env(1), demonstrations=recall_episodes(40), dropout=dropout, batch_size=8, hidden_size=8, seed=0
        )

    without, straight = learner(0.0), learner(0.5)
    assert without.evaluate() == straight.evaluate()
    without.learn(24)
    straight.learn(24).save(tmp_path)
    assert not torch.equal(without.agent.generation.word_head.weight, straight.agent.generation.word_head.weight)
    resumed = Supervised.load(tmp_path, recall_env(1)).learn(24)
    straight.learn(24)
    for name, weight in straight.agent.state_dict().items():
        assert torch.equal(weight, resumed.agent.state_dict()[name]), name


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_a_share_that_is_none_is_refused(recall_env, recall_episodes, dropout):
    with pytest.raises(ValueError, match="dropout"):
        Supervised(recall_env(1), demonstrations=recall_episodes(4), dropout=dropout)
