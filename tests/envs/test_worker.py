"""Worker processes: what they answer, and that they never outlive their owner."""

import subprocess
import sys
import time

import pytest

from pyagent.envs.worker import Worker


def test_calls_are_answered_in_order():
    worker = Worker("collections:deque", [1, 2, 3])
    worker.send("pop")
    worker.send("popleft")
    assert [worker.receive(), worker.receive()] == [3, 1]
    worker.close()


@pytest.mark.parametrize(
    ("match", "factory", "method"),
    [("IndexError: pop from an empty deque", "collections:deque", "pop"), ("no_such_thing", "math:no_such_thing", "x")],
)
def test_an_exception_comes_back_with_its_traceback(match, factory, method):
    worker = Worker(factory)
    worker.send(method)
    with pytest.raises(RuntimeError, match=match):
        worker.receive()
    assert worker._process.poll() is not None


def test_a_forgotten_worker_ends():
    worker = Worker("collections:deque")
    process = worker._process
    del worker
    assert process.poll() is not None


def test_what_a_worker_imports_holds_no_torch():
    script = "import sys, pyagent.envs, pyagent.envs.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_worker_ends_when_its_owner_is_killed():
    script = (
        "import os; from pyagent.envs.worker import Worker\n"
        "worker = Worker('collections:deque'); worker.send('__len__'); worker.receive()\n"
        "print(worker._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    owner = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=False, text=True)
    pid = int(owner.stdout)
    until = time.monotonic() + 10
    while time.monotonic() < until and is_running(pid):
        time.sleep(0.02)
    assert not is_running(pid)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
    except ProcessLookupError:
        return False
