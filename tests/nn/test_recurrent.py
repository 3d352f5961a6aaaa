"""RNN, GRU and LSTM against torch.nn's: weights, values, gradients; and the single step against the sequence."""

from itertools import product

import pytest
import torch

import pyagent.nn

CLASSES = ("RNN", "GRU", "LSTM")
KINDS = (("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("GRU", {}), ("LSTM", {}))
SIZES = {"input_size": 5, "hidden_size": 7}
SETTINGS = [{}, {"num_layers": 3}, {"bias": False, "num_layers": 2}, {"batch_first": True, "num_layers": 2}]
kinds = pytest.mark.parametrize(("name", "extra"), KINDS, ids=["RNN", "RNN-relu", "GRU", "LSTM"])


def pair(name, **settings):
    """Ours, and torch's with the same weights."""
    ours = getattr(pyagent.nn, name)(**SIZES, dtype=torch.float64, **settings)
    theirs = getattr(torch.nn, name)(**SIZES, dtype=torch.float64, **settings)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def states(model, B, scale=1.0):
    def draw():
        return scale * torch.randn(model.num_layers, B, model.hidden_size, dtype=torch.float64)

    return (draw(), draw()) if isinstance(model, (pyagent.nn.LSTM, torch.nn.LSTM)) else draw()


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def cloned(state):
    copies = tuple(x.clone().requires_grad_() for x in parts(state))
    return copies if isinstance(state, tuple) else copies[0]


@kinds
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("with_state", [False, True])
def test_values_and_gradients_equal_torch_nn(name, extra, settings, with_state):
    ours, theirs = pair(name, **extra, **settings)
    T, B = 6, 4
    x = torch.randn((B, T, 5) if ours.batch_first else (T, B, 5), dtype=torch.float64)
    initial = states(ours, B) if with_state else None
    results = []
    for model in (ours, theirs):
        leaf, state = x.clone().requires_grad_(), None if initial is None else cloned(initial)
        output, last = model(leaf, state)
        (output.sin().sum() + sum((h * h).sum() for h in parts(last))).backward()
        grads = [leaf.grad, *(() if state is None else (h.grad for h in parts(state)))]
        results.append([output, *parts(last), *grads, *(p.grad for p in model.parameters())])
    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted)


@kinds
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_one_seed_gives_the_initial_weights_of_torch_nn(name, extra, settings):
    torch.manual_seed(3)
    ours = getattr(pyagent.nn, name)(**SIZES, **extra, **settings)
    torch.manual_seed(3)
    theirs = getattr(torch.nn, name)(**SIZES, **extra, **settings)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value)
    theirs.reset_parameters()
    ours.load_state_dict(theirs.state_dict())
    assert torch.equal(ours.weight_hh_l0, theirs.weight_hh_l0)


def test_dropout_between_layers_is_torch_nns():
    ours, theirs = pair("GRU", num_layers=3, dropout=0.5)
    x = torch.randn(4, 2, 5, dtype=torch.float64)
    torch.testing.assert_close(ours.eval()(x)[0], theirs.eval()(x)[0])
    ours.train()
    torch.manual_seed(1)
    first = ours(x)[0]
    torch.manual_seed(1)
    assert torch.equal(ours(x)[0], first)
    assert not torch.equal(ours(x)[0], first)
    mean = torch.stack([ours(x)[0] for _ in range(400)]).mean(0)
    assert (mean - ours.eval()(x)[0]).abs().mean() < 0.05


@kinds
@pytest.mark.parametrize("L", [1, 3])
@pytest.mark.parametrize("frozen", [False, True])
def test_step_is_a_sequence_of_one(name, extra, L, frozen):
    model = getattr(pyagent.nn, name)(
        **SIZES, num_layers=L, dropout=0.9 if L > 1 else 0.0, dtype=torch.float64, **extra
    )
    depth = model.frozen() if frozen else torch.enable_grad()
    with depth:
        for B, with_state, with_reset in product((0, 1, 2, 3, 4, 5, 6, 9), (False, True), (False, True)):
            x = torch.randn(B, 5, dtype=torch.float64, requires_grad=True)
            state = states(model, B) if with_state else None
            kept = None if state is None else [h.clone() for h in parts(state)]
            reset = torch.rand(B) < 0.5 if with_reset else None
            output, after = model.step(x, state, reset=reset)
            sequence, last = model.eval()(x[None], state, reset=None if reset is None else reset[None])
            model.train()
            torch.testing.assert_close(output, sequence[0].detach())
            assert not output.requires_grad
            for got, wanted in zip(parts(after), parts(last), strict=True):
                assert not got.requires_grad
                torch.testing.assert_close(got, wanted.detach())
            assert kept is None or all(torch.equal(h, k) for h, k in zip(parts(state), kept, strict=True))


def test_steps_along_a_sequence_are_the_sequence():
    model = pyagent.nn.LSTM(5, 7, num_layers=2, dtype=torch.float64)
    x, reset = torch.randn(9, 3, 5, dtype=torch.float64), torch.rand(9, 3) < 0.3
    output, last = model(x, reset=reset)
    state = None
    with model.frozen():
        for t in range(9):
            h, state = model.step(x[t], state, reset=reset[t])
            torch.testing.assert_close(h, output[t].detach())
    for got, wanted in zip(state, last, strict=True):
        torch.testing.assert_close(got, wanted.detach())


def test_step_takes_what_is_not_contiguous_and_what_wants_gradients():
    model = pyagent.nn.GRU(5, 7)
    x, h = torch.randn(5, 3).t().requires_grad_(), torch.randn(1, 7, 3).transpose(1, 2).requires_grad_()
    wanted, _ = model(x[None], h)
    output, after = model.step(x, h)
    torch.testing.assert_close(output, wanted[0].detach())
    assert not output.requires_grad
    assert not after.requires_grad


@pytest.mark.parametrize("name", CLASSES)
def test_works_in_inference_mode_and_under_no_grad(name):
    model = getattr(pyagent.nn, name)(5, 7)
    x = torch.randn(3, 2, 5)
    wanted = model(x)[0].detach()
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(model(x)[0], wanted)
            model.step(x[0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("name", [pytest.param("GRU", marks=pytest.mark.slow_compile), "LSTM"])
def test_compiles_into_one_graph_with_its_gradient(name):
    torch.compiler.reset()
    model = getattr(pyagent.nn, name)(**SIZES, num_layers=2, dtype=torch.float64)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x, reset = torch.randn(4, 3, 5, dtype=torch.float64), torch.rand(4, 3) < 0.3
    grads = []
    for f in (model, compiled):
        model.zero_grad()
        f(x, states_of_ones(model, 3), reset=reset, lengths=torch.tensor([4, 0, 2]))[0].sum().backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    for got, wanted in zip(*grads, strict=True):
        torch.testing.assert_close(got, wanted)


def states_of_ones(model, B):
    ones = torch.ones(model.num_layers, B, model.hidden_size, dtype=torch.float64)
    return (ones, ones) if isinstance(model, pyagent.nn.LSTM) else ones


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"bidirectional": True}, NotImplementedError, "bidirectional"),
        ({"proj_size": 3}, NotImplementedError, "proj_size"),
        ({"input_size": -1}, ValueError, "input_size: got -1"),
        ({"hidden_size": 0}, ValueError, "hidden_size: got 0"),
        ({"hidden_size": 2.5}, ValueError, r"hidden_size: got 2\.5"),
        ({"num_layers": 0}, ValueError, "num_layers: got 0"),
        ({"dropout": 1.5}, ValueError, r"dropout: got 1\.5"),
        ({"dropout": float("nan")}, ValueError, "dropout: got nan"),
        ({"dtype": torch.float16}, TypeError, r"dtype: got torch\.float16"),
    ],
)
def test_bad_settings_name_the_argument(name, settings, error, message):
    with pytest.raises(error, match=message):
        getattr(pyagent.nn, name)(**{**SIZES, **settings})


def test_bad_nonlinearity():
    with pytest.raises(ValueError, match="nonlinearity: got 'elu'"):
        pyagent.nn.RNN(5, 7, nonlinearity="elu")


GOOD_H = torch.zeros(2, 3, 7)
META = torch.device("meta")


@pytest.mark.parametrize("name", ["GRU", "LSTM"])
@pytest.mark.parametrize("call", ["forward", "step", "frozen step"])
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"input": torch.zeros(4, 3, 6)}, ValueError, "input: got shape"),
        ({"input": torch.zeros(3)}, ValueError, "input: got shape"),
        ({"input": torch.zeros(4, 3, 5).double()}, TypeError, "input: got float64, want float32"),
        ({"input": torch.zeros(4, 3, 5, device=META)}, ValueError, "input: got a tensor on meta"),
        ({"input": None}, TypeError, "input: got NoneType"),
        ({"input": [[1.0]]}, TypeError, "input: got list"),
        ({"state": torch.zeros(1, 3, 7)}, ValueError, "state.*: got shape"),
        ({"state": torch.zeros(3, 3, 7)}, ValueError, "state.*: got shape"),
        ({"state": torch.zeros(2, 4, 7)}, ValueError, "state.*: got shape"),
        ({"state": torch.zeros(2, 7)}, ValueError, "state.*: got shape"),
        ({"state": GOOD_H.double()}, TypeError, "state.*: got float64"),
        ({"state": torch.zeros(2, 3, 7, device=META)}, ValueError, "state.*: got a tensor on meta"),
        ({"state": "zeros"}, TypeError, "state.*: got str"),
        ({"state": ()}, TypeError, "state.*: got tuple"),
        ({"reset": torch.zeros(4, 2, dtype=torch.bool)}, ValueError, "reset: got shape"),
        ({"reset": torch.zeros(4, 3)}, TypeError, "reset: got float32, want bool"),
        ({"reset": torch.zeros(4, 3, dtype=torch.bool, device=META)}, ValueError, "reset: got a tensor on meta"),
        ({"reset": [True, False, True]}, TypeError, "reset: got list"),
    ],
)
def test_bad_input_names_the_argument(name, call, changes, error, message):
    model = getattr(pyagent.nn, name)(**SIZES, num_layers=2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    arguments = {"input": torch.zeros(4, 3, 5), "state": None, "reset": None, **changes}
    if isinstance(arguments["state"], torch.Tensor) and name == "LSTM":
        arguments["state"] = (GOOD_H, arguments["state"])
    if call != "forward":
        for key in ("input", "reset"):
            x = arguments[key]
            arguments[key] = x[0] if isinstance(x, torch.Tensor) else x
    function = model if call == "forward" else model.step
    with pytest.raises(error, match=message), model.frozen() if call == "frozen step" else torch.enable_grad():
        function(**arguments)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        (torch.tensor([0, 5, 1]), IndexError, "lengths: got 5, want 0 to 4"),
        (torch.tensor([-1, 4, 1]), IndexError, "lengths: got -1, want 0 to 4"),
        (torch.tensor([4, 4]), ValueError, "lengths: got shape"),
        (torch.tensor([4, 4, 4], dtype=torch.int32), TypeError, "lengths: got int32, want int64"),
        ([4, 4, 4], TypeError, "lengths: got list"),
    ],
)
def test_bad_lengths(lengths, error, message):
    with pytest.raises(error, match=message):
        pyagent.nn.GRU(**SIZES)(torch.zeros(4, 3, 5), lengths=lengths)


@pytest.mark.parametrize("state", [GOOD_H, (GOOD_H,), (GOOD_H, GOOD_H, GOOD_H), [GOOD_H], {"h": GOOD_H}], ids=str)
def test_an_lstm_wants_both_states(state):
    model = pyagent.nn.LSTM(**SIZES, num_layers=2)
    for call in (lambda: model(torch.zeros(4, 3, 5), state), lambda: model.step(torch.zeros(3, 5), state)):
        with pytest.raises(TypeError, match="state: got"):
            call()
