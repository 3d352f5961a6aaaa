"""Token-level Q-learning: the losses are the paper's, packing changes nothing, good halves of bad games are joined."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyagent.agents import SpokenWords, TokenAgent
from pyagent.learning import TokenLog, TokenQ, ilql_loss, read_metrics
from pyagent.learning.ilql_loss import expectile_loss, next_value
from pyagent.learning.logger import Logger
from pyagent.text import Tokenizer

WORDS = "a b c d e f"


@pytest.fixture
def tokenizer():
    return Tokenizer.train([WORDS])


def random_episodes(rng, count):
    """Turns, prompts and responses of 0…4 words; one episode in three is cut short."""

    def text():
        return " ".join(rng.choice(WORDS.split(), rng.integers(5)))

    episodes = []
    for number in range(count):
        episode = [(text(), text(), float(rng.normal())) for _ in range(rng.integers(1, 4))]
        episodes.append(episode + [(text(), None, 0.0)] * (number % 3 == 2))
    return episodes


def randomise(agent):
    """Heads that begin at 0 would hide mistakes."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
    return agent


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
def test_the_losses_are_those_of_the_paper_with_every_episode_read_alone(tokenizer, episodes, cell):
    rng = np.random.default_rng(episodes)
    logged = random_episodes(rng, episodes)
    agent = randomise(TokenAgent(tokenizer, cell=cell, embedding_dim=5, hidden_size=7, q_size=9)).double()
    batch = TokenLog.of(logged, tokenizer).pack(range(episodes), 3)
    weights = {"gamma": 0.9, "expectile": 0.8, "cql_alpha": 0.3, "q_coef": 0.7}
    spoken = agent.spoken(agent(batch.tokens, reset=batch.reset).flatten(0, 1)[batch.place], batch.word)
    ours = ilql_loss(spoken, batch.word >= 0, batch.reward.double(), batch.continues, **weights)

    states, word, reward, continues = [], [], [], []
    for episode in logged:
        stream, place = [], len(word)
        chosen_after = []
        for prompt, response, earned in episode:
            stream += [tokenizer.bos_id, *tokenizer.encode(prompt)]
            said = [-1] if response is None else [*tokenizer.encode(response), tokenizer.eos_id]
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


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), lanes=st.integers(1, 5))
def test_packed_episodes_give_the_figures_of_each_alone(seed, lanes):
    tokenizer = Tokenizer.train([WORDS])
    rng = np.random.default_rng(seed)
    log = TokenLog.of(random_episodes(rng, 6), tokenizer)
    agent = randomise(TokenAgent(tokenizer, embedding_dim=5, hidden_size=6, q_size=4)).double()

    def states(chosen, lanes):
        batch = log.pack(chosen, lanes)
        return agent(batch.tokens, reset=batch.reset).flatten(0, 1)[batch.place], batch

    chosen = rng.permutation(6)[: rng.integers(1, 7)].tolist()
    packed, batch = states(chosen, lanes)
    alone = [states([one], 1) for one in chosen]
    torch.testing.assert_close(packed, torch.cat([state for state, _ in alone]))
    for name in ("word", "reward", "continues"):
        assert torch.equal(getattr(batch, name), torch.cat([getattr(one, name) for _, one in alone])), name


def test_rewards_come_with_the_last_word_and_a_cut_episode_goes_on_to_its_last_prompt(tokenizer):
    log = TokenLog.of([[("a b", "c", 1.0), ("d", "e f", 2.0)], [("a", "b", 3.0), ("c", None, 0.0)]], tokenizer)
    batch = log.pack([0, 1], 2)
    a, b, c, d, e, f = (tokenizer.encode(word)[0] for word in WORDS.split())
    bos, eos = tokenizer.bos_id, tokenizer.eos_id
    assert batch.tokens.T.tolist() == [[bos, a, b, c, eos, bos, d, e, f, eos], [bos, a, b, eos, bos, c, 0, 0, 0, 0]]
    assert batch.word.tolist() == [c, eos, e, f, eos, b, eos, -1]
    assert batch.reward.tolist() == [0, 1, 0, 0, 2, 0, 3, 0]
    assert batch.continues.tolist() == [True, True, True, True, False, True, True, False]
    assert batch.tokens.flatten()[batch.place].tolist() == [b, c, d, e, f, a, b, c]
    assert log.turns.tolist() == [2, 1]


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


def test_reading_and_answering_is_one_stream(tokenizer):
    """What `generate` remembers is what the packed stream would have told, in every lane, long prompts and short."""
    agent = randomise(TokenAgent(tokenizer, embedding_dim=5, hidden_size=6, q_size=4)).double()
    prompts = [["a b c d", "e"], ["", "f f"], ["b", "a b c d e f"]]
    state, streams = None, [[] for _ in prompts]
    for turn, max_words in ((0, 3), (1, 9)):
        said, state = agent.generate([lane[turn] for lane in prompts], state, max_words=max_words)
        for stream, lane, response in zip(streams, prompts, said, strict=True):
            words = tokenizer.encode(response)
            assert len(words) <= max_words
            stream += [tokenizer.bos_id, *tokenizer.encode(lane[turn]), *words, tokenizer.eos_id]
    for number, stream in enumerate(streams):
        _, alone = agent.core(torch.tensor(stream)[:, None])
        for ours, wanted in zip(state, alone, strict=True):
            torch.testing.assert_close(ours[:, number], wanted[:, 0])


def test_steering_adds_beta_times_the_advantage(tokenizer):
    agent = randomise(TokenAgent(tokenizer, hidden_size=6))
    output, _ = agent.read(["a", "b c"])
    q = torch.minimum(agent.target_q[0](output), agent.target_q[1](output))
    for beta in (0.0, 0.5, 8.0):
        agent.beta = beta
        wanted = agent.word_head(output) + beta * (q - agent.v(output))
        torch.testing.assert_close(agent.scores(output), wanted)


def test_an_untrained_agent_is_steered_nowhere(tokenizer):
    agent = TokenAgent(tokenizer, hidden_size=6)
    output, _ = agent.read(["a b"])
    words = agent.scores(output)
    agent.beta = 0.0
    torch.testing.assert_close(words.log_softmax(-1), agent.scores(output).log_softmax(-1))


def test_target_heads_follow_slowly(tokenizer):
    agent = TokenAgent(tokenizer, hidden_size=6)
    agent.q[0].output.bias.data.fill_(1.0)
    agent.update_target(0.25)
    assert agent.target_q[0].output.bias.tolist() == [0.25] * len(tokenizer)
    agent.update_target(1.0)
    assert agent.target_q[0].output.bias.tolist() == [1.0] * len(tokenizer)


def weights_of(learner):
    return learner.agent.state_dict()


def test_the_same_seed_gives_the_same_run_and_another_one_another(tokenizer):
    episodes = random_episodes(np.random.default_rng(0), 12)
    first, again, other = (small(episodes, seed=seed).learn(60) for seed in (1, 1, 2))
    assert all(torch.equal(one, weights_of(again)[name]) for name, one in weights_of(first).items())
    assert any(not torch.equal(one, weights_of(other)[name]) for name, one in weights_of(first).items())


@pytest.mark.parametrize("turns", [5, 60])
def test_saving_and_loading_goes_on_as_if_nothing_had_happened(tmp_path, turns):
    straight = small(random_episodes(np.random.default_rng(0), 12), beta=3.0).learn(turns)
    straight.save(tmp_path)
    resumed = TokenQ.load(tmp_path).learn(40)
    straight.learn(40)
    assert (resumed.num_timesteps, resumed.epoch) == (straight.num_timesteps, straight.epoch)
    assert resumed.agent.beta == 3.0
    for name, weight in weights_of(straight).items():
        assert torch.equal(weight, weights_of(resumed)[name]), name


def test_supervised_pre_training_and_q_learning_share_a_checkpoint(tmp_path):
    episodes = random_episodes(np.random.default_rng(0), 12)
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


def test_without_actions_the_responses_themselves_are_predicted(tokenizer):
    agent = randomise(TokenAgent(tokenizer, hidden_size=6))
    said, _ = agent.predict("a b", deterministic=True)
    assert isinstance(said, str)
    both, _ = agent.predict(["a b", "c"], deterministic=True)
    assert both[0] == said
    torch.manual_seed(0)
    drawn = agent.predict(["a b"] * 50)[0]
    assert len(set(drawn)) > 1


def test_figures_are_logged(tmp_path):
    with Logger(tmp_path / "metrics.jsonl") as logger:
        small(random_episodes(np.random.default_rng(0), 12), logger=logger).learn(20)
    lines = list(read_metrics(tmp_path / "metrics.jsonl"))
    for key in ("train/loss", "train/q_loss", "train/v_loss", "train/conservatism_loss", "time/fps", "train/epoch"):
        assert key in lines[-1]


def test_a_callback_ends_it():
    learner = small(random_episodes(np.random.default_rng(0), 12))
    learner.learn(1000, callback=lambda _: False)
    assert 0 < learner.num_timesteps < 20


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
def test_bad_logs_are_named(name, tokenizer):
    log, message = BAD_LOGS[name]
    with pytest.raises(ValueError, match=message):
        TokenLog.of(log, tokenizer)
    with pytest.raises(ValueError, match=message):
        TokenQ(None, log)


@pytest.mark.parametrize(
    "setting", [("expectile", 0.0), ("expectile", 1.0), ("gamma", 1.1), ("tau", 0.0), ("tau", math.nan),
                ("cql_alpha", -1.0), ("q_coef", math.nan), ("batch_size", 0), ("max_grad_norm", 0.0)]
)  # fmt: skip
def test_bad_settings_are_named(setting):
    name, value = setting
    with pytest.raises(ValueError, match=name):
        small(random_episodes(np.random.default_rng(0), 3), **{name: value})


def test_hostile_use_of_the_agent(tokenizer, tmp_path):
    agent = TokenAgent(tokenizer, hidden_size=6)
    for call, error in (
        (lambda: agent.generate([]), ValueError),
        (lambda: agent.generate("a b"), TypeError),
        (lambda: agent.generate([3]), TypeError),
        (lambda: agent.generate(["a"], max_words=0), ValueError),
        (lambda: agent.generate(["a"], temperature=0.0), ValueError),
        (lambda: agent.generate(["a", "b"], agent.read(["a"])[1]), ValueError),
        (lambda: TokenAgent(tokenizer, cell="transformer"), ValueError),
        (lambda: TokenAgent(tokenizer, ["zzz"]), ValueError),
        (lambda: TokenAgent.load(tmp_path), FileNotFoundError),
        (lambda: TokenQ.load(tmp_path), FileNotFoundError),
        (lambda: TokenQ(None, TokenLog.of([[("a", "b", 0.0)]], tokenizer)), ValueError),
        (lambda: TokenQ(None, [[(3, "b", 0.0)]]), TypeError),
    ):
        with pytest.raises(error):
            call()
    said, _ = agent.generate(["words it has never seen ! ☃"], max_words=2)
    assert isinstance(said[0], str)


def test_words_never_said_are_not_valued_above_those_that_were():
    """Conservatism: on a log where one word alone was ever said, its Q is the largest of all."""
    log = [[("say it", "good", 0.5)]] * 8
    learner = small([*log, [("other", "bad", 0.0)]], cql_alpha=1.0, learning_rate=1e-2).learn(2000)
    output, _ = learner.agent.read(["say it"])
    for head in learner.agent.q:
        assert learner.agent.tokenizer.decode([int(head(output)[0].argmax())]) == "good"


def test_every_order_of_episodes_packs(tokenizer):
    log = TokenLog.of(random_episodes(np.random.default_rng(3), 4), tokenizer)
    sizes = {tuple(sorted(log.pack(order, 2).word.tolist())) for order in itertools.permutations(range(4))}
    assert len(sizes) == 1
