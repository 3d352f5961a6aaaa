"""Demonstrations against BabyAI's bot in minigrid itself."""

from itertools import islice

import gymnasium
import pytest
from minigrid.utils.baby_ai_bot import BabyAIBot

import pyagent.envs as envs
from pyagent.envs.view import observation_text_reference


def original_episode(level, seed):
    """The unchanged bot in the unchanged level, or None where it fails."""
    env = gymnasium.make(f"BabyAI-{level}-v0", disable_env_checker=True).unwrapped
    seen, _ = env.reset(seed=seed)
    bot, turns = BabyAIBot(env), []
    while True:
        try:
            action = bot.replan()
        except Exception:
            return None
        turns.append((observation_text_reference(seen), action.name))
        seen, reward, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            return turns if reward > 0 else None


@pytest.mark.parametrize(("level", "count"), [("GoToLocal", 12), ("PutNextLocal", 4), ("UnlockLocal", 2), ("GoTo", 2)])
def test_episodes_are_those_of_the_original_bot(level, count):
    originals = (original_episode(level, seed) for seed in envs.training_seeds(3))
    expected = list(islice((episode for episode in originals if episode is not None), count))
    assert envs.demonstrations(level, count, 3) == expected


def test_replayed_demonstrations_succeed():
    env = envs.make("PickupLoc")
    seeds = iter(envs.training_seeds(0))
    for episode in envs.demonstrations("PickupLoc", 5, 0):
        text, _ = env.reset(seed=next(seeds))
        while text != episode[0][0]:  # a level that the bot did not solve
            text, _ = env.reset(seed=next(seeds))
        for told, word in episode:
            assert text == told
            text, reward, terminated, _, info = env.step(env.action_words.index(word))
        assert terminated
        assert info["is_success"]
        assert reward > 0


def test_more_processes_make_the_same():
    assert envs.demonstrations("GoToObj", 70, 1, processes=2) == envs.demonstrations("GoToObj", 70, 1)


def test_pairs_are_prompts_and_responses():
    episodes = envs.demonstrations("GoToObj", 3, 0)
    pairs = envs.prompt_response_pairs(episodes)
    assert pairs == [*episodes[0], *episodes[1], *episodes[2]]
    assert all(prompt.startswith("go to the ") and response in envs.ACTION_WORDS for prompt, response in pairs)


def test_none_are_none():
    assert envs.demonstrations("GoToObj", 0, 0) == []


def test_a_level_that_the_bot_cannot_solve_is_named(monkeypatch):
    monkeypatch.setattr(BabyAIBot, "replan", lambda self, action_taken=None: 1 / 0)
    with pytest.raises(RuntimeError, match="the bot solved only 0 of 110 levels"):
        envs.demonstrations("GoToObj", 1, 0)


@pytest.mark.parametrize(
    ("match", "arguments"),
    [
        ("env_id 'GoToNowhere'", ("GoToNowhere", 1, 0)),
        ("episodes must be 0 or more, got -1", ("GoToObj", -1, 0)),
        ("seed must be 0 or more, got -1", ("GoToObj", 1, -1)),
    ],
)
def test_bad_input_is_named(match, arguments):
    with pytest.raises(ValueError, match=match):
        envs.demonstrations(*arguments)


def test_a_bad_number_of_processes_is_named():
    with pytest.raises(ValueError, match="processes must be 1 or more, got 0"):
        envs.demonstrations("GoToObj", 1, 0, processes=0)
