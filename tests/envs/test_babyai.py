"""One text environment as a gymnasium environment."""

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

import pyagent.envs as envs
from pyagent.envs.tasks import find_task

WORDS = ("left", "right", "forward", "pickup", "drop", "toggle", "done")


def episode(env, seed, actions):
    turns = [env.reset(seed=seed)]
    for action in actions:
        turns.append(env.step(action))
        if turns[-1][2] or turns[-1][3]:
            break
    return turns


def test_gymnasium_finds_it_and_is_content():
    for task in envs.tasks():
        assert task.id in gymnasium.registry
    env = gymnasium.make("pyagent/GoToLocal-v0")
    text, _ = env.reset(seed=0)
    assert text == envs.make("pyagent/GoToLocal-v0").reset(seed=0)[0]
    assert env.get_wrapper_attr("action_words") == WORDS
    check_env(envs.make("pyagent/GoToObj-v0"), skip_render_check=True)


def test_actions_are_words():
    env = envs.make("GoToLocal")
    assert env.action_words == envs.ACTION_WORDS == WORDS
    assert env.action_space == gymnasium.spaces.Discrete(7)


def test_same_seed_and_actions_same_episode():
    actions = np.random.default_rng(0).integers(7, size=40)
    env = envs.make("PickupLoc")
    assert episode(env, 5, actions) == episode(env, 5, actions) == episode(envs.make("PickupLoc"), 5, actions)


def test_reaching_max_steps_truncates():
    env = envs.make("GoToObj")
    turns = episode(env, 0, [6] * 100)
    assert len(turns) - 1 == env.max_steps == 64
    assert all(not terminated and not truncated and info == {} for _, _, terminated, truncated, info in turns[1:-1])
    _, reward, terminated, truncated, info = turns[-1]
    assert (reward, terminated, truncated, info) == (0.0, False, True, {"is_success": False})


def solving_actions(level, seed):
    demonstrator = envs.demonstrations.__globals__["Demonstrator"](find_task(level).level)
    (solved,) = demonstrator.solve([seed])
    return [WORDS.index(word) for _, word in solved]


def test_success_terminates_with_babyais_reward():
    env = envs.make("GoToLocal")
    actions = solving_actions("GoToLocal", 3)
    *before, (_, reward, terminated, truncated, info) = episode(env, 3, actions)
    assert len(before) == len(actions)
    assert reward == pytest.approx(1 - 0.9 * len(actions) / 64)
    assert (terminated, truncated, info) == (True, False, {"is_success": True})
    assert all(turn[1] == 0.0 for turn in before[1:])


def test_success_on_the_last_allowed_step_is_not_truncated():
    env = envs.make("GoToLocal")
    actions = solving_actions("GoToLocal", 3)
    _, reward, terminated, truncated, info = episode(env, 3, [6] * (64 - len(actions)) + actions)[-1]
    assert reward == pytest.approx(0.1)
    assert (terminated, truncated, info["is_success"]) == (True, False, True)


def test_what_is_carried_is_told():
    env = envs.make("PutNextLocal")
    actions = solving_actions("PutNextLocal", 1)
    texts = [turn[0] for turn in episode(env, 1, actions)]
    taken, dropped = actions.index(3) + 1, len(actions)
    assert all(text.endswith("you carry nothing .") for text in texts[:taken])
    moved = env.level.instrs.desc_move
    carried = f"you carry a {moved.color} {moved.type} ."
    assert all(text.endswith(carried) for text in texts[taken:dropped])
    assert texts[dropped].endswith("you carry nothing .")


def test_a_mission_of_two_parts_is_one_sentence():
    env = envs.make("GoToSeq")
    texts = [env.reset(seed=seed)[0] for seed in range(12)]
    assert any(" , then " in text.split(" . ")[0] for text in texts)


def test_named_seeds_come_one_after_the_other():
    env, plain = envs.make("GoToObj", seeds=[7, 3]), envs.make("GoToObj")
    for seed in (7, 3):
        assert env.reset() == (plain.reset(seed=seed)[0], {"seed": seed})
    with pytest.raises(RuntimeError, match="seeds: the named level seeds are used up"):
        env.reset()
    assert env.reset(seed=11)[1] == {"seed": 11}
    assert env.reset()[1] == {"seed": 7}, "an explicit seed starts the named ones again"


def test_an_iterator_of_seeds_goes_on():
    env = envs.make("GoToObj", seeds=iter([7, 3]))
    assert env.reset()[1] == {"seed": 7}
    env.reset(seed=11)
    assert env.reset()[1] == {"seed": 3}


def test_without_seeds_the_generator_goes_on():
    env, other = envs.make("GoToObj"), envs.make("GoToObj")
    env.reset(seed=1)
    other.reset(seed=1)
    first, info = env.reset()
    assert info == {}
    assert first == other.reset()[0]


@pytest.mark.parametrize(
    ("error", "action"), [(ValueError, 7), (ValueError, -1), (TypeError, 1.0), (TypeError, "left")]
)
def test_a_bad_action_is_refused_before_anything_moves(error, action):
    env = envs.make("GoToObj")
    text, _ = env.reset(seed=0)
    with pytest.raises(error):
        env.step(action)
    assert env.level.text() == text
    assert env.level.step_count == 0


def test_step_before_reset_is_refused():
    with pytest.raises(ResetNeeded):
        envs.make("GoToObj").step(0)


def test_unknown_levels_are_named():
    with pytest.raises(ValueError, match=r"env_id 'pyagent/Nowhere-v0' is none of the tasks: pyagent/GoTo"):
        envs.make("pyagent/Nowhere-v0")
    with pytest.raises(ValueError, match="level 'BabyAI-Nowhere-v0' is not one"):
        envs.BabyAIText("BabyAI-Nowhere-v0")


def test_it_can_be_drawn():
    env = envs.make("GoToObj", render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render().shape == (256, 256, 3)
    env.close()
