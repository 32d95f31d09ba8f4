"""Processor time of a request under uvicorn, as `make run` configures it, beside the Lambda handler in the same process.

It runs with the installed packages of this environment: the Lambda package has no server.
"""

import http.client
import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from infra.local.application import DATABASE_POOL_SIZE, SERVER_OPTIONS
from tests.benchmarks.candidates import Candidate
from tests.benchmarks.scenarios import SCENARIOS, Scenario
from tests.benchmarks.testbed import Testbed, sign_in_event

MEASURED = ("get", "download", "list of 100")
REQUESTS = 5
"""Requests of one sample: the mean of so many, because the server's processor time is that of its process."""
SAMPLES_PER_ROUND = 3
"""Short samples, so that some have no interruption on a busy machine: the best one counts."""
WARM_UP = 40

_CHILD = """
import json, os, socket, sys, threading, time
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the access log is written, but must not mix with the answers
import uvicorn
from lambda_app import main

listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.bind(("127.0.0.1", 0))
listener.listen()
server = uvicorn.Server(uvicorn.Config(main.app, **json.loads(sys.argv[1])))
threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
answers.write(json.dumps(listener.getsockname()[1]) + "\\n")
for line in sys.stdin:
    events = json.loads(line)
    before = time.process_time_ns()
    for event in events:
        if main.handler(event, None)["statusCode"] >= 400:
            raise SystemExit("the handler refused a request")
    answers.write(json.dumps([before, time.process_time_ns()]) + "\\n")
"""


class _Server:
    """The process of a candidate, with its handler and its server, and one keep-alive connection to it."""

    def __init__(self, candidate: Candidate, environment: dict[str, str]) -> None:
        self.name = candidate.name
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _CHILD, json.dumps(SERVER_OPTIONS)],
            env={
                "PATH": "/usr/bin:/bin",
                "PYTHONPATH": str(candidate.roots[0]),
                "DATABASE_POOL_SIZE": str(DATABASE_POOL_SIZE),
                **environment,
            },
            cwd=Path(sys.executable).parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._connection = http.client.HTTPConnection("127.0.0.1", self._receive(), timeout=30)

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.communicate()

    def call_handler(self, event: dict[str, Any], times: int) -> float:
        """Return the milliseconds of processor time per call of the handler."""
        before, after = self._clock([event] * times)
        return (after - before) / times / 1e6

    def request(self, event: dict[str, Any], times: int) -> float:
        """Return the milliseconds of the server's processor time per request."""
        _, before = self._clock([])
        for _ in range(times):
            self.send(event)
        after, _ = self._clock([])
        return (after - before) / times / 1e6

    def send(self, event: dict[str, Any]) -> Any:
        """Send the request of the event over HTTP, and return the body of the response."""
        query = f"?{event['rawQueryString']}" if event["rawQueryString"] else ""
        headers = {name: value for name, value in event["headers"].items() if name != "host"}
        self._connection.request(event["requestContext"]["http"]["method"], event["rawPath"] + query, event["body"], headers)
        response = self._connection.getresponse()
        body = response.read()
        if self._connection.sock is None:
            raise RuntimeError(f"{self.name} closed the connection, so the next request would also measure a new one")
        if response.status >= 400:
            raise RuntimeError(f"{self.name} returned status {response.status}: {body!r}")
        return json.loads(body)

    def _clock(self, events: list[dict[str, Any]]) -> tuple[int, int]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(events) + "\n")
        self._process.stdin.flush()
        before, after = self._receive()
        return before, after

    def _receive(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server of {self.name} has ended; see its output above")
        return json.loads(line)


def measure_server(testbed: Testbed, candidates: list[Candidate], *, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return the best processor time of server and handler by scenario and candidate, measured in turns."""
    figures: dict[str, dict[str, dict[str, float]]] = {}
    with ExitStack() as stack:
        servers = [_Server(candidate, testbed.environment) for candidate in candidates if candidate.name in ("ours", "before")]
        for server in servers:
            stack.callback(server.close)
        tokens = {server.name: server.send(sign_in_event(testbed.owner))["access_token"] for server in servers}
        for scenario in (scenario for scenario in SCENARIOS if scenario.name in MEASURED):
            figures[scenario.name] = _measure(testbed, servers, tokens, scenario, rounds=rounds)
    return figures


def _measure(
    testbed: Testbed, servers: list[_Server], tokens: dict[str, str], scenario: Scenario, *, rounds: int
) -> dict[str, dict[str, float]]:
    samples: dict[str, list[tuple[float, float]]] = {server.name: [] for server in servers}
    for number in range(rounds * SAMPLES_PER_ROUND + 1):
        # The first round warms up.
        times = REQUESTS if number else WARM_UP
        for server in servers[number % len(servers) :] + servers[: number % len(servers)]:
            event = scenario.event(testbed, tokens[server.name])
            samples[server.name].append((server.request(event, times), server.call_handler(event, times)))
    return {
        name: {"server_ms": min(served for served, _ in taken[1:]), "handler_ms": min(called for _, called in taken[1:])}
        for name, taken in samples.items()
    }
