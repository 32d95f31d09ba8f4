"""Cold starts: from the start of the process to the first answer, and which dependency takes how much of the import."""

import re
import subprocess
import sys
from collections import defaultdict
from statistics import median

from tests.benchmarks.processes import command_for, environment_for
from tests.benchmarks.scenarios import SCENARIOS
from tests.benchmarks.trees import Candidate
from tests.benchmarks.world import World

FIRST = "upload"
"""The first request of the process: it signs in at the database, reads, writes and signs an address."""

_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")


def measure_cold_starts(world: World, candidates: list[Candidate], *, rounds: int) -> dict[str, dict[str, float]]:
    """Start each candidate anew, in turns, once as it is and once up to a snapshot, and ask it one thing; medians, in milliseconds."""
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == FIRST)
    tokens = {}
    for candidate in candidates:
        with world.start(candidate) as process:
            tokens[candidate.name] = world.sign_in(process, world.owner)
    taken: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number in range(rounds):
        for candidate in candidates[number % len(candidates) :] + candidates[: number % len(candidates)]:
            event = scenario.event(world, tokens[candidate.name])
            with world.start(candidate) as process:
                answer = process.tell("ask", event=event)
                assert answer["answer"]["statusCode"] == scenario.status, answer
                samples = taken[candidate.name]
                samples["python_ms"].append(answer["started_at"] - process.born_at)
                samples["import_ms"].append(answer["imported_at"] - answer["started_at"])
                samples["build_ms"].append(answer["built_at"] - answer["imported_at"])
                samples["first_answer_ms"].append(answer["answered_at"] - answer["built_at"])
                samples["total_ms"].append(answer["answered_at"] - process.born_at)
                samples["cpu_ms"].append(answer["cpu_seconds"])
            with world.start(candidate, "snapshot") as process:
                answer = process.tell("ask", event=event)
                assert answer["answer"]["statusCode"] == scenario.status, answer
                samples["after_snapshot_ms"].append(answer["answered_at"] - answer["asked_at"])
                samples["after_snapshot_cpu_ms"].append(answer["cpu_seconds_since_built"])
    figures = {name: {kind: median(values) * 1000 for kind, values in kinds.items()} for name, kinds in taken.items()}
    for name, kinds in taken.items():
        figures[name] |= {f"best_{kind}": min(kinds[kind]) * 1000 for kind in ("cpu_ms", "after_snapshot_cpu_ms")}
    return figures


def measure_imports(world: World, candidates: list[Candidate], *, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Import each candidate anew, and sum up by package what Python says its modules took themselves; the least, in milliseconds."""
    tables: dict[str, dict[str, dict[str, float]]] = {}
    for candidate in candidates:
        packages: dict[str, dict[str, float]] = {}
        for _ in range(rounds):
            for package, (count, spent) in _import_once(world, candidate).items():
                known = packages.setdefault(package, {"modules": count, "ms": spent})
                known["ms"] = min(known["ms"], spent)
        tables[candidate.name] = packages
    return tables


def _import_once(world: World, candidate: Candidate) -> dict[str, tuple[int, float]]:
    finished = subprocess.run(
        command_for("-X", "importtime", "-c", f"import {candidate.module}"),
        env=environment_for(candidate, world.environment),
        check=True,
        capture_output=True,
        text=True,
    )
    packages: dict[str, tuple[int, float]] = {}
    for line in finished.stderr.splitlines():
        if found := _LINE.match(line):
            package = found[2].partition(".")[0]
            # What has no source of its own on the roots is Python's.
            is_own = any((root / package).exists() or list(root.glob(f"{package}.*")) for root in candidate.roots)
            package = package if is_own and package not in sys.stdlib_module_names else "Python's own library"
            count, spent = packages.get(package, (0, 0.0))
            packages[package] = (count + 1, spent + int(found[1]) / 1000)
    return packages
