"""Responses: teacher forcing and stepwise generation agree; greedy is fixed, sampling follows its seed."""

import math

import pytest
import torch

from pyagent.agents import Generation


@pytest.fixture
def generation():
    torch.manual_seed(0)
    made = Generation(7, 5, embedding_dim=3)
    with torch.no_grad():
        made.word_head.weight.mul_(3.0)
    return made


def test_each_greedy_word_is_the_most_probable_given_those_before(generation):
    state = torch.randn(4, 5)
    for row, said in enumerate(generation.generate(state, max_words=6)):
        words = [*said, generation.eos_id][:6]
        scores = generation(state[row : row + 1], torch.tensor(words)[:, None])
        assert scores[:, 0].argmax(-1).tolist() == words


def test_sampling_follows_the_seed_and_the_probabilities(generation):
    state = torch.randn(1, 5).expand(4000, 5).contiguous()

    def draw(seed):
        return generation.generate(
            state, max_words=1, deterministic=False, generator=torch.Generator().manual_seed(seed)
        )

    first = draw(0)
    assert first == draw(0) != draw(1)
    want = generation.word_head(state[0]).softmax(-1)
    for word in range(7):
        if word != generation.eos_id:
            share = sum(said == [word] for said in first) / 4000
            assert abs(share - want[word]) < 5 * math.sqrt(0.25 / 4000)


def test_a_low_temperature_is_greedy(generation):
    state = torch.randn(8, 5)
    cold = generation.generate(state, deterministic=False, temperature=1e-4, generator=torch.Generator().manual_seed(0))
    assert cold == generation.generate(state)


def test_loss_counts_each_word_of_the_response_and_nothing_after_it(generation):
    state, response = torch.randn(2, 5), torch.tensor([[3, 4], [2, 5], [6, 2]])
    loss, _ = generation.loss(state, response, torch.tensor([2, 3]))
    log_p = generation(state, response).log_softmax(-1)
    want = -(log_p[0, 0, 3] + log_p[1, 0, 2] + log_p[0, 1, 4] + log_p[1, 1, 5] + log_p[2, 1, 2]) / 2
    torch.testing.assert_close(loss, want)
    other = response.clone()
    other[2, 0] = 1
    torch.testing.assert_close(generation.loss(state, other, torch.tensor([2, 3]))[0], want)


def test_right_means_every_word(generation):
    state = torch.randn(1, 5)
    said = [*generation.generate(state, max_words=3)[0], generation.eos_id]
    response = torch.tensor(said)[:, None]
    assert generation.loss(state, response, torch.tensor([len(said)]))[1] == 1.0
    response[0] = (response[0] + 1) % 7
    assert generation.loss(state, response, torch.tensor([len(said)]))[1] == 0.0


@pytest.mark.parametrize("keywords", [{"max_words": 0}, {"temperature": 0.0}])
def test_bad_arguments_are_named(generation, keywords):
    with pytest.raises(ValueError, match=next(iter(keywords))):
        generation.generate(torch.zeros(1, 5), **keywords)
