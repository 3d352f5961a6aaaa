"""Supervised fine-tuning: the response alone is learned, episodes stay whole, held-out loss ends it."""

import pytest
import torch

from pyagent.learning import PPO, Supervised


def make(env, episodes, **keywords):
    return Supervised(env, demonstrations=episodes, hidden_size=16, seed=0, **keywords)


def test_the_loss_is_that_of_each_responses_words_in_its_episode_alone(recall_env, recall_episodes):
    learner = make(recall_env(1), recall_episodes(10))
    agent = learner.agent
    loss, _ = learner.training.loss(agent, [0, 3, 4])
    total = torch.zeros(())
    for number in (0, 3, 4):
        state = None
        for prompt, response in recall_episodes(10)[number]:
            _, _, output, state = agent.step([prompt], state)
            words = torch.tensor([*agent.tokenizer.encode(response), agent.tokenizer.eos_id])[:, None]
            log_p = agent.generation(output, words)[:, 0].log_softmax(-1)
            total = total - log_p.gather(1, words).sum()
    torch.testing.assert_close(loss.detach(), total.detach() / 6)


def test_it_learns_to_remember_and_answers(recall_env, recall_episodes):
    learner = make(recall_env(1), recall_episodes(40), batch_size=16, learning_rate=1e-2).learn(4000)
    assert learner.best_loss < 0.1
    assert learner.best_accuracy == 1.0
    for word in ("left", "right"):
        state = learner.agent.reply(f"remember the word . it is {word} .").state
        assert learner.agent.reply("which word was it .", state).text == word


def test_it_stops_when_the_held_out_loss_rises_and_goes_back(recall_env, recall_episodes):
    episodes = recall_episodes(20)
    wrong = [[first, (prompt, "left" if answer == "right" else "right")] for first, (prompt, answer) in episodes[15:]]
    learner = make(recall_env(1), episodes[:15] + wrong, held_out=0.25, batch_size=8, patience=3).learn(10_000)
    assert learner.finished
    assert learner.epoch == learner.best_epoch + 4
    assert learner.num_timesteps == learner.epoch * 30
    assert learner.evaluate()[0] == pytest.approx(learner.best_loss)
    assert learner.learn(100).num_timesteps == learner.epoch * 30


def test_held_out_episodes_have_no_part_in_learning(recall_env, recall_episodes):
    learner = make(recall_env(1), recall_episodes(20), held_out=0.25)
    assert (len(learner.training.lengths), len(learner.held_out.lengths)) == (15, 5)


@pytest.mark.parametrize("turns", [24, 100])
def test_saving_and_loading_goes_on_as_if_nothing_had_happened(recall_env, recall_episodes, tmp_path, turns):
    straight = make(recall_env(1), recall_episodes(20), batch_size=8, patience=99)
    straight.learn(turns).save(tmp_path)
    straight.learn(turns)
    resumed = Supervised.load(tmp_path, recall_env(1)).learn(turns)
    assert (resumed.epoch, resumed.best_loss) == (straight.epoch, straight.best_loss)
    for name, weight in straight.agent.state_dict().items():
        assert torch.equal(weight, resumed.agent.state_dict()[name]), name


def test_reinforcement_goes_on_from_the_same_weights(recall_env, recall_episodes):
    supervised = make(recall_env(1), recall_episodes(40), batch_size=16).learn(2000)
    learner = PPO(recall_env(4), agent=supervised.agent, n_steps=8, batch_size=32)
    assert learner.agent is supervised.agent
    learner.learn(32)
    assert supervised.agent.reply("remember the word . it is left .").text in ("left", "right")


def test_demonstrations_are_collected_for_a_task():
    learner = Supervised("pyagent/GoToObj-v0", demonstrations=4, hidden_size=8).learn(40)
    assert learner.num_timesteps >= 40


@pytest.mark.parametrize("episodes", [[], [[("a", "left")]], [[("a", "left")], []]])
def test_too_few_demonstrations_are_refused(recall_env, episodes):
    with pytest.raises(ValueError, match="demonstrations"):
        make(recall_env(1), episodes)


@pytest.mark.parametrize("keywords", [{"held_out": 1.0}, {"batch_size": 0}])
def test_bad_settings_are_named(recall_env, recall_episodes, keywords):
    with pytest.raises(ValueError, match=next(iter(keywords))):
        make(recall_env(1), recall_episodes(4), **keywords)


def test_another_learners_file_is_refused(recall_env, recall_episodes, tmp_path):
    make(recall_env(1), recall_episodes(4)).save(tmp_path)
    with pytest.raises(ValueError, match="Supervised"):
        PPO.load(tmp_path, recall_env(1))
    with pytest.raises(ValueError, match="env"):
        Supervised.load(tmp_path)
