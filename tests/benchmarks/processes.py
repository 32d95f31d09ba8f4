"""A candidate in a process of its own, and what it is told."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from tests.benchmarks.trees import Candidate

CHILD = Path(__file__).with_name("child.py")


def command_for(*arguments: str) -> list[str]:
    """Return the command line of a Python that finds nothing but its own library and PYTHONPATH."""
    return [sys.executable, "-S", "-s", "-B", "-P", *arguments]


def environment_for(candidate: Candidate, environment: dict[str, str]) -> dict[str, str]:
    """Return the whole environment of a candidate's process."""
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(map(str, candidate.roots)), **environment}


class Process:
    """A candidate that was started; `born_at` is the monotonic time of that. `options` are `child.py`'s."""

    def __init__(self, candidate: Candidate, environment: dict[str, str], *options: str) -> None:
        self.candidate = candidate
        self.born_at = time.monotonic()
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

    def send(self, do: str, **words: Any) -> None:
        """Send a command without waiting for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **words}) + "\n")
        self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """Return the answer to the oldest command that has none."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.candidate.name} has died; what it said stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def tell(self, do: str, **words: Any) -> dict[str, Any]:
        """Send a command and return its answer."""
        self.send(do, **words)
        return self.receive()

    def ask(self, event: dict[str, Any], *, status: int = 200) -> Any:
        """Serve one request and return the body of its answer."""
        answer = self.tell("ask", event=event)["answer"]
        if answer["statusCode"] != status:
            raise RuntimeError(f"{self.candidate.name} answered {answer['statusCode']}: {answer['body']}")
        return json.loads(answer["body"] or "null")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
