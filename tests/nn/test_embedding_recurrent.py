"""Tokens in, hidden states out: equal to an embedding lookup followed by the dense layer."""

import pytest
import torch

import pyagent.nn

NAMES = ("RNN", "GRU", "LSTM")
V, E, H = 11, 4, 6
# Fewer tokens than half the vocabulary (distinct ones are looked for), more (the whole table is projected), none.
SHAPES = [(2, 2), (6, 5), (0, 3), (3, 0), (1, 1)]


def layer(name, vocabulary=V, **settings):
    return getattr(pyagent.nn, f"Embedding{name}")(vocabulary, E, H, dtype=torch.float64, **settings)


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def results(model, run):
    model.zero_grad()
    output, last = run()
    (output.sin().sum() + sum((h * h).sum() for h in parts(last))).backward()
    grads = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]
    return [output.detach(), *(h.detach() for h in parts(last)), *grads]


@pytest.mark.parametrize("settings", [{}, {"num_layers": 2, "bias": False}, {"padding_idx": 3}], ids=str)
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_is_lookup_then_dense(name, shape, dtype, settings):
    model = layer(name, **settings)
    tokens = torch.randint(0, V, shape, dtype=dtype)
    reset = torch.rand(shape) < 0.3
    lengths = torch.randint(0, shape[0] + 1, shape[1:])
    got = results(model, lambda: model(tokens, reset=reset, lengths=lengths))
    dense = results(model, lambda: model.rnn(model.embedding(tokens), reset=reset, lengths=lengths))
    for x, y in zip(got, dense, strict=True):
        torch.testing.assert_close(x, y)


@pytest.mark.parametrize("name", NAMES)
def test_equals_torch_nn(name):
    ours = layer(name, num_layers=2, batch_first=True)
    embedding = torch.nn.Embedding(V, E, dtype=torch.float64)
    core = getattr(torch.nn, name)(E, H, num_layers=2, batch_first=True, dtype=torch.float64)
    theirs = torch.nn.ModuleDict({"embedding": embedding, "rnn": core})
    theirs.load_state_dict(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())
    tokens = torch.randint(0, V, (3, 7))
    wanted = results(theirs, lambda: core(embedding(tokens)))
    for x, y in zip(results(ours, lambda: ours(tokens)), wanted, strict=True):
        torch.testing.assert_close(x, y)


def test_padding_takes_no_gradient():
    model = layer("GRU", padding_idx=2)
    model(torch.tensor([[2, 1], [2, 2]]))[0].sum().backward()
    assert model.embedding.weight.grad[2].abs().sum() == 0
    assert model.embedding.weight.grad[1].abs().sum() > 0


def test_a_frozen_embedding_takes_no_gradient_and_the_core_still_does():
    for shape in SHAPES[:2]:
        model = layer("LSTM")
        model.embedding.weight.requires_grad_(False)
        model(torch.randint(0, V, shape))[0].sum().backward()
        assert model.embedding.weight.grad is None
        assert model.rnn.weight_ih_l0.grad.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("B", [0, 1, 3, 8])
def test_step_is_a_sequence_of_one(name, frozen, B):
    model = layer(name, num_layers=2)
    tokens, reset = torch.randint(0, V, (B,), dtype=torch.int32), torch.rand(B) < 0.5
    _, state = model(torch.randint(0, V, (3, B)))
    wanted, last = model(tokens[None], state, reset=reset[None])
    with model.frozen() if frozen else torch.enable_grad():
        output, after = model.step(tokens, state, reset=reset)
    assert not output.requires_grad
    torch.testing.assert_close(output, wanted[0].detach())
    for x, y in zip(parts(after), parts(last), strict=True):
        torch.testing.assert_close(x, y.detach())


def test_step_without_a_table_too_large_to_keep(monkeypatch):
    monkeypatch.setattr("pyagent.nn.embedding_recurrent.TABLE_BYTES", 0)
    model = layer("GRU")
    tokens = torch.tensor([1, 5])
    wanted, _ = model.step(tokens)
    with model.frozen():
        torch.testing.assert_close(model.step(tokens)[0], wanted)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize(
    ("shape", "backend"),
    [
        (SHAPES[0], "aot_eager"),
        pytest.param(SHAPES[1], "aot_eager", marks=pytest.mark.slow_compile),
        pytest.param(SHAPES[0], "inductor", marks=pytest.mark.slow_compile),
        pytest.param(SHAPES[1], "inductor", marks=pytest.mark.slow_compile),
    ],
)
def test_compiles_into_one_graph_with_its_gradient(shape, backend):
    torch.compiler.reset()
    model = layer("LSTM")
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    for seed in (0, 1):
        tokens = torch.randint(0, V, shape, generator=torch.Generator().manual_seed(seed))
        wanted = results(model, lambda tokens=tokens: model(tokens))
        for x, y in zip(results(model, lambda tokens=tokens: compiled(tokens)), wanted, strict=True):
            torch.testing.assert_close(x, y)


META = torch.device("meta")
BAD_TOKENS = [
    (torch.tensor([[0, V], [1, 2]]), IndexError, f"input: got {V}, want 0 to {V - 1}"),
    (torch.tensor([[0, 1], [-1, 2]]), IndexError, f"input: got -1, want 0 to {V - 1}"),
    (torch.tensor([[2**62, 1], [-(2**62), 2]]), IndexError, "input: got -4611686018427387904"),
    (torch.tensor([[-1, 1], [V, 2]], dtype=torch.int32), IndexError, "input: got -1"),
    (torch.zeros(2, 2), TypeError, "input: got float32, want int32 or int64"),
    (torch.zeros(2, 2, 1, dtype=torch.int64), ValueError, "input: got shape"),
    (torch.zeros(2, 2, dtype=torch.int64, device=META), ValueError, "input: got a tensor on meta"),
    ([[1, 2]], TypeError, "input: got list"),
    (None, TypeError, "input: got NoneType"),
]


@pytest.mark.parametrize("vocabulary", [V, 3], ids=["distinct", "table"])
@pytest.mark.parametrize(("tokens", "error", "message"), BAD_TOKENS)
def test_bad_tokens_in_a_sequence(vocabulary, tokens, error, message):
    # With the small vocabulary the tokens themselves index the projected table.
    if vocabulary != V and isinstance(tokens, torch.Tensor) and error is IndexError:
        tokens, message = torch.cat([tokens.clamp(max=3)] * 2), "input: got (3, want 0 to 2|-)"
    with pytest.raises(error, match=message):
        layer("LSTM", vocabulary)(tokens)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(("tokens", "error", "message"), BAD_TOKENS)
def test_bad_tokens_in_a_step(frozen, tokens, error, message):
    model = layer("LSTM")
    if isinstance(tokens, torch.Tensor):
        tokens = tokens.flatten() if error is IndexError else tokens[0]
    with model.frozen() if frozen else torch.enable_grad(), pytest.raises(error, match=message):
        model.step(tokens)


@pytest.mark.parametrize("call", ["forward", "step", "frozen step"])
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"state": torch.zeros(1, 3, H).double()}, ValueError, r"state: got shape \(1, 3, 6\), want \[1, 2, 6\]"),
        ({"state": torch.zeros(1, 2, H)}, TypeError, "state: got float32, want float64"),
        ({"state": torch.zeros(1, 2, H, device=META).double()}, ValueError, "state: got a tensor on meta"),
        ({"state": [0]}, TypeError, "state: got list"),
        ({"reset": torch.zeros(2, 3, dtype=torch.bool)}, ValueError, "reset: got shape"),
        ({"reset": torch.zeros(2, 2)}, TypeError, "reset: got float32"),
    ],
)
def test_bad_state_and_reset(call, changes, error, message):
    model = layer("GRU")
    arguments = {"input": torch.ones(2, 2, dtype=torch.int64), "reset": None, **changes}
    if call != "forward":
        arguments |= {key: x[0] for key, x in arguments.items() if key != "state" and x is not None}
    function = model if call == "forward" else model.step
    with model.frozen() if call == "frozen step" else torch.enable_grad(), pytest.raises(error, match=message):
        function(**arguments)


def test_bad_lengths_and_settings():
    with pytest.raises(IndexError, match="lengths: got 3, want 0 to 2"):
        layer("GRU")(torch.ones(2, 2, dtype=torch.int64), lengths=torch.tensor([3, 0]))
    for settings, message in (({"num_layers": 0}, "num_layers"), ({"dropout": -1.0}, "dropout")):
        with pytest.raises(ValueError, match=message):
            layer("GRU", **settings)
    for sizes, message in (((-1, 4, 6), "num_embeddings"), ((5, -4, 6), "embedding_dim"), ((5, 4, 0), "hidden_size")):
        with pytest.raises(ValueError, match=f"{message}: got"):
            pyagent.nn.EmbeddingLSTM(*sizes)
    with pytest.raises(ValueError, match="padding_idx: got 11"):
        layer("GRU", padding_idx=V)
