"""A process that steps some of a vector environment's lanes, and the handle by which its owner speaks to it.

A worker is a fresh Python process, not a fork: it inherits no threads, no locks and no CUDA context, needs no
``if __name__ == "__main__"`` in the owner's script, and imports neither torch nor that script. It lives exactly as long
as the socket to its owner: when the owner closes it or dies, however it dies, the worker ends.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import traceback
import weakref
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_PATIENCE = 5.0
"""seconds to wait for the exit code of a worker whose socket is closed"""


class Worker:
    """One worker process that holds one object and calls its methods.

    Args:
        factory: name of a function or class as ``module:name``; called in the worker to make the object.
        arguments: positional arguments of the factory; they and all results are pickled.

    Calls may overlap with the owner's own work: `send` starts one, `receive` waits for its result.
    """

    def __init__(self, factory: str, *arguments: Any) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-c", "from pyagent.envs.worker import serve; serve()", str(theirs.fileno())]
            # Run where the package lies, so that the worker imports the same one whatever this process did to sys.path.
            root = Path(__file__).resolve().parents[2]
            self._process = subprocess.Popen(command, cwd=root, pass_fds=[theirs.fileno()], start_new_session=True)
        self._connection = Connection(ours.detach())
        # Also runs when the handle is forgotten, and when the interpreter exits.
        self._end = weakref.finalize(self, _end, self._connection, self._process)
        self._connection.send((factory, arguments))

    def send(self, method: str, *arguments: Any) -> None:
        """Starts a call of the object's method."""
        try:
            self._connection.send((method, arguments))
        except OSError as error:
            raise self._death() from error

    def receive(self) -> Any:
        """The result of the call that was sent first among those not yet received.

        Raises:
            RuntimeError: the call raised an exception, or the process died; the worker is closed then.
        """
        try:
            failed, result = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._death() from error
        if failed:
            self.close()
            raise RuntimeError(f"an environment worker failed:\n{result}")
        return result

    def close(self) -> None:
        """Ends the process, whatever it is doing; a second call does nothing."""
        self._end()

    def _death(self) -> RuntimeError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
        self.close()
        return RuntimeError(f"an environment worker died with exit code {self._process.returncode}")


def _end(connection: Connection, process: subprocess.Popen[bytes]) -> None:
    connection.close()
    process.terminate()
    process.wait()


def serve() -> None:
    """What a worker process does: makes the object, then answers calls until the owner is gone."""
    with Connection(int(sys.argv[1])) as connection, suppress(EOFError, ConnectionError):
        factory, arguments = connection.recv()
        try:
            module, _, name = factory.partition(":")
            held = getattr(__import__(module, fromlist=[name]), name)(*arguments)
        except Exception:
            connection.send((True, traceback.format_exc()))
            return
        while True:
            method, arguments = connection.recv()
            try:
                answer = (False, getattr(held, method)(*arguments))
            except Exception:
                answer = (True, traceback.format_exc())
            connection.send(answer)
