"""What must hold for any sequence: cut, permuted, packed, reset, shortened, looked up."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pyagent.nn

E, H, V = 3, 5, 9
names = st.sampled_from(("RNN", "GRU", "LSTM"))
sizes = st.tuples(st.integers(1, 7), st.integers(1, 5))
seeds = st.integers(0, 2**16)
repeated = settings(max_examples=25)


def core(name, seed, layers=2):
    torch.manual_seed(seed)
    return getattr(pyagent.nn, name)(E, H, num_layers=layers, dtype=torch.float64)


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def lanes(state, index):
    """The state of some lanes."""
    chosen = tuple(x[:, index] for x in parts(state))
    return chosen if isinstance(state, tuple) else chosen[0]


def gradients(model, loss, *inputs):
    return torch.autograd.grad(loss, [*model.parameters(), *inputs], materialize_grads=True)


def assert_close(got, wanted):
    for x, y in zip(got, wanted, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-12)


@given(names, sizes, seeds, st.data())
@repeated
def test_a_split_sequence_with_carried_state_is_the_whole(name, size, seed, data):
    (T, B), model = size, core(name, seed)
    at = data.draw(st.integers(0, T))
    x, reset = torch.randn(T, B, E, dtype=torch.float64, requires_grad=True), torch.rand(T, B) < 0.3
    whole, last = model(x, reset=reset)
    first, carried = model(x[:at], reset=reset[:at])
    second, end = model(x[at:], carried, reset=reset[at:])
    assert_close([torch.cat((first, second)), *parts(end)], [whole, *parts(last)])
    weigh = torch.randn(T, B, H, dtype=torch.float64)
    split_loss = (torch.cat((first, second)) * weigh).sum() + sum(h.sum() for h in parts(end))
    whole_loss = (whole * weigh).sum() + sum(h.sum() for h in parts(last))
    assert_close(gradients(model, split_loss, x), gradients(model, whole_loss, x))


@given(names, sizes, seeds)
@repeated
def test_permuting_the_batch_permutes_the_result_bit_for_bit(name, size, seed):
    (T, B), model = size, core(name, seed)
    x, reset, lengths = torch.randn(T, B, E, dtype=torch.float64), torch.rand(T, B) < 0.3, torch.randint(0, T + 1, (B,))
    output, last = model(x, reset=reset, lengths=lengths)
    order = torch.randperm(B)
    permuted, permuted_last = model(x[:, order], reset=reset[:, order], lengths=lengths[order])
    assert torch.equal(permuted, output[:, order])
    assert all(torch.equal(p, h[:, order]) for p, h in zip(parts(permuted_last), parts(last), strict=True))


@given(names, sizes, seeds, st.data())
@repeated
def test_a_reset_is_a_fresh_state_in_value_and_gradient(name, size, seed, data):
    (T, B), model = size, core(name, seed)
    at = data.draw(st.integers(0, T - 1))
    x = torch.randn(T, B, E, dtype=torch.float64, requires_grad=True)
    reset = torch.zeros(T, B, dtype=torch.bool)
    reset[at] = True
    output, last = model(x, lanes(model(x)[1], slice(None)), reset=reset)
    fresh, fresh_last = model(x[at:])
    assert_close([output[at:], *parts(last)], [fresh, *parts(fresh_last)])
    loss, fresh_loss = output[at:].sin().sum(), fresh.sin().sum()
    assert_close(gradients(model, loss, x), gradients(model, fresh_loss, x))


@given(names, st.lists(st.integers(1, 5), min_size=1, max_size=4), seeds)
@repeated
def test_packed_episodes_are_each_alone(name, durations, seed):
    model = core(name, seed)
    episodes = [torch.randn(duration, 1, E, dtype=torch.float64) for duration in durations]
    x = torch.cat(episodes)
    starts = torch.tensor([0, *durations[:-1]]).cumsum(0)
    reset = torch.zeros(len(x), 1, dtype=torch.bool)
    reset[starts] = True
    packed, last = model(x, reset=reset)
    alone = [model(episode) for episode in episodes]
    assert_close([packed, *parts(last)], [torch.cat([output for output, _ in alone]), *parts(alone[-1][1])])
    alone_loss = sum(output.sin().sum() for output, _ in alone)
    assert_close(gradients(model, packed.sin().sum()), gradients(model, alone_loss))


@given(names, sizes, seeds)
@repeated
def test_lengths_are_sequences_cut_short(name, size, seed):
    (T, B), model = size, core(name, seed)
    x, lengths = torch.randn(T, B, E, dtype=torch.float64), torch.randint(0, T + 1, (B,))
    _, initial = model(torch.randn(1, B, E, dtype=torch.float64))
    initial = lanes(initial, slice(None))
    output, last = model(x, initial, lengths=lengths)
    loss, alone_loss = output.sin().sum() + sum(h.cos().sum() for h in parts(last)), 0
    for b, length in enumerate(lengths.tolist()):
        one = slice(b, b + 1)
        alone, end = model(x[:length, one], lanes(initial, one))
        assert_close([output[:length, one]], [alone])
        assert_close(parts(lanes(last, one)), parts(end))
        assert output[length:, b].abs().sum() == 0
        alone_loss = alone_loss + alone.sin().sum() + sum(h.cos().sum() for h in parts(end))
    weights = list(model.parameters())
    got = torch.autograd.grad(loss, weights, retain_graph=True)
    assert_close(got, torch.autograd.grad(alone_loss, weights))


@given(names, sizes, seeds)
@repeated
def test_tokens_in_are_an_embedding_lookup_then_dense(name, size, seed):
    torch.manual_seed(seed)
    model = getattr(pyagent.nn, f"Embedding{name}")(V, E, H, dtype=torch.float64)
    tokens, reset = torch.randint(0, V, size), torch.rand(size) < 0.3
    output, last = model(tokens, reset=reset)
    dense, dense_last = model.rnn(model.embedding(tokens), reset=reset)
    assert_close([output, *parts(last)], [dense, *parts(dense_last)])
    assert_close(gradients(model, output.sin().sum()), gradients(model, dense.sin().sum()))
