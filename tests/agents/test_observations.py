"""Observations of every space as rows, and as vectors."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple
from gymnasium.vector.utils import batch_space, iterate

from pyagent.agents import SpaceReader
from pyagent.agents.observations import RunningScale, as_batch, choose, join

SPACES = [
    Box(-1, 1, (3, 2)),
    Box(0, 255, (2, 2, 1), dtype=np.uint8),
    MultiDiscrete([3, 4], start=[1, -1]),
    MultiBinary(4),
    Tuple((Discrete(2), Discrete(4, start=2))),
    Dict({"where": Box(-1, 1, (2,)), "what": Dict({"kind": Discrete(5), "flags": MultiBinary(2)})}),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_every_row_is_read_alone(space):
    torch.manual_seed(0)
    reader = SpaceReader(space, embedding_dim=6)
    batched = batch_space(space, 5)
    batched.seed(0)
    observations = batched.sample()
    read = reader.step(observations)
    assert read.shape == (5, reader.output_size)
    for lane, one in enumerate(iterate(batched, observations)):
        batch, single = as_batch(space, one)
        assert single
        torch.testing.assert_close(reader.step(batch)[0], read[lane])
    rows = reader.prepare(join([observations, observations]))
    assert len(rows) == 10
    torch.testing.assert_close(reader(rows.select(torch.tensor([7, 2]))), read[[2, 2]])
    other = batched.sample()
    mask = np.array([True, False, True, False, False])
    mixed = reader.step(choose(mask, other, observations))
    torch.testing.assert_close(mixed, torch.where(torch.from_numpy(mask)[:, None], reader.step(other), read))


def test_numbers_are_read_as_they_are_and_bytes_as_shares():
    assert SpaceReader(SPACES[0]).step(np.full((1, 3, 2), 0.5)).tolist() == [[0.5] * 6]
    assert SpaceReader(SPACES[1]).step(np.full((1, 2, 2, 1), 51, dtype=np.uint8)).tolist() == [[pytest.approx(0.2)] * 4]


def test_choices_are_sums_of_embeddings():
    reader = SpaceReader(SPACES[2], embedding_dim=3)
    read = reader.step(np.array([[2, -1], [3, 2]]))
    table = reader.embeddings[0].weight
    torch.testing.assert_close(read, torch.stack([table[1] + table[3], table[2] + table[6]]))


def test_one_discrete_is_a_token():
    reader = SpaceReader(Discrete(4, start=2))
    assert reader.num_tokens == 4
    assert reader.step(np.array([2, 5])).tolist() == [0, 3]


@pytest.mark.parametrize(
    ("space", "observations", "told"),
    [
        (Box(-1, 1, (2,)), np.array([[0.0, 0.0], [0.0, np.nan]]), "environment 1 gave .*nan"),
        (Discrete(3), np.array([0, 1, 3]), "environment 2 gave .*3"),
        (MultiDiscrete([2, 2]), np.array([[0, -1]]), "environment 0"),
    ],
)
def test_what_is_not_in_the_space_is_named(space, observations, told):
    with pytest.raises(ValueError, match=f"observation: {told}"):
        SpaceReader(space).step(observations)


def test_other_spaces_are_refused():
    with pytest.raises(TypeError, match="env: want observations"):
        SpaceReader(Dict({"text": Text(5)}))


def test_the_running_scale_is_that_of_all_rows():
    rng = np.random.default_rng(0)
    parts = [torch.from_numpy(rng.normal(3, 2, (n, 4))).float() for n in (1, 0, 17, 5)]
    scale = RunningScale(4)
    torch.testing.assert_close(scale(parts[2]), parts[2].clamp(-10, 10))
    for part in parts:
        scale.learn(part)
    rows = torch.cat(parts).double()
    torch.testing.assert_close(scale.mean, rows.mean(0))
    torch.testing.assert_close(scale.variance, rows.var(0, correction=0))
    wanted = ((parts[2].double() - rows.mean(0)) / rows.std(0, correction=0)).clamp(-10, 10)
    torch.testing.assert_close(scale(parts[2]).double(), wanted, rtol=1e-5, atol=1e-6)


def test_batches_of_one_environment_are_no_single_observation():
    assert as_batch(Box(-1, 1, (2,)), np.zeros((1, 2)))[1] is False
    assert as_batch(gym.spaces.Text(9), "hello") == (["hello"], True)
    assert as_batch(gym.spaces.Text(9), ("hello",)) == (["hello"], False)
