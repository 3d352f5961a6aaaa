"""A language model that knows what words are worth: reading and answering are one stream, steered by the advantage."""

import pytest
import torch

from pyagent.agents import TokenAgent
from pyagent.text import Tokenizer


@pytest.fixture
def words_tokenizer():
    return Tokenizer.train(["a b c d e f"])


def test_reading_and_answering_is_one_stream(words_tokenizer, randomised):
    """What `generate` remembers is what the packed stream would have told, in every lane, long prompts and short."""
    agent = randomised(TokenAgent(words_tokenizer, embedding_dim=5, hidden_size=6, q_size=4)).double()
    prompts = [["a b c d", "e"], ["", "f f"], ["b", "a b c d e f"]]
    state, streams = None, [[] for _ in prompts]
    for turn, max_words in ((0, 3), (1, 9)):
        said, state = agent.generate([lane[turn] for lane in prompts], state, max_words=max_words)
        for stream, lane, response in zip(streams, prompts, said, strict=True):
            words = words_tokenizer.encode(response)
            assert len(words) <= max_words
            stream += [words_tokenizer.bos_id, *words_tokenizer.encode(lane[turn]), *words, words_tokenizer.eos_id]
    for number, stream in enumerate(streams):
        _, alone = agent.core(torch.tensor(stream)[:, None])
        for ours, wanted in zip(state, alone, strict=True):
            torch.testing.assert_close(ours[:, number], wanted[:, 0])


def test_steering_adds_beta_times_the_advantage(words_tokenizer, randomised):
    agent = randomised(TokenAgent(words_tokenizer, hidden_size=6))
    output, _ = agent.read(["a", "b c"])
    q = torch.minimum(agent.target_q[0](output), agent.target_q[1](output))
    for beta in (0.0, 0.5, 8.0):
        agent.beta = beta
        wanted = agent.word_head(output) + beta * (q - agent.v(output))
        torch.testing.assert_close(agent.scores(output), wanted)


def test_an_untrained_agent_is_steered_nowhere(words_tokenizer):
    agent = TokenAgent(words_tokenizer, hidden_size=6)
    output, _ = agent.read(["a b"])
    words = agent.scores(output)
    agent.beta = 0.0
    torch.testing.assert_close(words.log_softmax(-1), agent.scores(output).log_softmax(-1))


def test_target_heads_follow_slowly(words_tokenizer):
    agent = TokenAgent(words_tokenizer, hidden_size=6)
    agent.q[0].output.bias.data.fill_(1.0)
    agent.update_target(0.25)
    assert agent.target_q[0].output.bias.tolist() == [0.25] * len(words_tokenizer)
    agent.update_target(1.0)
    assert agent.target_q[0].output.bias.tolist() == [1.0] * len(words_tokenizer)


def test_without_actions_the_responses_themselves_are_predicted(words_tokenizer, randomised):
    agent = randomised(TokenAgent(words_tokenizer, hidden_size=6))
    said, _ = agent.predict("a b", deterministic=True)
    assert isinstance(said, str)
    both, _ = agent.predict(["a b", "c"], deterministic=True)
    assert both[0] == said
    torch.manual_seed(0)
    drawn = agent.predict(["a b"] * 50)[0]
    assert len(set(drawn)) > 1


def test_hostile_use_of_the_agent(words_tokenizer, tmp_path):
    agent = TokenAgent(words_tokenizer, hidden_size=6)
    for call, error in (
        (lambda: agent.generate([]), ValueError),
        (lambda: agent.generate("a b"), TypeError),
        (lambda: agent.generate([3]), TypeError),
        (lambda: agent.generate(["a"], max_words=0), ValueError),
        (lambda: agent.generate(["a"], temperature=0.0), ValueError),
        (lambda: agent.generate(["a", "b"], agent.read(["a"])[1]), ValueError),
        (lambda: TokenAgent(words_tokenizer, cell="transformer"), ValueError),
        (lambda: TokenAgent(words_tokenizer, ["zzz"]), ValueError),
        (lambda: TokenAgent.load(tmp_path), FileNotFoundError),
    ):
        with pytest.raises(error):
            call()
    said, _ = agent.generate(["words it has never seen ! ☃"], max_words=2)
    assert isinstance(said[0], str)
