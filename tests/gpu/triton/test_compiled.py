"""Every kernel, as its launcher launches it at a typical size, compiled for GPUs that are not here.

Nothing may spill, all must fit, no offset into a tensor may be counted in 32 bits, no sum may be an atomic of floating
point (their order is chance), and products of 16 bits must be the tensor cores' and those of float32 must not.
"""

import re

import pytest
import torch

from pyagent.kernels.discounted_returns import discounted_returns
from pyagent.kernels.epsilon_greedy import epsilon_greedy
from pyagent.kernels.gae import gae
from pyagent.kernels.lambda_returns import lambda_returns
from pyagent.kernels.linear_cross_entropy import linear_cross_entropy_forward
from pyagent.kernels.n_step_returns import n_step_returns
from pyagent.kernels.ppo_loss import ppo_loss_backward, ppo_loss_forward
from pyagent.kernels.recurrence_step import recurrence_step
from pyagent.kernels.retrace import retrace
from pyagent.kernels.sample_categorical import sample_categorical
from pyagent.kernels.td_loss import bootstrap_value, td_loss_backward, td_loss_forward
from pyagent.kernels.vtrace import vtrace
from tests.gpu.triton.compilation import SHARED_LIMIT, TARGETS, launches, resources

T, B, A, V, H, N = 128, 64, 18, 32768, 512, 2048
TENSOR_CORES = {
    "sm_80": r"\bmma\.sync",
    "sm_90": r"\bwgmma\.mma",
    "sm_100": r"\btcgen05\.mma",
    "gfx942": r"\bv_mfma_f32_\w+_bf16",
}


def meta(*shape, dtype):
    return torch.empty(shape, dtype=dtype, device="meta")


def flags(*shape):
    return meta(*shape, dtype=torch.bool)


def ids(*shape):
    return meta(*shape, dtype=torch.int64)


def uniform(*shape):
    return meta(*shape, dtype=torch.float64)


def layers(f, gates, inputs):
    return [f(gates * 256, inputs), f(gates * 256, 256), f(gates * 256), f(gates * 256)]


def cases(f):
    """Launchers and their arguments, of tensors made by f(*shape)."""
    steps, truncated, q, rows = (f(T, B), f(T, B)), flags(T, B), f(T, B, A), T * B
    policy = (f(rows, A), f(rows), ids(rows), f(rows))
    return {
        "discounted_returns": (discounted_returns, *steps, f(B), truncated, f(T, B)),
        "n_step_returns": (n_step_returns, *steps, f(T, B), 5, truncated),
        "n_step_returns, long": (n_step_returns, *steps, f(T, B), 100),
        "lambda_returns": (lambda_returns, *steps, f(T, B), 0.9, truncated),
        "gae": (gae, *steps, f(T + 1, B), 0.9, truncated, f(T, B)),
        "gae, one step": (gae, f(1, B), f(1, B), f(2, B), 0.9),
        "vtrace": (vtrace, *steps, f(T + 1, B), f(T, B), 0.9, 1.0, 1.0, truncated, f(T, B)),
        "retrace": (retrace, *steps, q, ids(T, B), q, f(T, B), 0.9, truncated),
        "td_loss": (td_loss_forward, q, ids(T, B), *steps, q, q, f(B), 1.0, 1e-3),
        "td_loss, targets": (td_loss_forward, q, ids(T, B), f(T, B), *[None] * 6),
        "td_loss, backward": (td_loss_backward, f(T, B), ids(T, B), f(), A),
        "bootstrap_value": (bootstrap_value, q, None, None),
        "epsilon_greedy": (epsilon_greedy, f(rows, A), 0.1, uniform(rows), uniform(rows, 2), flags(rows, A)),
        "sample_categorical": (sample_categorical, f(rows, A), uniform(rows), 0.7, 5, 0.9, flags(rows, A)),
        "sample_categorical, words": (sample_categorical, f(64, V), uniform(64), 0.7, 50, 0.9, None),
        "ppo_loss": (ppo_loss_forward, *policy, f(rows), f(rows), flags(rows, A), flags(rows), 0.2, 0.01, 0.5),
        "ppo_loss, backward": (
            *(ppo_loss_backward, f(), None, None, f(), *policy, flags(rows)),
            *(f(rows, A), f(rows), f(rows), f(rows), f(rows), 0.01, 0.5),
        ),
        "tanh": (recurrence_step, f(B, 256), f(1, B, 256), None, None, None, layers(f, 1, 256), 0, 256, False, False),
        "relu": (recurrence_step, f(B, 256), None, None, None, None, layers(f, 1, 256), 1, 256, True, False),
        "gru": (
            *(recurrence_step, ids(B), f(1, B, 256), None, flags(B), f(V, 128), layers(f, 3, 128)),
            *(2, 256, False, False),
        ),
        "lstm": (
            *(recurrence_step, ids(B), f(1, B, 256), f(1, B, 256), flags(B), f(V, 1024), layers(f, 4, 256)),
            *(3, 256, True, False),
        ),
    }


def head(f):
    target = meta(N, dtype=torch.int64)
    return linear_cross_entropy_forward, f(N, H), f(V, H), target, f(V), -100, 1, True, True, True


def check(monkeypatch, case, target):
    """Compile what the case launches, each kernel once; return the code."""
    caught = {launch.kernel.__name__: launch for launch in launches(monkeypatch, *case)}
    assert caught
    code = ""
    for name, launch in caught.items():
        compiled = launch.compile(target)
        used = resources(compiled, target)
        assert used.spilled == 0, f"{name} spills: {used}"
        assert used.shared <= SHARED_LIMIT[target], f"{name} does not fit: {used}"
        check_offsets(name, compiled.asm["ttir"])
        code += compiled.asm["amdgcn" if target.startswith("gfx") else "ptx"]
    assert not re.findall(r"\b(?:atom|red)\.\S*\.[bf]?f(?:16|32|64)|atomic_\w*add_f", code)
    return code


def check_offsets(name, ttir):
    """Every offset into a tensor is of 64 bits, and so is every product that is not known to the compiler."""
    offsets = re.findall(r"tt\.addptr .*?, (?:tensor<\S*x)?(i\d+)", ttir)
    assert offsets
    assert set(offsets) == {"i64"}, f"{name}: an offset in {set(offsets)}"
    assert not re.findall(r"arith\.muli .*\bi32", ttir), f"{name}: a product in 32 bits"


def kinds(*dtypes):
    """float64 is looked at where it needs most: on one GPU of each vendor."""
    return [(dtype, target) for dtype in dtypes for target in TARGETS if dtype != torch.float64 or "9" in target]


@pytest.mark.parametrize(("dtype", "target"), kinds(torch.float32, torch.float64), ids=str)
@pytest.mark.parametrize("case", cases(lambda *shape: meta(*shape, dtype=torch.float32)))
def test_kernel(case, dtype, target, monkeypatch):
    check(monkeypatch, cases(lambda *shape: meta(*shape, dtype=dtype))[case], target)


@pytest.mark.parametrize(("dtype", "target"), kinds(torch.float32, torch.float64, torch.bfloat16), ids=str)
def test_linear_cross_entropy(dtype, target, monkeypatch):
    code = check(monkeypatch, head(lambda *shape: meta(*shape, dtype=dtype)), target)
    if dtype != torch.float64:
        assert bool(re.search(TENSOR_CORES[target], code)) == (dtype == torch.bfloat16)
    assert "tf32" not in code


def test_a_draw_is_made_of_what_the_cpu_makes_it_of(monkeypatch):
    """Nothing is fused, flushed to zero or approximated, or the actions would not be the same."""
    case = cases(lambda *shape: meta(*shape, dtype=torch.float32))["sample_categorical"]
    code = check(monkeypatch, case, "sm_90")
    assert "div.rn.f32" in code
    assert not re.findall(r"\bfma\.|\.ftz|\.approx", code)


def test_another_number_of_rows_needs_no_other_kernel(monkeypatch):
    def sources(rows):
        q, numbers = meta(rows, A, dtype=torch.float32), (uniform(rows), uniform(rows, 2))
        caught = launches(monkeypatch, epsilon_greedy, q, 0.1, *numbers, flags(rows, A))
        return [launch.source().hash() for launch in caught]

    assert sources(1) == sources(33) == sources(4096)


def test_memory_of_linear_cross_entropy_is_a_tenth_of_the_logits(monkeypatch):
    """Of what its kernels get, beyond what is given and what is returned."""
    case = head(lambda *shape: meta(*shape, dtype=torch.float32))
    given = {id(x) for x in case if isinstance(x, torch.Tensor)}
    caught = launches(monkeypatch, *case)
    got = {id(x): x for launch in caught for x in launch.arguments.values() if isinstance(x, torch.Tensor)}
    beyond = sum(x.numel() * x.element_size() for key, x in got.items() if key not in given)
    assert beyond <= 0.1 * 4 * N * V


def test_checks_see_what_they_look_for():
    with pytest.raises(AssertionError, match="an offset in"):
        check_offsets("planted", "%1 = tt.addptr %0, %x : tensor<8x!tt.ptr<f32>>, tensor<8xi32>")
    with pytest.raises(AssertionError, match="a product in"):
        check_offsets("planted", "tt.addptr %0, %x : !tt.ptr<f32>, i64\n%2 = arith.muli %p, %c8_i32 : i32")
