"""Cold starts under AWS's emulator of the Lambda runtime interface, if it is installed (`make setup-infra`)."""

import json
import platform
import re
import tempfile
import time
import urllib.request
from collections import defaultdict
from pathlib import Path
from statistics import median

from infra.local.processes import Server, base_environment, free_port
from infra.toolchain import RUNTIME, RUNTIME_EMULATOR
from tests.benchmarks.candidates import MACHINES, Candidate
from tests.benchmarks.cold import FIRST_REQUEST
from tests.benchmarks.processes import environment_for
from tests.benchmarks.scenarios import SCENARIOS
from tests.benchmarks.testbed import Testbed

_INIT = re.compile(r"INIT REPORT\(durationMs: ([\d.]+)")


def measure_under_emulator(testbed: Testbed, candidates: list[Candidate], *, rounds: int) -> dict[str, dict[str, float]] | None:
    """Return medians in milliseconds of the runtime's INIT and of the first invocation, or None without an emulator."""
    if not RUNTIME.is_current():
        return None
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == FIRST_REQUEST)
    tokens = {}
    for candidate in candidates:
        with testbed.start(candidate) as process:
            tokens[candidate.name] = testbed.sign_in(process, testbed.owner)
    samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(rounds):
        for candidate in candidates:
            init_ms, first_response_ms = _first_invocation(
                testbed, candidate, json.dumps(scenario.event(testbed, tokens[candidate.name])).encode()
            )
            samples[candidate.name]["init_ms"].append(init_ms)
            samples[candidate.name]["first_response_ms"].append(first_response_ms)
    return {name: {kind: median(values) for kind, values in kinds.items()} for name, kinds in samples.items()}


def _first_invocation(testbed: Testbed, candidate: Candidate, event: bytes) -> tuple[float, float]:
    gateway, api = free_port(), free_port()
    environment = base_environment(
        **environment_for(candidate, testbed.environment),
        LAMBDA_TASK_ROOT=str(candidate.roots[0]),
        AWS_LAMBDA_FUNCTION_NAME="bench",
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE="1769",
        AWS_LAMBDA_FUNCTION_TIMEOUT="20",
        PYTHONDONTWRITEBYTECODE="1",
    )
    machine = MACHINES[platform.machine()]
    command: list[str | Path] = [RUNTIME_EMULATOR / f"aws-lambda-rie-{machine}", "--runtime-interface-emulator-address"]
    command += [f"127.0.0.1:{gateway}", "--runtime-api-address", f"127.0.0.1:{api}"]
    command += [RUNTIME.interpreter, "-m", "awslambdaric", f"{candidate.module}.handler"]
    url = f"http://127.0.0.1:{gateway}/2015-03-31/functions/function/invocations"
    with tempfile.TemporaryDirectory(prefix="we-upload-bench-") as folder:
        log = Path(folder) / "log"
        server = Server("The runtime emulator", command, log=log, environment=environment)
        try:
            server.wait_until(lambda: _is_listening(gateway))
            before = time.monotonic()
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(url, data=event, timeout=60) as response:
                status = json.load(response).get("statusCode")
            elapsed_ms = (time.monotonic() - before) * 1000
        finally:
            server.stop()
        output = log.read_text()
    init_report = _INIT.search(output)
    if status != 201 or init_report is None:
        raise RuntimeError(f"{candidate.name} returned status {status} under the emulator:\n{output[-2000:]}")
    return float(init_report[1]), elapsed_ms


def _is_listening(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
