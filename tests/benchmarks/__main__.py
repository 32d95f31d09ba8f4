"""`make bench`: measure the application and its peers in one run, print and save the figures, and check the budgets."""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from infra.package.contents import ROOT
from tests.benchmarks.answers import measure_answers
from tests.benchmarks.candidates import Candidate, build_candidates
from tests.benchmarks.cold import measure_cold_starts, measure_imports
from tests.benchmarks.contention import measure_contention
from tests.benchmarks.emulator import measure_under_emulator
from tests.benchmarks.lists import measure_lists
from tests.benchmarks.plots import draw_all
from tests.benchmarks.report import exceeded_budgets, tables_of, write_into
from tests.benchmarks.server import measure_server
from tests.benchmarks.signing import measure_signing
from tests.benchmarks.start_parts import measure_start_parts
from tests.benchmarks.testbed import Testbed, running_testbed
from tests.benchmarks.warm import measure_latency, measure_load, measure_requests, measure_wire

FIGURES = ROOT / "build" / "bench.json"
DOCUMENT = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "performance"


@dataclass(frozen=True)
class Sampling:
    """How many samples each measurement takes."""

    cold_rounds: int = 9
    rounds: int = 20
    times: int = 20
    load_seconds: float = 2.0
    latency_times: int = 24
    contention_times: int = 100
    list_times: int = 30
    answer_times: int = 200
    rows: int = 100_000


NOT_MEASURED = {"contention": ("bare", "floor")} | dict.fromkeys(("cold", "emulator", "imports", "load", "signing", "lists"), ("floor",))
"""Candidates that a measurement leaves out."""

QUICK = Sampling(
    cold_rounds=4, rounds=8, times=16, load_seconds=1.0, latency_times=9, contention_times=40, list_times=10, answer_times=60, rows=100_000
)
"""About a third of the samples."""
SMALL = Sampling(
    cold_rounds=1, rounds=2, times=8, load_seconds=0.1, latency_times=3, contention_times=5, list_times=3, answer_times=2, rows=1000
)
"""Only verifies that everything runs."""


def measurements(sampling: Sampling) -> dict[str, Callable[[Testbed, list[Candidate]], Any]]:
    """Return the measurements by name."""
    sizes = tuple(10**power for power in range(3, 7) if 10**power <= sampling.rows)
    return {
        "cold": lambda testbed, candidates: measure_cold_starts(testbed, candidates, rounds=sampling.cold_rounds),
        "emulator": lambda testbed, candidates: measure_under_emulator(testbed, candidates, rounds=max(1, sampling.cold_rounds // 3)),
        "imports": lambda testbed, candidates: measure_imports(testbed, candidates, rounds=max(1, sampling.cold_rounds // 3)),
        "parts": lambda testbed, candidates: measure_start_parts(testbed, candidates, rounds=sampling.cold_rounds),
        "wire": measure_wire,
        "requests": lambda testbed, candidates: measure_requests(testbed, candidates, rounds=sampling.rounds, times=sampling.times),
        "server": lambda testbed, candidates: measure_server(testbed, candidates, rounds=sampling.rounds),
        "load": lambda testbed, candidates: measure_load(testbed, candidates, rounds=3, seconds=sampling.load_seconds),
        "latency": lambda testbed, candidates: measure_latency(testbed, candidates, delays_ms=(0, 1, 2, 5), times=sampling.latency_times),
        "contention": lambda testbed, candidates: measure_contention(testbed, candidates, times=sampling.contention_times),
        "signing": measure_signing,
        "answers": lambda testbed, candidates: measure_answers(testbed, candidates, times=sampling.answer_times),
        "lists": lambda testbed, candidates: measure_lists(testbed, candidates, sizes=sizes, times=sampling.list_times),
    }


def measure(sampling: Sampling, *, only: list[str], compare: Path | None = None) -> dict[str, Any]:
    """Run the selected measurements, and return their figures with a description of the machine and its load."""
    figures: dict[str, Any] = {"machine": describe_machine()}
    candidates = build_candidates(compare=compare)

    with running_testbed() as testbed:
        for name, measurement in measurements(sampling).items():
            if not only or name in only:
                started_at = time.monotonic()
                # The lower bounds have no counters to contend for, and no start to compare.
                without = NOT_MEASURED.get(name, ())
                measured = [candidate for candidate in candidates if candidate.name not in without]
                figures[name] = measurement(testbed, measured)
                print(f"{name}: {time.monotonic() - started_at:.0f} s", flush=True)
    figures["machine"]["load_after"] = os.getloadavg()[0]
    return figures


def describe_machine() -> dict[str, Any]:
    """Return the hardware, system, load and time of the run."""
    cpu = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    return {
        "processor": cpu or platform.machine(),
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
        "measured_at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def main() -> int:
    """Run the command line. Returns the exit code: 1 if a budget is exceeded."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help=f"some of: {', '.join(measurements(Sampling()))}")
    parser.add_argument("--rows", type=int, default=Sampling.rows, help="length of the longest list, up to 1000000")
    parser.add_argument("--compare", type=Path, help="another checkout to measure in the same run, shown as `before`")
    parser.add_argument("--quick", action="store_true", help="take a third of the samples")
    parser.add_argument("--small", action="store_true", help="only verify that everything runs")
    parser.add_argument("--docs", action="store_true", help="update the tables and charts of docs/performance.md")
    parser.add_argument("--reuse", action="store_true", help="measure nothing; use the figures of the last run")
    options = parser.parse_args()
    if options.reuse:
        figures = json.loads(FIGURES.read_text())
    else:
        sampling = SMALL if options.small else replace(QUICK if options.quick else Sampling(), rows=options.rows)
        figures = measure(sampling, only=options.only, compare=options.compare)
        FIGURES.parent.mkdir(exist_ok=True)
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    tables = tables_of(figures)
    for table in tables:
        print(table.text())
    if not figures.get("emulator") and not options.only:
        print("\nskipped: the runtime emulator is not installed (make setup-infra)")
    if options.docs:
        write_into(DOCUMENT, tables, keeps_budgets=bool(options.only))
        draw_all(PLOTS, figures)
    exceeded = exceeded_budgets(figures)
    for budget in exceeded:
        print(f"EXCEEDED: {budget}", file=sys.stderr)
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
