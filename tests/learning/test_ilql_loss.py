"""The losses of implicit language Q-learning are the paper's."""

import math

import numpy as np
import pytest
import torch

from pyagent.agents import SpokenWords, TokenAgent
from pyagent.learning import TokenLog, ilql_loss
from pyagent.learning.ilql_loss import expectile_loss, next_value


def paper_losses(log_p, q, target_q, v, word, reward, continues, gamma, expectile, alpha, q_coef):
    """Equations of Snell et al. 2022 (section 4), one state at a time, in Python's float64."""
    terms = {"q": 0.0, "v": 0.0, "conservatism": 0.0, "cross_entropy": 0.0}
    count = 0
    for k, a in enumerate(word):
        if a < 0:
            continue
        count += 1
        following = v[k + 1] if continues[k] else 0.0
        for head in range(2):
            terms["q"] += (reward[k] + gamma * following - q[head][k][a]) ** 2
            terms["conservatism"] += math.log(sum(math.exp(x) for x in q[head][k])) - q[head][k][a]
        u = min(target_q[0][k][a], target_q[1][k][a]) - v[k]
        terms["v"] += (1 - expectile if u < 0 else expectile) * u * u
        terms["cross_entropy"] -= log_p[k][a]
    terms = {name: term / count for name, term in terms.items()}
    rest = terms["q"] + terms["v"] + alpha * terms["conservatism"]
    return terms | {"loss": terms["cross_entropy"] + q_coef * rest}


@pytest.mark.parametrize("episodes", [1, 2, 3, 7, 17])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_losses_are_those_of_the_paper_with_every_episode_read_alone(
    words_tokenizer, episodes, cell, logged_episodes, randomised
):
    rng = np.random.default_rng(episodes)
    logged = logged_episodes(rng, episodes)
    agent = randomised(TokenAgent(words_tokenizer, cell=cell, embedding_dim=5, hidden_size=7, q_size=9)).double()
    batch = TokenLog.of(logged, words_tokenizer).pack(range(episodes), 3)
    weights = {"gamma": 0.9, "expectile": 0.8, "cql_alpha": 0.3, "q_coef": 0.7}
    spoken = agent.spoken(agent(batch.tokens, reset=batch.reset).flatten(0, 1)[batch.place], batch.word)
    ours = ilql_loss(spoken, batch.word >= 0, batch.reward.double(), batch.continues, **weights)

    states, word, reward, continues = [], [], [], []
    for episode in logged:
        stream, place = [], len(word)
        chosen_after = []
        for prompt, response, earned in episode:
            stream += [words_tokenizer.bos_id, *words_tokenizer.encode(prompt)]
            said = [-1] if response is None else [*words_tokenizer.encode(response), words_tokenizer.eos_id]
            for number, one in enumerate(said):
                chosen_after.append(len(stream) - 1)
                word.append(one)
                reward.append(np.float32(earned) if number == len(said) - 1 else 0.0)
                stream += [one] if one >= 0 else []
        continues += [True] * (len(word) - place - 1) + [False]
        output = agent(torch.tensor(stream)[:, None])[:, 0]
        states.append(output[chosen_after])
    state = torch.cat(states)
    with torch.no_grad():
        wanted = paper_losses(
            agent.word_head(state).log_softmax(-1).tolist(),
            [head(state).tolist() for head in agent.q],
            [head(state).tolist() for head in agent.target_q],
            agent.v(state)[:, 0].tolist(),
            word, reward, continues, 0.9, 0.8, 0.3, 0.7,
        )  # fmt: skip
    for name, value in ours._asdict().items():
        assert float(value.detach()) == pytest.approx(wanted[name], rel=1e-6), name
    ours.loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in agent.parameters() if p.requires_grad)
    assert all(p.grad is None for p in agent.target_q.parameters())


def test_the_expectile_loss_is_lowest_at_the_expectile():
    x = torch.tensor([0.0, 1.0, 5.0], dtype=torch.float64)
    for tau in (0.5, 0.7, 0.99):
        v = torch.linspace(0, 5, 5001, dtype=torch.float64)[:, None]
        best = v[expectile_loss(x - v, tau).sum(1).argmin()]
        u = x - best
        assert float((torch.where(u < 0, 1 - tau, tau) * u).sum()) == pytest.approx(0, abs=2e-3)
    assert expectile_loss(torch.tensor(0.0), 0.7) == 0
    assert math.isnan(expectile_loss(torch.tensor(math.nan), 0.7))


def test_nothing_follows_the_last_state():
    v = torch.tensor([1.0, 2.0, 3.0])
    assert next_value(v, torch.tensor([True, False, False])).tolist() == [2, 0, 0]
    assert next_value(v[:1], torch.tensor([False])).tolist() == [0]


def test_a_nan_is_carried_into_the_loss():
    K = 3
    v = torch.tensor([0.0, math.nan, 0.0])
    spoken = SpokenWords(torch.zeros(2, K), torch.zeros(K), v, torch.zeros(2), torch.zeros(()))
    there, continues = torch.ones(K, dtype=torch.bool), torch.tensor([True, True, False])
    settings = {"gamma": 0.9, "expectile": 0.7, "cql_alpha": 0.1, "q_coef": 1.0}
    assert torch.isnan(ilql_loss(spoken, there, torch.zeros(K), continues, **settings).loss)
