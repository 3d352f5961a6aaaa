"""The ops of CUDA tensors beside the same ops of CPU tensors; `make gpu-test` runs them where there is a GPU."""

import pytest
import torch

import pyagent
from pyagent import native, nn, ops

pytestmark = pytest.mark.gpu
CELLS = {"tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
EMBEDDINGS = {"tanh": nn.EmbeddingRNN, "gru": nn.EmbeddingGRU, "lstm": nn.EmbeddingLSTM}


@pytest.fixture(autouse=True)
def _gpu():
    if not torch.cuda.is_available():
        pytest.skip(f"torch {torch.__version__} sees no GPU")
    if native.cuda is None:
        pytest.skip(f"the CUDA half is {native.cuda_missing_because}")
    yield
    pyagent.cuda.check()


def both(function, *arguments):
    """What a function of tensors gives on the GPU, moved to the CPU, and on the CPU."""

    def on(device):
        given = [x.to(device) if isinstance(x, torch.Tensor) else x for x in arguments]
        results = function(*given)
        return [x.cpu() for x in (results if isinstance(results, tuple) else (results,))]

    return on("cuda"), on("cpu")


def close(function, *arguments, tolerance=1e-5):
    for got, wanted in zip(*both(function, *arguments), strict=True):
        torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


def gradients(make, device, *inputs, dtype=torch.float32):
    torch.manual_seed(0)
    module = make().to(device)
    with torch.autocast(device, torch.bfloat16, enabled=dtype == torch.bfloat16):
        output, state = module(*(x.to(device) for x in inputs[:1]), reset=inputs[1].to(device))
    h_n = state[0] if isinstance(state, tuple) else state
    loss = (output.float().square().sum() + h_n.float().sum()) / output.numel()
    return [output, *torch.autograd.grad(loss, list(module.parameters()))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(5, 3, 7), (33, 17, 64), (16, 64, 256), (9, 130, 1024)])
@pytest.mark.parametrize("vocabulary", [None, 11, 40_000])
@pytest.mark.parametrize("cell", CELLS)
def test_layers(cell, vocabulary, shape, dtype):
    T, B, H = shape
    reset = torch.rand(T, B) < 0.1
    if vocabulary is None:
        inputs, make = torch.randn(T, B, H), lambda: CELLS[cell](H, H, num_layers=2)
    else:
        inputs, make = torch.randint(vocabulary, (T, B)), lambda: EMBEDDINGS[cell](vocabulary, H, H)
    found = gradients(make, "cuda", inputs, reset, dtype=dtype)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for got, wanted in zip(found, gradients(make, "cpu", inputs, reset), strict=True):
        error = (got.float().cpu() - wanted).abs().max()
        assert error <= tolerance * wanted.abs().max().clamp(min=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (128, 64), (1000, 33)])
def test_returns(shape, dtype):
    T, B, A = *shape, 5
    r_t, v_t, rho = (torch.randn(T, B, dtype=dtype) for _ in range(3))
    discount_t, v, cut = torch.rand(T, B, dtype=dtype), torch.randn(T + 1, B, dtype=dtype), torch.rand(T, B) < 0.1
    close(lambda *x: ops.discounted_returns(*x[:3], truncated=x[3], v_final=x[4]), r_t, discount_t, v[0], cut, v_t)
    close(lambda *x: ops.n_step_returns(*x, 3), r_t, discount_t, v_t)
    close(lambda *x: ops.lambda_returns(*x, 0.9), r_t, discount_t, v_t)
    close(lambda *x: ops.gae(*x[:3], 0.9, truncated=x[3]), r_t, discount_t, v, cut)
    close(lambda *x: tuple(ops.vtrace(*x)), r_t, discount_t, v, rho.exp())
    q, pi = torch.randn(2, T, B, A, dtype=dtype), torch.randn(T, B, A, dtype=dtype).softmax(-1)
    a, mu = torch.randint(A, (2, T, B)), torch.rand(T, B, dtype=dtype) + 0.1
    close(lambda *x: ops.retrace(*x, 0.9), q[0], a[0], r_t, discount_t, q[1], a[1], pi, mu)


def test_losses_and_choices():
    T, B, A = 9, 5, 18
    q_tm1, q_t, selector = torch.randn(3, T, B, A)
    a_tm1, r_t, discount_t = torch.randint(A, (T, B)), torch.randn(T, B), torch.rand(T, B)

    def loss(*x):
        q = x[0].detach().requires_grad_()
        found = ops.q_learning_loss(q, *x[1:], huber_delta=1.0, rescale_epsilon=1e-3)
        return found.loss, found.td_error, torch.autograd.grad(found.loss, q)[0]

    close(loss, q_tm1, a_tm1, r_t, discount_t, q_t, selector)
    for function in (lambda x: ops.epsilon_greedy(x, 0.0), lambda x: ops.sample_categorical(x, top_k=1)):
        got, wanted = both(function, q_t)
        assert torch.equal(got[0], wanted[0])


def test_head():
    x, weight, target = torch.randn(70, 33), torch.randn(513, 33), torch.randint(513, (70,))

    def loss(x, weight, target):
        x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
        found = ops.linear_cross_entropy(x, weight, target)
        return found, *torch.autograd.grad(found, (x, weight))

    close(loss, x, weight, target, tolerance=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_q_update(dtype):
    S, A, N = 50, 6, 4096
    q_table, reward = torch.randn(S, A, dtype=dtype), torch.randn(N, dtype=dtype)
    state, next_state = torch.randint(S, (2, N))
    action = torch.randint(A, (N,))

    def update(q_table, *batch):
        q_table = q_table.clone()
        ops.q_update(q_table, *batch, 0.9, 0.5)
        return q_table

    got, wanted = both(update, q_table, state, action, reward, next_state)
    assert torch.equal(got[0], wanted[0])


@pytest.mark.parametrize("cell", CELLS)
def test_steps_are_the_sequence(cell):
    module = EMBEDDINGS[cell](11, 16, 32, num_layers=2).cuda()
    tokens, reset = torch.randint(11, (6, 5), device="cuda"), torch.rand(6, 5, device="cuda") < 0.2
    wanted, _ = module(tokens, reset=reset)
    state, got = None, []
    with module.frozen():
        for t in range(6):
            output, state = module.step(tokens[t], state, reset=reset[t])
            got.append(output)
    torch.testing.assert_close(torch.stack(got), wanted, rtol=1e-5, atol=1e-5)


def test_a_cuda_graph_and_the_compiler_give_the_same():
    module, tokens = nn.EmbeddingLSTM(40_000, 64, 64).cuda(), torch.randint(11, (8, 16), device="cuda")
    wanted, _ = module(tokens)
    torch.testing.assert_close(torch.compile(module)(tokens)[0], wanted, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        module(tokens)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output, _ = module(tokens)
        graph.replay()
    torch.testing.assert_close(output, wanted, rtol=1e-5, atol=1e-5)


def test_a_bad_token_is_raised_by_check():
    module = nn.EmbeddingGRU(11, 8, 8).cuda()
    output, _ = module(torch.tensor([[3], [11]], device="cuda"))
    assert output[1].isnan().all()
    assert not output[0].isnan().any()
    with pytest.raises(IndexError, match="row_index"):
        pyagent.cuda.check()
