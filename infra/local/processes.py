"""Servers as child processes: started apart from the terminal, ended with us, with their last words kept."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LEASH = Path(__file__).with_name("leash.py")
STOP_GRACE_SECONDS = 10.0
"""How long a server may take to end in order before it is forced."""
START_TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.05
LOG_TAIL_LINES = 15


class LocalError(Exception):
    """Something the developer can put right; the message says how, and is shown without a traceback."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A running server. It lives in a session of its own, so that Ctrl-C in the terminal reaches us alone and we choose the order."""

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
        leash = [sys.executable, "-I", "-S", str(LEASH), stop_signal, force_signal, str(STOP_GRACE_SECONDS)]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*leash, *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                cwd=log.parent,
                start_new_session=True,
            )

    def has_ended(self) -> bool:
        """Whether it is no longer running."""
        return self._process.poll() is not None

    def wait_until(self, is_ready: Callable[[], bool]) -> None:
        """Wait until `is_ready` says so.

        Raises LocalError, with the end of the log, when the server ends first or needs longer than a minute.
        """
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not is_ready():
            if self.has_ended() or time.monotonic() > deadline:
                state = "ended" if self.has_ended() else f"was not ready after {START_TIMEOUT_SECONDS:.0f} s"
                self.stop()
                raise LocalError(f"{self.name} {state}; the end of {self.log}:\n{self._last_words()}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Ask the server to end and wait for it; it is forced when it takes too long, or when the wait is interrupted."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(2 * STOP_GRACE_SECONDS)
        except BaseException:
            self._process.terminate()
            self._process.wait(STOP_GRACE_SECONDS)
            raise

    def kill(self) -> None:
        """End the server at once: for one whose data nobody wants again."""
        self._process.terminate()
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait(2 * STOP_GRACE_SECONDS)

    def _last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])


def base_environment(**additions: str) -> dict[str, str]:
    """Return the environment for a server: ours without what would point it at a real AWS account or another interpreter."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON", "PG"))}
    return {**inherited, **additions}
