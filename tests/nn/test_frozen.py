"""Outside `frozen()` a step reads the weights as they are, however they were changed; inside, what was packed."""

import copy
import io
import pickle

import pytest
import torch
from stable_baselines3.common.utils import polyak_update

import pyagent.nn

BUILD = {
    "GRU": lambda: pyagent.nn.GRU(5, 7, num_layers=2),
    "LSTM": lambda: pyagent.nn.LSTM(5, 7),
    "EmbeddingRNN": lambda: pyagent.nn.EmbeddingRNN(11, 4, 6),
    "EmbeddingLSTM": lambda: pyagent.nn.EmbeddingLSTM(11, 4, 6, num_layers=2),
}
models = pytest.mark.parametrize("name", BUILD)


def acting_input(model):
    return torch.tensor([3, 8, 3]) if hasattr(model, "embedding") else torch.ones(3, 5)


def state_of(model):
    core = getattr(model, "rnn", model)
    h = torch.full((core.num_layers, 3, core.hidden_size), 0.5)
    return (h, h) if isinstance(core, pyagent.nn.LSTM) else h


def act(model):
    return model.step(acting_input(model), state_of(model))[0]


def sequence(model):
    return model(acting_input(model)[None], state_of(model))[0][0].detach()


def polyak(model):
    polyak_update(BUILD[type(model).__name__]().parameters(), model.parameters(), tau=0.5)


def data_add(model):
    for weight in model.parameters():
        weight.data.add_(0.1)


def load(model):
    model.load_state_dict(BUILD[type(model).__name__]().state_dict())


def shared_memory(model):
    model.share_memory()
    for weight in model.parameters():
        weight.detach().numpy()[...] += 0.1


def adam(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    model(acting_input(model)[None])[0].sum().backward()
    optimizer.step()


def replaced(model):
    core = getattr(model, "rnn", model)
    core.weight_hh_l0 = torch.nn.Parameter(core.weight_hh_l0.detach() + 0.1)


def embedding_edited(model):
    weight = model.embedding.weight if hasattr(model, "embedding") else model.weight_ih_l0
    weight.data[:] += 0.1


@pytest.mark.parametrize("change", [polyak, data_add, load, shared_memory, adam, replaced, embedding_edited])
@models
def test_every_change_of_the_weights_takes_effect_at_the_next_step(name, change):
    model = BUILD[name]()
    before = act(model)
    change(model)
    after = act(model)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, sequence(model))
    with model.frozen():
        torch.testing.assert_close(act(model), after)


@models
def test_inside_changes_go_unseen_and_leaving_drops_what_was_kept(name):
    model = BUILD[name]()
    before = act(model)
    with model.frozen() as same:
        assert same is model
        kept = act(model)
        torch.testing.assert_close(kept, before)
        data_add(model)
        assert torch.equal(act(model), kept)
        with model.frozen():
            assert torch.equal(act(model), kept)
        assert torch.equal(act(model), kept)
    torch.testing.assert_close(act(model), sequence(model))
    assert not torch.allclose(act(model), before)
    with model.frozen():
        torch.testing.assert_close(act(model), sequence(model))


@models
def test_an_error_inside_drops_it_too(name):
    model = BUILD[name]()

    def fail():
        with model.frozen():
            raise KeyError("of the caller")

    with pytest.raises(KeyError):
        fail()
    data_add(model)
    torch.testing.assert_close(act(model), sequence(model))


@models
def test_nothing_kept_leaves_the_module(name):
    model = BUILD[name]()
    plain = pickle.dumps(model)
    keys = list(model.state_dict())
    with model.frozen():
        assert list(model.state_dict()) == keys
        assert len(pickle.dumps(model)) == len(plain)
        copies = [copy.deepcopy(model), copy.copy(model), pickle.loads(pickle.dumps(model))]
        saved = io.BytesIO()
        torch.save(model, saved)
        copies.append(torch.load(io.BytesIO(saved.getvalue()), weights_only=False))
        for other in copies[:1] + copies[2:]:
            before = act(other)
            data_add(other)
            assert not torch.allclose(act(other), before)
            with other.frozen():
                torch.testing.assert_close(act(other), sequence(other))
    act(model)


@models
def test_forward_inside_reads_the_weights_and_trains(name):
    model = BUILD[name]()
    with model.frozen():
        before = sequence(model)
        data_add(model)
        assert not torch.allclose(sequence(model), before)
        adam(model)
    torch.testing.assert_close(act(model), sequence(model))


def test_moving_to_another_dtype_between_steps():
    model = BUILD["LSTM"]()
    act(model)
    model.double()
    state = tuple(h.double() for h in state_of(model))
    output, _ = model.step(acting_input(model).double(), state)
    assert output.dtype == torch.float64
