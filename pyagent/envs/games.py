"""The games of TextWorldExpress that are registered."""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium

MAX_STEPS = 100
"""commands after which an episode is truncated: the package's own limit"""


@dataclass(frozen=True)
class Game:
    """One registered game."""

    id: str
    """gymnasium id, ``pyagent/<Name>-v0``"""
    description: str
    """what there is to do"""
    game: str
    """the package's name of it"""
    params: str = ""
    """the package's parameters, ``name=number`` with commas between; none are its defaults"""


_EASY_COIN = "numLocations=5,includeDoors=0,numDistractorItems=0"
_EASY_TWC = "numLocations=1,numItemsToPutAway=1,includeDoors=0"
_GAMES = (
    Game("pyagent/CoinCollectorEasy-v0", "find a coin in five rooms", "coin", _EASY_COIN),
    Game("pyagent/CoinCollector-v0", "find a coin in eleven rooms with doors", "coin"),
    Game("pyagent/TWCEasy-v0", "put one object of a room where it belongs", "twc", _EASY_TWC),
    Game("pyagent/TWC-v0", "put four objects of three rooms where they belong", "twc"),
    Game("pyagent/MapReader-v0", "fetch a coin from a named room, with a map to read", "mapreader"),
    Game("pyagent/CookingWorld-v0", "prepare a meal by a recipe", "cookingworld"),
    Game("pyagent/Arithmetic-v0", "take as many things as a sum amounts to", "arithmetic"),
    Game("pyagent/Sorting-v0", "put things into a box by quantity", "sorting"),
    Game("pyagent/SimonSays-v0", "do as told", "simonsays"),
    Game("pyagent/PeckingOrder-v0", "do as told by the one who counts", "peckingorder"),
)


def games() -> tuple[Game, ...]:
    """All registered games."""
    return _GAMES


def is_game(env_id: str) -> bool:
    """Whether `env_id` names one of `games()`, in full or by its bare name (``TWC``)."""
    return any(env_id in _names(game) for game in _GAMES)


def find_game(env_id: str) -> Game:
    """The game of a gymnasium id or bare name.

    Raises:
        ValueError: no such game.
    """
    for game in _GAMES:
        if env_id in _names(game):
            return game
    raise ValueError(f"env_id {env_id!r} is none of the games: {', '.join(game.id for game in _GAMES)}")


def register_games() -> None:
    """Registers every game with gymnasium; those already there are left alone. Java starts when one is made."""
    for game in _GAMES:
        if game.id not in gymnasium.registry:
            keywords = {"game": game.game, "params": game.params}
            gymnasium.register(id=game.id, entry_point="pyagent.envs.textworld:TextWorldGame", kwargs=keywords)


def _names(game: Game) -> tuple[str, str]:
    return game.id, game.id.removeprefix("pyagent/").removesuffix("-v0")
