"""Cold starts: from the start of the process to the first response, and the share of each dependency in the import."""

import json
import re
import subprocess
import sys
from collections import defaultdict
from statistics import median

from tests.benchmarks.candidates import Candidate, Size, build_larger_peers
from tests.benchmarks.processes import command_for, environment_for
from tests.benchmarks.scenarios import SCENARIOS
from tests.benchmarks.testbed import Testbed

FIRST_REQUEST = "upload"
"""The scenario of the first request: it connects to the database, reads, writes and signs a URL."""

_SIZE = """
import json
from lambda_app.main import app
from lambda_app.models.base import Base
from pydantic import BaseModel
def below(cls):
    return {cls}.union(*map(below, cls.__subclasses__()))
routes = [route for route in app.router.routes if hasattr(route, "dependant")]
schemas = [cls for cls in below(BaseModel) if cls.__module__.startswith("lambda_app.")]
print(json.dumps({"routes": len(routes), "tables": len(Base.metadata.tables), "schemas": len(schemas)}))
"""

_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")


def measure_cold_starts(testbed: Testbed, candidates: list[Candidate], *, rounds: int) -> dict[str, dict[str, float]]:
    """Start each candidate in turns, once without a snapshot and once with the hooks before one. Returns medians in milliseconds.

    The plain app is also started as large as this application, the first candidate.
    """
    candidates = [*candidates, *build_larger_peers(measure_size(testbed, candidates[0]))]
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == FIRST_REQUEST)
    tokens = {}
    for candidate in candidates:
        with testbed.start(candidate) as process:
            tokens[candidate.name] = testbed.sign_in(process, testbed.owner)
    samples_by_name: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number in range(rounds):
        for candidate in candidates[number % len(candidates) :] + candidates[: number % len(candidates)]:
            event = scenario.event(testbed, tokens[candidate.name])
            with testbed.start(candidate) as process:
                response = process.call("invoke", event=event)
                assert response["response"]["statusCode"] == scenario.status, response
                samples = samples_by_name[candidate.name]
                samples["python_ms"].append(response["started_at"] - process.spawned_at)
                samples["import_ms"].append(response["imported_at"] - response["started_at"])
                samples["build_ms"].append(response["built_at"] - response["imported_at"])
                samples["first_response_ms"].append(response["responded_at"] - response["built_at"])
                samples["total_ms"].append(response["responded_at"] - process.spawned_at)
                samples["cpu_ms"].append(response["cpu_seconds"])
            with testbed.start(candidate, "snapshot") as process:
                response = process.call("invoke", event=event)
                assert response["response"]["statusCode"] == scenario.status, response
                samples["after_snapshot_ms"].append(response["responded_at"] - response["received_at"])
                samples["after_snapshot_cpu_ms"].append(response["cpu_seconds_since_built"])
    figures = {name: {kind: median(values) * 1000 for kind, values in kinds.items()} for name, kinds in samples_by_name.items()}
    for name, kinds in samples_by_name.items():
        figures[name] |= {f"best_{kind}": min(kinds[kind]) * 1000 for kind in ("cpu_ms", "after_snapshot_cpu_ms")}
    return figures


def measure_size(testbed: Testbed, candidate: Candidate) -> Size:
    """Return how many routes, tables and schemas this application builds at its start."""
    finished = subprocess.run(
        command_for("-c", _SIZE), env=environment_for(candidate, testbed.environment), check=True, capture_output=True, text=True
    )
    # A candidate may log to the same output.
    return Size(**json.loads(finished.stdout.splitlines()[-1]))


def measure_imports(testbed: Testbed, candidates: list[Candidate], *, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Import each candidate in new processes. Returns, by package, the number of modules and the least time of their own code, in ms."""
    tables: dict[str, dict[str, dict[str, float]]] = {}
    for candidate in candidates:
        packages: dict[str, dict[str, float]] = {}
        for _ in range(rounds):
            for package, (count, spent) in _import_once(testbed, candidate).items():
                known = packages.setdefault(package, {"modules": count, "ms": spent})
                known["ms"] = min(known["ms"], spent)
        tables[candidate.name] = packages
    return tables


def _import_once(testbed: Testbed, candidate: Candidate) -> dict[str, tuple[int, float]]:
    finished = subprocess.run(
        command_for("-X", "importtime", "-c", f"import {candidate.module}"),
        env=environment_for(candidate, testbed.environment),
        check=True,
        capture_output=True,
        text=True,
    )
    packages: dict[str, tuple[int, float]] = {}
    for line in finished.stderr.splitlines():
        if found := _LINE.match(line):
            package = found[2].partition(".")[0]
            # A module without source on the roots belongs to the standard library.
            is_own = any((root / package).exists() or list(root.glob(f"{package}.*")) for root in candidate.roots)
            package = package if is_own and package not in sys.stdlib_module_names else "standard library"
            count, spent = packages.get(package, (0, 0.0))
            packages[package] = (count + 1, spent + int(found[1]) / 1000)
    return packages
