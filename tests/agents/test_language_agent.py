"""The agent as a whole: its parts can be replaced, it remembers, it is saved and loaded."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from pyagent.agents import LanguageAgent, Understanding
from pyagent.text import Tokenizer


def test_the_five_parts_are_there(agent):
    for part in ("understanding", "state_tracking", "decision", "generation", "interaction"):
        assert getattr(agent, part) is not None


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_stepping_equals_the_sequence_with_resets(tokenizer, texts, cell, num_layers):
    torch.manual_seed(0)
    agent = LanguageAgent(tokenizer, ("left", "right"), cell=cell, hidden_size=6, num_layers=num_layers)
    reset = torch.tensor([[True, True], [False, True], [False, False], [True, False]])
    rows = [[texts[t], texts[(t + 1) % 4]] for t in range(4)]
    turns = agent.understanding(agent.understanding.prepare([text for row in rows for text in row])).view(4, 2, -1)
    log_probabilities, value, _ = agent(turns, None, reset)
    state = None
    with agent.frozen():
        for t in range(4):
            step_log_probabilities, step_value, _, state = agent.step(rows[t], state, reset[t])
            torch.testing.assert_close(step_log_probabilities, log_probabilities[t])
            torch.testing.assert_close(step_value, value[t])


def test_predict_is_stable_baselines3s(agent, texts):
    actions, state = agent.predict(list(texts), deterministic=True)
    assert actions.shape == (4,)
    assert np.issubdtype(actions.dtype, np.integer)
    fresh, _ = agent.predict(list(texts), state, np.ones(4, dtype=bool), deterministic=True)
    assert fresh.tolist() == actions.tolist()
    one, _ = agent.predict(texts[0], deterministic=True)
    assert one == actions[0]


def test_sampled_actions_follow_torchs_seed(agent, texts):
    def draw():
        torch.manual_seed(3)
        return agent.predict(list(texts) * 20)[0].tolist()

    assert draw() == draw()


def test_memory_changes_what_comes_next_and_a_start_forgets_it(agent, texts):
    _, state = agent.predict([texts[0]])
    fresh = agent.step([texts[1]])[0]
    remembering = agent.step([texts[1]], state)[0]
    reset = agent.step([texts[1]], state, torch.tensor([True]))[0]
    assert not torch.allclose(fresh, remembering)
    torch.testing.assert_close(fresh, reset)


def test_policy_and_language_model_are_the_same_weights(agent, texts):
    log_probabilities, _, output, _ = agent.step(texts)
    words = agent.generation.word_head(output)
    want = words[:, [agent.tokenizer.encode(word)[0] for word in agent.action_words]].log_softmax(-1)
    torch.testing.assert_close(log_probabilities, want)


def test_reply_tells_all(agent):
    reply = agent.reply("go to the zebra . you see a red ball 2 steps forward .")
    assert [piece for piece, _, known in reply.pieces if not known] == ["zebra"]
    assert set(reply.probabilities) == set(agent.action_words)
    assert sum(reply.probabilities.values()) == pytest.approx(1.0)
    assert isinstance(reply.text, str)
    assert agent.reply("go to the ball .", reply.state).state is not None


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_save_and_load(tokenizer, texts, tmp_path, cell):
    torch.manual_seed(0)
    agent = LanguageAgent(tokenizer, ("left", "right"), cell=cell, hidden_size=6)
    (tmp_path / "config.json").write_text('{"level": "kept"}')
    agent.save(tmp_path)
    again = LanguageAgent.load(tmp_path)
    torch.testing.assert_close(again.step(texts)[0], agent.step(texts)[0], rtol=0, atol=0)
    assert json.loads((tmp_path / "config.json").read_text())["level"] == "kept"
    assert again.reply(texts[0]).text == agent.reply(texts[0]).text


def test_what_cannot_be_loaded_is_named(agent, tmp_path):
    with pytest.raises(FileNotFoundError, match="config"):
        LanguageAgent.load(tmp_path)
    agent.save(tmp_path)  # its understanding has other sizes than the one a plain load makes
    with pytest.raises(ValueError, match="weights"):
        LanguageAgent.load(tmp_path)


class Bag(nn.Module):
    """Another understanding: the mean of the word vectors."""

    def __init__(self, tokenizer, output_size):
        super().__init__()
        self.tokenizer, self.output_size = tokenizer, output_size
        self.table = nn.EmbeddingBag(len(tokenizer), output_size)
        self.frozen = nullcontext

    def prepare(self, texts):
        return [torch.tensor(self.tokenizer.encode(text)) for text in texts]

    def forward(self, turns):
        return torch.stack([self.table(turn[None])[0] for turn in turns])

    def step(self, texts):
        return self(self.prepare(texts))


def test_a_part_of_ones_own_takes_its_place(tokenizer, texts):
    agent = LanguageAgent(tokenizer, ("left", "right"), understanding=Bag(tokenizer, 5), hidden_size=6)
    with agent.frozen():
        assert agent.step(texts)[0].shape == (4, 2)
    before = agent.step(texts)[0]
    agent.understanding = Understanding(tokenizer, 5, hidden_size=8)
    assert not torch.allclose(agent.step(texts)[0], before)


def test_action_words_must_be_single_known_tokens():
    tokenizer = Tokenizer.train(["go to the red ball"], words=("left",))
    with pytest.raises(ValueError, match="'right'"):
        LanguageAgent(tokenizer, ("left", "right"))
    with pytest.raises(ValueError, match="cell"):
        LanguageAgent(tokenizer, ("left",), cell="transformer")
