"""A candidate in its own process, and the commands to it."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from tests.benchmarks.candidates import Candidate

CHILD = Path(__file__).with_name("child.py")


def command_for(*arguments: str) -> list[str]:
    """Return the command line of a Python whose path contains only the standard library and PYTHONPATH."""
    return [sys.executable, "-S", "-s", "-B", "-P", *arguments]


def environment_for(candidate: Candidate, environment: dict[str, str]) -> dict[str, str]:
    """Return the complete environment of a candidate's process."""
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(map(str, candidate.roots)), **environment}


class Process:
    """The process of a candidate. `spawned_at` is the monotonic time of its start; `options` are those of `child.py`."""

    def __init__(self, candidate: Candidate, environment: dict[str, str], *options: str) -> None:
        self.candidate = candidate
        self.spawned_at = time.monotonic()
        self._process = subprocess.Popen(
            command_for(str(CHILD), candidate.module, *options),
            env=environment_for(candidate, environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, command: str, **parameters: Any) -> None:
        """Send a command without waiting for its result."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"command": command, **parameters}) + "\n")
        self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """Return the result of the oldest command whose result was not received."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.candidate.name} has ended; see its output above")
        result: dict[str, Any] = json.loads(line)
        return result

    def call(self, command: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self.send(command, **parameters)
        return self.receive()

    def request(self, event: dict[str, Any], *, status: int = 200) -> Any:
        """Let the handler serve one request, and return the body of its response."""
        response = self.call("invoke", event=event)["response"]
        if response["statusCode"] != status:
            raise RuntimeError(f"{self.candidate.name} returned status {response['statusCode']}: {response['body']}")
        return json.loads(response["body"] or "null")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
