"""PPO's loss against the formulas written out row by row in Python numbers, and its gradients against torch's."""

import math

import pytest
import torch

from pyagent.ops import ppo_loss
from pyagent.ops.ppo_loss import PPOLoss, ppo_loss_reference

ops = torch.ops.pyagent
NUMBERS = {"clip_range": 0.2, "ent_coef": 0.03, "vf_coef": 0.7}
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}
# N, A: single, odd, around a vector's width, and beyond a block of 64 rows.
CASES = [(1, 1), (5, 2), (17, 3), (33, 4), (9, 5), (64, 7), (65, 18), (200, 8), (7, 100), (130, 33)]


def sample_inputs(N, A, dtype=torch.float64, seed=0):
    """Arguments of `ppo_loss` by name; about half of the ratios are clipped."""
    random = torch.Generator().manual_seed(seed + N + A)

    def draw(*shape):
        return torch.randn(shape, generator=random, dtype=torch.float64).to(dtype)

    action = torch.randint(0, A, (N,), generator=random)
    logits = draw(N, A)
    mask = torch.rand(N, A, generator=random) < 0.6
    mask[torch.arange(N), action] = True
    old = logits.where(mask, -math.inf).log_softmax(-1).gather(1, action[:, None])[:, 0] + 0.3 * draw(N)
    valid = torch.rand(N, generator=random) < 0.7
    valid[0] = True
    return {
        **{"logits": logits, "value": draw(N), "action": action, "old_log_prob": old, "advantage": draw(N)},
        **{"target": draw(N), "mask": mask, "valid": valid},
    }


def without(inputs, *names):
    return {**inputs, **dict.fromkeys(names)}


def by_definition(logits, value, action, old_log_prob, advantage, target, mask=None, valid=None):
    policy, squares, entropy, kl, clipped, rows = 0.0, 0.0, 0.0, 0.0, 0, 0
    for n, z in enumerate(logits.tolist()):
        if valid is not None and not valid[n]:
            continue
        allowed = [a for a in range(len(z)) if mask is None or mask[n, a]]
        total = sum(math.exp(z[a]) for a in allowed)
        p = {a: math.exp(z[a]) / total for a in allowed}
        log_ratio = math.log(p[int(action[n])]) - old_log_prob[n].item()
        ratio, gain = math.exp(log_ratio), advantage[n].item()
        bounded = min(max(ratio, 1 - NUMBERS["clip_range"]), 1 + NUMBERS["clip_range"])
        policy -= min(ratio * gain, bounded * gain)
        squares += (value[n].item() - target[n].item()) ** 2
        entropy -= sum(q * math.log(q) for q in p.values())
        kl += ratio - 1 - log_ratio
        clipped += ratio != bounded
        rows += 1
    loss = policy + NUMBERS["vf_coef"] * squares - NUMBERS["ent_coef"] * entropy
    return [total / rows for total in (loss, policy, squares, entropy, kl, clipped)]


def reference(**inputs):
    return PPOLoss(*ppo_loss_reference(**inputs, **NUMBERS))


def with_gradients(function, inputs, of=None):
    """The parts, and gradients of some weighting of the differentiable ones by logits and values."""
    leaves = {name: inputs[name].detach().requires_grad_() for name in ("logits", "value")}
    parts = function(**{**inputs, **leaves})
    scalar = parts.loss if of is None else sum(w * part for w, part in zip(of, parts, strict=False))
    return [part.detach() for part in parts], torch.autograd.grad(scalar, list(leaves.values()), materialize_grads=True)


def assert_same(got, wanted, **tolerance):
    for x, y in zip((*got[0], *got[1]), (*wanted[0], *wanted[1]), strict=True):
        torch.testing.assert_close(x, y, **tolerance)


def ours(**inputs):
    return ppo_loss(**inputs, **NUMBERS)


@pytest.mark.parametrize("left_out", [(), ("mask",), ("valid",), ("mask", "valid")], ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_equal_the_definition_and_gradients_torchs(case, dtype, left_out):
    inputs = without(sample_inputs(*case, dtype), *left_out)
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    in_float64 = {k: x.double() if x is not None and x.is_floating_point() else x for k, x in inputs.items()}
    wanted = by_definition(**in_float64)
    parts, grads = with_gradients(ours, inputs)
    assert all(x.dtype == dtype for x in (*parts, *grads))
    torch.testing.assert_close([part.double().item() for part in parts], wanted, **tolerance)
    reference_parts, reference_grads = with_gradients(reference, in_float64)
    torch.testing.assert_close([part.item() for part in reference_parts], wanted)
    for got, value in zip(grads, reference_grads, strict=True):
        torch.testing.assert_close(got.double(), value, **tolerance)
    with torch.no_grad():
        assert all(torch.equal(x, y) for x, y in zip(ours(**inputs), parts, strict=True))


@pytest.mark.parametrize("of", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0.3, -2, 0.7, 1.1)], ids=str)
def test_every_part_is_differentiable(of):
    inputs = sample_inputs(40, 6)
    got, wanted = (with_gradients(f, inputs, of)[1] for f in (ours, reference))
    for x, y in zip(got, wanted, strict=True):
        torch.testing.assert_close(x, y)


def test_only_a_part_in_the_graph():
    inputs = sample_inputs(20, 5)
    value = inputs["value"].requires_grad_()
    ours(**inputs).value.backward()
    torch.testing.assert_close(
        value.grad, 2 * (value - inputs["target"]).detach() * inputs["valid"] / inputs["valid"].sum()
    )


def test_gradcheck():
    inputs = sample_inputs(6, 4)

    def differentiable(logits, value):
        return tuple(ours(**{**inputs, "logits": logits, "value": value})[:4])

    assert torch.autograd.gradcheck(
        differentiable, (inputs["logits"].requires_grad_(), inputs["value"].requires_grad_())
    )


def test_no_gradient_where_the_ratio_has_left_the_range_the_right_way():
    logits = torch.tensor([[0.9, 0.1], [0.9, 0.1]]).log().requires_grad_()
    rest = (torch.zeros(2), torch.tensor([0, 0]), torch.tensor([0.5, 0.5]).log(), torch.tensor([1.0, -1.0]))
    ppo_loss(logits, *rest, torch.zeros(2), clip_range=0.2, ent_coef=0.0, vf_coef=0.0).loss.backward()
    assert logits.grad[0].eq(0).all()
    assert logits.grad[1, 0] > 0


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_rows_and_actions_that_do_not_count_are_never_looked_at(poison):
    inputs = sample_inputs(50, 9)
    wanted = with_gradients(ours, inputs)
    out, masked = ~inputs["valid"], ~inputs["mask"]
    for name in ("value", "old_log_prob", "advantage", "target"):
        inputs[name][out] = poison
    inputs["logits"][out] = poison
    inputs["logits"][masked] = poison
    inputs["action"][out] = 10**12
    got = with_gradients(ours, inputs)
    assert_same(got, wanted, rtol=0, atol=0)
    assert got[1][0][masked].eq(0).all()


def test_a_logit_of_minus_infinity_is_an_action_that_is_masked():
    inputs = without(sample_inputs(30, 6), "valid")
    hidden = without({**inputs, "logits": inputs["logits"].where(inputs["mask"], -math.inf)}, "mask")
    assert_same(with_gradients(ours, inputs), with_gradients(ours, hidden), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["logits", "value", "old_log_prob", "advantage", "target"])
def test_nan_in_is_nan_out(name):
    inputs = without(sample_inputs(20, 5), "mask", "valid")
    inputs[name].view(20, -1)[3, 0] = math.nan
    (loss, *_), (grad_logits, grad_value) = with_gradients(ours, inputs)
    assert loss.isnan()
    touched = grad_value if name in ("value", "target") else grad_logits
    assert touched.view(20, -1).isnan().any(-1).nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize("N", [0, 3])
def test_without_a_row_that_counts_the_loss_is_nan_and_the_gradients_are_zeros(N):
    inputs = sample_inputs(3, 4)
    inputs = {name: x[:N] for name, x in inputs.items()}
    inputs["valid"] = torch.zeros(N, dtype=torch.bool)
    parts, grads = with_gradients(ours, inputs)
    assert all(part.isnan() for part in parts)
    assert all(grad.eq(0).all() for grad in grads)


def test_logits_of_every_size():
    inputs = without(sample_inputs(50, 6, torch.float32), "mask", "valid")
    for scale in (1e-3, 30.0, 1e4, 1e30):
        logits = scale * inputs["logits"]
        old = logits.double().log_softmax(-1).gather(1, inputs["action"][:, None])[:, 0].float()
        changed = {**inputs, "logits": logits, "old_log_prob": old}
        got, wanted = with_gradients(ours, changed), with_gradients(reference, changed)
        assert all(x.isfinite().all() for x in (got[0][1], got[0][3], *got[1]))
        assert_same(got, wanted, rtol=1e-4, atol=1e-5)


def test_leading_dimensions_and_layout():
    inputs = sample_inputs(24, 5)
    wanted = with_gradients(ours, inputs)
    shaped = {name: x.view(4, 6, *x.shape[1:]).transpose(0, 1) for name, x in inputs.items()}
    shaped = {name: x.contiguous().transpose(0, 1) for name, x in shaped.items()}
    got = with_gradients(ours, shaped)
    assert all(torch.equal(x, y) for x, y in zip(got[0], wanted[0], strict=True))
    assert all(torch.equal(x.reshape(y.shape), y) for x, y in zip(got[1], wanted[1], strict=True))


def test_thread_count_does_not_change_a_bit():
    inputs = sample_inputs(20_011, 9, torch.float32)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            parts, grads = with_gradients(ours, inputs)
            results.append((*parts, *grads))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(x, y) for x, y in zip(*results, strict=True))


def test_the_rest_carries_no_gradient():
    inputs = sample_inputs(8, 4)
    others = [inputs[name].requires_grad_() for name in ("old_log_prob", "advantage", "target")]
    inputs["logits"].requires_grad_()
    ours(**inputs).loss.backward()
    assert all(x.grad is None for x in others)


def test_a_graph_that_is_kept_and_second_derivatives():
    inputs = sample_inputs(8, 4)
    logits = inputs["logits"].requires_grad_()
    loss = ours(**inputs).loss.square()
    first, second = (torch.autograd.grad(loss, logits, create_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        first.sum().backward()
    with pytest.raises(NotImplementedError, match="ppo_loss"):
        torch.func.grad(lambda x: ours(**{**inputs, "logits": x}).loss)(logits)


@pytest.mark.parametrize("left_out", [(), ("mask", "valid")], ids=str)
def test_opcheck(left_out):
    inputs = without(sample_inputs(6, 5, torch.float32), *left_out)
    arguments = (*inputs.values(), *NUMBERS.values())
    torch.library.opcheck(ops.ppo_loss_forward.default, arguments)
    saved = ops.ppo_loss_forward.default(*arguments)[6:]
    some = [inputs[name] for name in ("logits", "value", "action", "target", "valid")]
    for grads in ((torch.ones(()), None, None, None), (None, *(torch.ones(()),) * 3)):
        torch.library.opcheck(ops.ppo_loss_backward.default, (*grads, *some, *saved, 0.03, 0.7))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow_compile)])
def test_compiles_into_one_graph_with_its_gradient(backend):
    torch.compiler.reset()
    inputs = sample_inputs(12, 5)
    compiled = torch.compile(ours, fullgraph=True, backend=backend)
    assert_same(with_gradients(compiled, inputs), with_gradients(ours, inputs))


BAD = [
    ({"logits": None}, TypeError, "logits: got NoneType"),
    ({"logits": torch.zeros(6, 4).half()}, TypeError, "logits: got float16"),
    ({"value": torch.zeros(6, 1)}, ValueError, r"value: got shape \(6, 1\), want \[6\]"),
    ({"value": torch.zeros(6).double()}, TypeError, "value: got float64"),
    ({"action": torch.zeros(6)}, TypeError, "action: got float32, want int64"),
    ({"action": torch.full((6,), 4)}, IndexError, "action: got 4, want 0 to 3"),
    ({"action": torch.full((6,), -1)}, IndexError, "action: got -1, want 0 to 3"),
    ({"old_log_prob": torch.zeros(5)}, ValueError, "old_log_prob: got shape"),
    ({"advantage": torch.zeros(6, device="meta")}, ValueError, "advantage: got a tensor on meta"),
    ({"target": [0.0]}, TypeError, "target: got list"),
    ({"mask": torch.ones(6, dtype=torch.bool)}, ValueError, "mask: got shape"),
    ({"mask": torch.zeros(6, 4, dtype=torch.bool)}, ValueError, r"action: that of row \(0,\) is masked"),
    ({"valid": torch.ones(6)}, TypeError, "valid: got float32, want bool"),
    ({"clip_range": -0.1}, ValueError, "clip_range: got -0.1"),
    ({"clip_range": math.nan}, ValueError, "clip_range: got nan"),
]


@pytest.mark.parametrize(("changes", "error", "message"), BAD)
@pytest.mark.parametrize("grad", [False, True])
def test_bad_input_names_the_argument(changes, error, message, grad):
    good = {
        "logits": torch.zeros(6, 4, requires_grad=grad),
        **dict.fromkeys(("value", "old_log_prob", "advantage", "target"), torch.zeros(6)),
        "action": torch.zeros(6, dtype=torch.int64),
    }
    with pytest.raises(error, match=message):
        ppo_loss(**{**good, **NUMBERS, **changes})


def test_the_raw_ops_read_nothing_out_of_bounds():
    inputs = without(sample_inputs(6, 4), "mask", "valid")
    saved = ops.ppo_loss_forward.default(*inputs.values(), *NUMBERS.values())[6:]
    inputs["action"][2] = 4
    with pytest.raises(RuntimeError, match="action"):
        ops.ppo_loss_forward.default(*inputs.values(), *NUMBERS.values())
    some = [inputs[name] for name in ("logits", "value", "action", "target", "valid")]
    with pytest.raises(RuntimeError, match="action"):
        ops.ppo_loss_backward.default(*(None,) * 4, *some, *saved, 0.0, 0.0)
