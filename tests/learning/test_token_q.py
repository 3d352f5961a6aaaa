"""Token-level Q-learning joins the good halves of bad games; runs repeat, resume, and refuse bad settings."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch

from pyagent.agents import LanguageAgent, TokenAgent
from pyagent.evaluation import evaluate_policy
from pyagent.learning import CheckpointCallback, TokenLog, TokenQ, read_metrics
from pyagent.learning.logger import Logger


# A house told in words. North of every room lies the attic, where left pays 1 and right nothing; south of the hall the
# cellar, where right pays 0.3. All logged games from the hall that went north were broken off in the attic.
def game(room, first, second=None):
    there = "attic" if first == "north" else "cellar"
    reward = {("attic", "left"): 1.0, ("cellar", "right"): 0.3}.get((there, second), 0.0)
    last = (f"you are in the {there}", None if second is None else f"turn {second}", reward)
    return [(f"you are in the {room}", f"go {first}", 0.0), last]


def logged_house():
    others = [game(room, "north", turn) for room in ("yard", "barn", "mill") for turn in ["right"] * 4 + ["left"] * 4]
    from_hall = (
        [game("hall", "north")] * 6 + [game("hall", "south", "right")] * 14 + [game("hall", "south", "left")] * 4
    )
    return others + from_hall


def test_it_joins_halves_that_no_logged_game_holds_together():
    log = logged_house()
    assert game("hall", "north", "left") not in log
    keywords = {"hidden_size": 24, "embedding_dim": 12, "q_size": 24, "batch_size": 88, "weight_decay": 0.0}
    learner = TokenQ(None, log, gamma=0.95, expectile=0.8, cql_alpha=0.002, tau=0.05, learning_rate=5e-3, **keywords)
    agent = learner.learn(30_000).agent
    agent.beta = 50.0

    def play():
        (first,), state = agent.generate(["you are in the hall"])
        there = "attic" if first == "go north" else "cellar"
        return [first, *agent.generate([f"you are in the {there}"], state)[0]]

    assert play() == ["go north", "turn left"]
    agent.beta = 0.0
    assert play() == ["go south", "turn right"]

    def value(prompts, *words):
        """The smaller Q of the last of these words, the others said after the last prompt."""
        state = None
        for prompt in prompts:
            output, state = agent.read([prompt], state)
            for word in words[:-1] if prompt == prompts[-1] else ["go", "north", "<eos>"]:
                number = agent.tokenizer.eos_id if word == "<eos>" else agent.tokenizer.encode(word)[0]
                output, state = agent.core.step(torch.tensor([number]), state)
        word = agent.tokenizer.encode(words[-1])[0]
        return float(torch.minimum(*(head(output) for head in agent.target_q))[0, word])

    # With Q(left) = γ, Q(right) = 0, each said by half of those who had the choice, V is 0.8·γ there; of the cellar's
    # 18 games 14 turned right, and their 0.8-expectile is 0.3·γ·0.8·14 / (0.8·14 + 0.2·4).
    attic = ["you are in the barn", "you are in the attic"]
    assert value(attic, "turn", "left") == pytest.approx(0.95, abs=0.1)
    assert value(attic, "turn", "right") == pytest.approx(0.0, abs=0.1)
    assert value(["you are in the hall"], "go", "north") == pytest.approx(0.8 * 0.95**4, abs=0.1)
    assert value(["you are in the hall"], "go", "south") == pytest.approx(0.28 * 0.95**4, abs=0.1)


def small(episodes, **keywords):
    return TokenQ(None, episodes, **{"hidden_size": 8, "embedding_dim": 4, "q_size": 8, "batch_size": 4} | keywords)


def test_words_never_said_are_not_valued_above_those_that_were():
    """Conservatism: on a log where one word alone was ever said, its Q is the largest of all."""
    log = [[("say it", "good", 0.5)]] * 8
    learner = small([*log, [("other", "bad", 0.0)]], cql_alpha=1.0, learning_rate=1e-2).learn(2000)
    output, _ = learner.agent.read(["say it"])
    for head in learner.agent.q:
        assert learner.agent.tokenizer.decode([int(head(output)[0].argmax())]) == "good"


def weights_of(learner):
    return learner.agent.state_dict()


def test_the_same_seed_gives_the_same_run_and_another_one_another(logged_episodes):
    episodes = logged_episodes(np.random.default_rng(0), 12)
    first, again, other = (small(episodes, seed=seed).learn(60) for seed in (1, 1, 2))
    assert all(torch.equal(one, weights_of(again)[name]) for name, one in weights_of(first).items())
    assert any(not torch.equal(one, weights_of(other)[name]) for name, one in weights_of(first).items())


@pytest.mark.parametrize("turns", [5, 60])
def test_saving_and_loading_goes_on_as_if_nothing_had_happened(tmp_path, turns, logged_episodes):
    straight = small(logged_episodes(np.random.default_rng(0), 12), beta=3.0).learn(turns)
    straight.save(tmp_path)
    resumed = TokenQ.load(tmp_path).learn(40)
    straight.learn(40)
    assert (resumed.num_timesteps, resumed.epoch) == (straight.num_timesteps, straight.epoch)
    assert resumed.agent.beta == 3.0
    for name, weight in weights_of(straight).items():
        assert torch.equal(weight, weights_of(resumed)[name]), name


def test_supervised_pre_training_and_q_learning_share_a_checkpoint(tmp_path, logged_episodes):
    episodes = logged_episodes(np.random.default_rng(0), 12)
    supervised = small(episodes, q_coef=0.0, weight_decay=0.0).learn(60)
    assert all(not parameter.grad.any() for parameter in supervised.agent.q.parameters())
    supervised.save(tmp_path)
    learner = TokenQ.load(tmp_path, episodes=episodes[:6], q_coef=1.0)
    assert all(torch.equal(one, weights_of(learner)[name]) for name, one in weights_of(supervised).items())
    learner.learn(20)
    assert any(parameter.grad.any() for parameter in learner.agent.q.parameters())
    agent = TokenAgent.load(tmp_path)
    assert agent.generate(["a"])[0] == supervised.agent.generate(["a"])[0]


def test_actions_of_an_environment(recall_env, recall_episodes, tmp_path):
    episodes = [[(*turn, float(number)) for number, turn in enumerate(one)] for one in recall_episodes(20)]
    learner = TokenQ(recall_env(1), episodes, hidden_size=32, batch_size=16, learning_rate=1e-2).learn(6000)
    texts = ["remember the word . it is left .", "remember the word . it is right ."]
    with learner.frozen():
        _, state = learner.predict(texts, deterministic=True)
        actions, _ = learner.predict(["which word was it ."] * 2, state, deterministic=True)
        assert actions.tolist() == [0, 1]
        forgotten, _ = learner.predict(["which word was it ."] * 2, state, np.array([True, True]), True)
        assert forgotten[0] == forgotten[1]
    assert isinstance(learner.predict(texts[0])[0], int)
    learner.save(tmp_path)
    assert TokenQ.load(tmp_path).predict(texts, deterministic=True)[0].shape == (2,)


def test_figures_are_logged(tmp_path, logged_episodes):
    with Logger(tmp_path / "metrics.jsonl") as logger:
        small(logged_episodes(np.random.default_rng(0), 12), logger=logger).learn(20)
    lines = list(read_metrics(tmp_path / "metrics.jsonl"))
    for key in ("train/loss", "train/q_loss", "train/v_loss", "train/conservatism_loss", "time/fps", "train/epoch"):
        assert key in lines[-1]


def test_a_callback_ends_it(logged_episodes):
    learner = small(logged_episodes(np.random.default_rng(0), 12))
    learner.learn(1000, callback=lambda _: False)
    assert 0 < learner.num_timesteps < 20


def finite(agent):
    return all(weight.isfinite().all() for weight in agent.state_dict().values())


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run_and_the_last_checkpoint_is_good(number, tmp_path, logged_episodes):
    learner = small(logged_episodes(np.random.default_rng(0), 12))
    checkpoints = CheckpointCallback(tmp_path, save_freq=1, keep=2)

    def poison(learner):
        if learner.num_timesteps > 20:
            learner.agent.word_head.bias.data[0] = number

    with pytest.raises(ValueError, match=r"loss: got nan after \d+ timesteps"):
        learner.learn(1000, [checkpoints, poison])
    assert 20 < learner.num_timesteps < 40
    assert all(weight.isfinite().all() for weight in learner.agent.core.parameters())
    assert len(checkpoints.saved) == 2
    for path in checkpoints.saved:
        assert path.is_dir()
        assert finite(TokenQ.load(path).learn(40).agent)


def test_a_gradient_that_is_no_number_never_reaches_the_weights(logged_episodes):
    learner = small(logged_episodes(np.random.default_rng(0), 12)).learn(20)
    before = {name: weight.clone() for name, weight in weights_of(learner).items()}
    learner.agent.word_head.bias.register_hook(lambda grad: grad * math.inf)
    with pytest.raises(ValueError, match="gradient's norm: got"):
        learner.learn(20)
    assert all(torch.equal(weight, before[name]) for name, weight in weights_of(learner).items())


class Masked(gym.Wrapper):
    def reset(self, **keywords):
        text, info = self.env.reset(**keywords)
        return text, info | {"action_mask": np.ones(2)}


def test_evaluation_gives_it_no_masks(recall_env, recall_episodes):
    episodes = [[(*turn, 0.0) for turn in one] for one in recall_episodes(2)]
    learner = TokenQ(recall_env(1), episodes, hidden_size=8)
    mean, _ = evaluate_policy(learner, Masked(recall_env(1).envs[0]), 4)
    assert 0 <= mean <= 1


@pytest.mark.parametrize(
    "setting", [("expectile", 0.0), ("expectile", 1.0), ("gamma", 1.1), ("tau", 0.0), ("tau", math.nan),
                ("cql_alpha", -1.0), ("q_coef", math.nan), ("batch_size", 0), ("max_grad_norm", 0.0)]
)  # fmt: skip
def test_bad_settings_are_named(setting, logged_episodes):
    name, value = setting
    with pytest.raises(ValueError, match=name):
        small(logged_episodes(np.random.default_rng(0), 3), **{name: value})


def test_hostile_logs_and_folders(words_tokenizer, tmp_path):
    with pytest.raises(FileNotFoundError):
        TokenQ.load(tmp_path)
    with pytest.raises(ValueError, match="agent"):
        TokenQ(None, TokenLog.of([[("a", "b", 0.0)]], words_tokenizer))
    with pytest.raises(TypeError):
        TokenQ(None, [[(3, "b", 0.0)]])
    small([[("a", "b", 0.0)]]).agent.save(tmp_path)
    with pytest.raises(ValueError, match="weights"):
        LanguageAgent.load(tmp_path)
