"""`make bench`: measure ours beside the peers in one run, print the tables, keep the figures, and say which budgets hold."""

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
from tests.benchmarks.cold import measure_cold_starts, measure_imports
from tests.benchmarks.contention import measure_contention
from tests.benchmarks.emulator import measure_under_emulator
from tests.benchmarks.lists import measure_lists
from tests.benchmarks.plots import draw_all
from tests.benchmarks.report import broken_budgets, tables_of, write_into
from tests.benchmarks.signing import measure_signing
from tests.benchmarks.trees import Candidate, build_candidates
from tests.benchmarks.warm import measure_latency, measure_load, measure_requests, measure_wire
from tests.benchmarks.world import World, running_world

FIGURES = ROOT / "build" / "bench.json"
DOCUMENT = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "performance"


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    cold_rounds: int = 9
    rounds: int = 20
    times: int = 20
    load_seconds: float = 2.0
    latency_times: int = 24
    contention_times: int = 100
    list_times: int = 30
    rows: int = 100_000


QUICK = Effort(cold_rounds=4, rounds=8, times=16, load_seconds=1.0, latency_times=9, contention_times=40, list_times=10, rows=100_000)
"""A third of it."""
SMALL = Effort(cold_rounds=1, rounds=2, times=8, load_seconds=0.1, latency_times=3, contention_times=5, list_times=3, rows=1000)
"""Enough to see that everything runs."""


def measurements(effort: Effort) -> dict[str, Callable[[World, list[Candidate]], Any]]:
    """Return what is measured, by name."""
    sizes = tuple(10**power for power in range(3, 7) if 10**power <= effort.rows)
    return {
        "cold": lambda world, candidates: measure_cold_starts(world, candidates, rounds=effort.cold_rounds),
        "emulator": lambda world, candidates: measure_under_emulator(world, candidates, rounds=max(1, effort.cold_rounds // 3)),
        "imports": lambda world, candidates: measure_imports(world, candidates, rounds=max(1, effort.cold_rounds // 3)),
        "wire": measure_wire,
        "requests": lambda world, candidates: measure_requests(world, candidates, rounds=effort.rounds, times=effort.times),
        "load": lambda world, candidates: measure_load(world, candidates, rounds=3, seconds=effort.load_seconds),
        "latency": lambda world, candidates: measure_latency(world, candidates, delays_ms=(0, 1, 2, 5), times=effort.latency_times),
        "contention": lambda world, candidates: measure_contention(world, candidates, times=effort.contention_times),
        "signing": measure_signing,
        "lists": lambda world, candidates: measure_lists(world, candidates, sizes=sizes, times=effort.list_times),
    }


def measure(effort: Effort, *, only: list[str], beside: Path | None = None) -> dict[str, Any]:
    """Measure, and return the figures with what the machine was and did."""
    figures: dict[str, Any] = {"machine": describe_machine()}
    candidates = build_candidates(beside=beside)

    with running_world() as world:
        for name, act in measurements(effort).items():
            if not only or name in only:
                began_at = time.monotonic()
                known = [c for c in candidates if c.name != "bare"] if name == "contention" else candidates
                figures[name] = act(world, known)
                print(f"{name}: {time.monotonic() - began_at:.0f} s", flush=True)
    figures["machine"]["load_after"] = os.getloadavg()[0]
    return figures


def describe_machine() -> dict[str, Any]:
    """Say what was measured on."""
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
    """Measure from the command line; the answer is the exit code: 1 when a budget is broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help=f"some of: {', '.join(measurements(Effort()))}")
    parser.add_argument("--rows", type=int, default=Effort.rows, help="the longest list, up to 1000000")
    parser.add_argument("--beside", type=Path, help="another checkout to measure in the same run, as `before`")
    parser.add_argument("--quick", action="store_true", help="a third of the samples")
    parser.add_argument("--small", action="store_true", help="only see whether everything runs")
    parser.add_argument("--docs", action="store_true", help="write the tables and plots of docs/performance.md anew")
    parser.add_argument("--again", action="store_true", help="measure nothing; show the figures of the last run")
    options = parser.parse_args()
    if options.again:
        figures = json.loads(FIGURES.read_text())
    else:
        effort = SMALL if options.small else replace(QUICK if options.quick else Effort(), rows=options.rows)
        figures = measure(effort, only=options.only, beside=options.beside)
        FIGURES.parent.mkdir(exist_ok=True)
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    tables = tables_of(figures)
    for table in tables:
        print(table.text())
    if not figures.get("emulator") and not options.only:
        print("\nskipped: the runtime emulator, which is not installed here (make setup-infra)")
    if options.docs:
        write_into(DOCUMENT, tables)
        draw_all(PLOTS, figures)
    broken = broken_budgets(figures)
    for what in broken:
        print(f"BROKEN: {what}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
