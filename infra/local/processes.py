"""Servers as supervised child processes, and the ports that they listen on."""

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

SUPERVISOR = Path(__file__).with_name("supervisor.py")
STOP_GRACE_SECONDS = 10.0
"""Time between the stop signal and the force signal."""
START_TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.05
LOG_TAIL_LINES = 15
PORTS = range(15_000, 30_000)
"""Below the ephemeral ports of Linux and macOS, so that no outgoing connection takes a port between our check and its use."""


class LocalError(Exception):
    """A problem that the developer can solve. The message describes how, and is printed without a traceback."""


def free_port() -> int:
    """Return a random TCP port of 127.0.0.1 on which no process listens now."""
    while not is_free(port := random.choice(PORTS)):  # noqa: S311  # not a secret
        pass
    return port


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
        return True


def wait_until_free(port: int, *, seconds: float) -> bool:
    """Wait until `port` is free, for example until the server of a killed run has ended. Return whether it is free."""
    deadline = time.monotonic() + seconds
    while not is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


class Server:
    """A running server. It has its own session, so Ctrl-C in the terminal does not reach it and we choose the order of the stops."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        stop_signal: str = "SIGTERM",
        force_signal: str = "SIGKILL",
    ) -> None:
        self.name = name
        self.log = log
        supervisor = [sys.executable, "-I", "-S", str(SUPERVISOR), stop_signal, force_signal, str(STOP_GRACE_SECONDS)]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*supervisor, *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                cwd=log.parent,
                start_new_session=True,
            )

    def has_ended(self) -> bool:
        """Whether the server is no longer running."""
        return self._process.poll() is not None

    def wait_until(self, is_ready: Callable[[], bool]) -> None:
        """Wait until `is_ready` returns true.

        Raises LocalError, with the end of the log, when the server ends first or is not ready after START_TIMEOUT_SECONDS.
        """
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not is_ready():
            if self.has_ended() or time.monotonic() > deadline:
                state = "ended" if self.has_ended() else f"was not ready after {START_TIMEOUT_SECONDS:.0f} s"
                self.stop()
                raise LocalError(f"{self.name} {state}; the end of {self.log}:\n{self._log_tail()}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Stop the server and wait for its end. Force it after STOP_GRACE_SECONDS, or when the wait is interrupted."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(2 * STOP_GRACE_SECONDS)
        except BaseException:
            self._process.terminate()
            self._process.wait(STOP_GRACE_SECONDS)
            raise

    def kill(self) -> None:
        """Force the server to end at once. For servers whose data is not needed any more."""
        self._process.terminate()
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait(2 * STOP_GRACE_SECONDS)

    def _log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])


def base_environment(**additions: str) -> dict[str, str]:
    """Return our environment for a server, without variables that select an AWS account, a Python or a PostgreSQL."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON", "PG"))}
    return {**inherited, **additions}
