"""An agent that chooses among lines of its text: what it reads, what absent choices get, and how it learns."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv

from pyagent.agents import ChoosingAgent, load_language_agent
from pyagent.learning import PPO, Supervised
from pyagent.text import Tokenizer
from pyagent.text.choices import split_choices, with_choices

COLOURS = ("red", "green", "blue", "grey")
TEXTS = (
    with_choices("find the coin . you see a red box . you see a blue box .", ["open blue box", "open red box", "wait"]),
    with_choices("find the coin . to the north you see the pantry .", ["move north"]),
    with_choices("find the coin .", []),
    with_choices("find the key . you see a red box .", ["open red box", "wait"]),
)


class Boxes(gym.Env):
    """Tells a colour, then offers boxes; the one of the first turn's colour holds the coin."""

    action_space = gym.spaces.Discrete(8)

    def __init__(self):
        self.observation_space = gym.spaces.Text(256, charset="abcdefghijklmnopqrstuvwxyz .\n")
        self.observation_space.max_choices = 8

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        offered = self.np_random.permutation(COLOURS)[:3]
        self.colours, self.wanted, self.asked = sorted(offered), str(self.np_random.choice(offered)), True
        return with_choices(f"find the coin . it is in the {self.wanted} box .", ["go on"]), {}

    def step(self, action):
        if self.asked:
            self.asked = False
            return (
                with_choices("find the coin .", [f"open {colour} box" for colour in self.colours]),
                0.0,
                False,
                False,
                {},
            )
        right = self.colours[action] == self.wanted
        return with_choices("it is over .", []), float(right), True, False, {"is_success": right}


@pytest.fixture
def agent():
    torch.manual_seed(0)
    return ChoosingAgent(Tokenizer.train(TEXTS), hidden_size=16)


def log_probabilities(agent, texts):
    return agent.step(texts)[0]


def test_absent_choices_are_impossible_and_the_others_sum_to_one(agent):
    log_p = log_probabilities(agent, TEXTS)
    assert log_p.shape == (4, 3)
    assert torch.isneginf(log_p).int().tolist() == [[0, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]]
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(4))
    assert log_p[2].unique().numel() == 1


def test_a_turn_does_not_depend_on_its_neighbours(agent):
    together = log_probabilities(agent, TEXTS)
    for text, log_p in zip(TEXTS, together, strict=True):
        alone = log_probabilities(agent, [text])[0]
        if split_choices(text)[1]:
            torch.testing.assert_close(log_p[: len(alone)], alone)


def test_reordered_choices_reorder_the_policy(agent):
    facts, choices = split_choices(TEXTS[0])
    turned = log_probabilities(agent, [with_choices(facts, choices[::-1])])[0]
    torch.testing.assert_close(turned.flip(0), log_probabilities(agent, [TEXTS[0]])[0])


def test_frozen_steps_are_those_of_the_sequence(agent):
    texts = [TEXTS[i] for i in (0, 1, 3, 0, 2, 1)]
    reset = torch.tensor([[True, True], [False, False], [False, True]])
    read = agent.understanding(agent.understanding.prepare(texts)).view(3, 2, -1)
    expected, values, _ = agent(read, None, reset)
    with agent.frozen():
        state = None
        for t in range(3):
            log_p, value, _, state = agent.step(texts[2 * t : 2 * t + 2], state, reset[t])
            for lane in range(2):
                K = max(len(split_choices(texts[2 * t + lane])[1]), 1)
                if split_choices(texts[2 * t + lane])[1]:
                    torch.testing.assert_close(log_p[lane, :K], expected[t, lane, :K])
            torch.testing.assert_close(value, values[t])


def test_selected_turns_are_those_prepared_alone(agent):
    rows = torch.tensor([3, 1, 1])
    selected = agent.understanding.prepare(TEXTS).select(rows)
    alone = agent.understanding.prepare([TEXTS[i] for i in rows.tolist()])
    assert selected.choices.shape == alone.choices.shape
    assert selected.tokens.shape[1] == alone.tokens.shape[1]
    torch.testing.assert_close(agent.understanding(selected), agent.understanding(alone))


def test_gradients_are_finite_where_turns_are_missing(agent):
    read = agent.understanding(agent.understanding.prepare(TEXTS)).view(2, 2, -1)
    read = torch.cat((read, torch.zeros_like(read)))
    log_p, value, _ = agent(read, None, torch.zeros(4, 2, dtype=torch.bool))
    (log_p[:2][torch.isfinite(log_p[:2])].sum() + value.sum()).backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in agent.parameters())


def test_responses_are_numbers_of_choices(agent):
    assert agent.prepare_responses(TEXTS[:2], ["wait", "move north"]).numbers.tolist() == [2, 0]
    with pytest.raises(ValueError, match="'dance' is none of the choices"):
        agent.prepare_responses(TEXTS[:1], ["dance"])


def test_reply_says_a_choice(agent):
    reply = agent.reply(TEXTS[0])
    assert reply.text == max(reply.probabilities, key=reply.probabilities.__getitem__)
    assert list(reply.probabilities) == split_choices(TEXTS[0])[1]
    assert agent.reply(TEXTS[2]).text == ""


def test_agents_of_both_kinds_load_as_they_were(agent, tmp_path):
    agent.save(tmp_path)
    loaded = load_language_agent(tmp_path)
    assert isinstance(loaded, ChoosingAgent)
    assert torch.equal(log_probabilities(loaded, TEXTS), log_probabilities(agent, TEXTS))


def demonstrations(episodes):
    env = Boxes()
    for seed in range(episodes):
        first, _ = env.reset(seed=seed)
        second, *_ = env.step(0)
        yield [(first, "go on"), (second, f"open {env.wanted} box")]


def test_it_is_taught_by_demonstrations():
    taught = Supervised(SyncVectorEnv([Boxes]), demonstrations=list(demonstrations(400)), hidden_size=32, seed=0)
    assert isinstance(taught.agent, ChoosingAgent)
    taught.learn(20_000)
    assert taught.best_accuracy > 0.97


def test_it_learns_from_rewards_and_goes_on_as_if_never_saved(tmp_path):
    def learner(**keywords):
        vec = SyncVectorEnv([Boxes] * 16)
        return PPO(vec, cell="gru", n_steps=32, batch_size=256, hidden_size=32, seed=1, **keywords)

    learned = learner().learn(24_000)
    assert np.mean([reward for reward, *_ in learned.recent]) > 0.9
    learned.save(tmp_path)
    again = PPO.load(tmp_path, SyncVectorEnv([Boxes] * 16)).learn(512)
    learned.learn(512)
    pairs = zip(again.agent.parameters(), learned.agent.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
