"""A process that has used threads forks: the child has none of them, and must not wait for them or compute wrong."""

import os
import subprocess
import sys

import pytest

THREADED = """
import os, signal, sys, torch
from pyagent.nn import EmbeddingLSTM, GRU

def thread_count():
    return len(os.listdir("/proc/self/task"))

torch.set_num_threads(2)
gru, x = GRU(64, 64), torch.randn(32, 32, 64)
lstm, tokens = EmbeddingLSTM(50, 64, 64), torch.randint(0, 50, (32, 32))
"""

# The child compares with numpy: torch's own operations do wait for the parent's threads, unless told of one thread.
FORKS = """
def results():
    with torch.no_grad(), gru.frozen():
        found = [gru(x)[0], lstm(tokens)[0], gru.step(x.flatten(0, 1))[0]]
    return [tensor.numpy() for tensor in found]

def gradients():
    output, weights = gru(x)[0], list(gru.parameters())
    return [grad.numpy() for grad in torch.autograd.grad(output, weights, torch.ones(()).expand_as(output))]

def same(found, wanted):
    return all((a == b).all() for a, b in zip(found, wanted, strict=True))

before = thread_count()
wanted = results()
assert thread_count() > before, "the parent used no threads"
receive, send = os.pipe()
child = os.fork()
if child == 0:
    signal.alarm(60)
    try:
        found = gradients()
        os.write(send, b"".join(grad.tobytes() for grad in found))
        os._exit(0 if same(results(), wanted) else 3)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(4)
os.close(send)
with open(receive, "rb") as pipe:
    sent = pipe.read()
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0, status
assert sent == b"".join(grad.tobytes() for grad in gradients())
assert same(results(), wanted)
"""

LOADS = """
from torch.utils.data import DataLoader, Dataset

class Encoded(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, i):
        with torch.no_grad():
            return lstm(tokens + 0 * i)[0], gru(x)[0]

wanted = Encoded()[0]
for pair in DataLoader(Encoded(), num_workers=2, batch_size=None, multiprocessing_context="fork", timeout=60):
    assert all(torch.equal(a, b) for a, b in zip(pair, wanted))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
@pytest.mark.parametrize("program", [FORKS, LOADS], ids=["fork", "DataLoader"])
def test_a_forked_child_computes_the_same(program):
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", THREADED + program]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
