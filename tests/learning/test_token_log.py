"""Logs become streams of tokens; packing them changes nothing."""

import itertools
import math

import numpy as np
import pytest
import torch

from pyagent.agents import TokenAgent
from pyagent.learning import TokenLog, TokenQ


@pytest.mark.parametrize("seed", range(20))
def test_packed_episodes_give_the_figures_of_each_alone(seed, words_tokenizer, logged_episodes, randomised):
    rng = np.random.default_rng(seed)
    log = TokenLog.of(logged_episodes(rng, 6), words_tokenizer)
    agent = randomised(TokenAgent(words_tokenizer, embedding_dim=5, hidden_size=6, q_size=4)).double()

    def states(chosen, lanes):
        batch = log.pack(chosen, lanes)
        return agent(batch.tokens, reset=batch.reset).flatten(0, 1)[batch.place], batch

    chosen = rng.permutation(6)[: rng.integers(1, 7)].tolist()
    packed, batch = states(chosen, 1 + seed % 5)
    alone = [states([one], 1) for one in chosen]
    torch.testing.assert_close(packed, torch.cat([state for state, _ in alone]))
    for name in ("word", "reward", "continues"):
        assert torch.equal(getattr(batch, name), torch.cat([getattr(one, name) for _, one in alone])), name


def test_rewards_come_with_the_last_word_and_a_cut_episode_goes_on_to_its_last_prompt(words_tokenizer):
    log = TokenLog.of([[("a b", "c", 1.0), ("d", "e f", 2.0)], [("a", "b", 3.0), ("c", None, 0.0)]], words_tokenizer)
    batch = log.pack([0, 1], 2)
    a, b, c, d, e, f = (words_tokenizer.encode(word)[0] for word in "abcdef")
    bos, eos = words_tokenizer.bos_id, words_tokenizer.eos_id
    assert batch.tokens.T.tolist() == [[bos, a, b, c, eos, bos, d, e, f, eos], [bos, a, b, eos, bos, c, 0, 0, 0, 0]]
    assert batch.word.tolist() == [c, eos, e, f, eos, b, eos, -1]
    assert batch.reward.tolist() == [0, 1, 0, 0, 2, 0, 3, 0]
    assert batch.continues.tolist() == [True, True, True, True, False, True, True, False]
    assert batch.tokens.flatten()[batch.place].tolist() == [b, c, d, e, f, a, b, c]
    assert log.turns.tolist() == [2, 1]


def test_every_order_of_episodes_packs(words_tokenizer, logged_episodes):
    log = TokenLog.of(logged_episodes(np.random.default_rng(3), 4), words_tokenizer)
    sizes = {tuple(sorted(log.pack(order, 2).word.tolist())) for order in itertools.permutations(range(4))}
    assert len(sizes) == 1


BAD_LOGS = {
    "none": ([], "episodes"),
    "empty episode": ([[]], "number 0"),
    "no response": ([[("a", "b", 1.0)], [("a", None, 0.0)]], "number 1"),
    "NaN": ([[("a", "b", 0.0), ("a", "b", math.nan)]], "turn 1 of number 0"),
    "infinite": ([[("a", "b", math.inf)]], "turn 0 of number 0"),
    "unanswered amid": ([[("a", None, 0.0), ("a", "b", 0.0)]], "turn 0 of number 0"),
    "paid for nothing": ([[("a", "b", 0.0), ("a", None, 1.0)]], "turn 1 of number 0"),
}


@pytest.mark.parametrize("name", BAD_LOGS)
def test_bad_logs_are_named(name, words_tokenizer):
    log, message = BAD_LOGS[name]
    with pytest.raises(ValueError, match=message):
        TokenLog.of(log, words_tokenizer)
    with pytest.raises(ValueError, match=message):
        TokenQ(None, log)


@pytest.mark.parametrize("turn", [("a", "b"), "abc", ("a", "b", "1"), (3, "b", 0.0), ("a", 3, 0.0)])
def test_a_turn_of_other_parts_is_refused(turn, words_tokenizer):
    with pytest.raises(TypeError):
        TokenLog.of([[("a", "b", 0.0), turn]], words_tokenizer)
