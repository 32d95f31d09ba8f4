"""Cold starts under AWS's own emulator of the Lambda runtime interface, where that is installed (`make setup-infra`)."""

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
from tests.benchmarks.cold import FIRST
from tests.benchmarks.processes import environment_for
from tests.benchmarks.scenarios import SCENARIOS
from tests.benchmarks.trees import MACHINES, Candidate
from tests.benchmarks.world import World

_INIT = re.compile(r"INIT REPORT\(durationMs: ([\d.]+)")


def measure_under_emulator(world: World, candidates: list[Candidate], *, rounds: int) -> dict[str, dict[str, float]] | None:
    """Return medians in milliseconds of the runtime's own INIT and of the first invocation; None where there is no emulator."""
    if not RUNTIME.is_current():
        return None
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == FIRST)
    tokens = {}
    for candidate in candidates:
        with world.start(candidate) as process:
            tokens[candidate.name] = world.sign_in(process, world.owner)
    taken: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _ in range(rounds):
        for candidate in candidates:
            initialised, answered = _first_invocation(world, candidate, json.dumps(scenario.event(world, tokens[candidate.name])).encode())
            taken[candidate.name]["init_ms"].append(initialised)
            taken[candidate.name]["first_answer_ms"].append(answered)
    return {name: {kind: median(samples) for kind, samples in kinds.items()} for name, kinds in taken.items()}


def _first_invocation(world: World, candidate: Candidate, event: bytes) -> tuple[float, float]:
    gateway, api = free_port(), free_port()
    environment = base_environment(
        **environment_for(candidate, world.environment),
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
            server.wait_until(lambda: _listens(gateway))
            before = time.monotonic()
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(url, data=event, timeout=60) as answer:
                status = json.load(answer).get("statusCode")
            took = (time.monotonic() - before) * 1000
        finally:
            server.stop()
        said = log.read_text()
    initialised = _INIT.search(said)
    if status != 201 or initialised is None:
        raise RuntimeError(f"{candidate.name} answered {status} under the emulator:\n{said[-2000:]}")
    return float(initialised[1]), took


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
