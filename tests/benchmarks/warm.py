"""Warm requests: time, processor time, round trips, bytes, throughput and memory, and time with latency to the database."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median, quantiles
from typing import Any

from tests.benchmarks.candidates import Candidate
from tests.benchmarks.processes import Process
from tests.benchmarks.scenarios import LOAD_MIX, SCENARIOS, Scenario, scenarios_of
from tests.benchmarks.testbed import Testbed
from tests.support.wire import WireProxy

Figures = dict[str, dict[str, dict[str, float]]]
"""By scenario, candidate and name."""

WARM_UP = 20
MEMORY_REQUESTS = 2000


@contextmanager
def running(
    testbed: Testbed, candidates: list[Candidate], *, database_url: str | None = None, warm_up: int = WARM_UP
) -> Iterator[list[Process]]:
    """Start all candidates, sign in, and warm them up."""
    with ExitStack() as stack:
        processes = [stack.enter_context(testbed.start(candidate, database_url=database_url)) for candidate in candidates]
        for process in processes:
            testbed.sign_in(process, testbed.owner)
            for scenario in scenarios_of(process.candidate.name):
                _run(testbed, process, scenario, max(1, warm_up // scenario.weight))
        yield processes


def _events(testbed: Testbed, process: Process, *scenarios: Scenario) -> list[dict[str, Any]]:
    token = testbed.sign_in(process, testbed.owner)
    return [scenario.event(testbed, token) for scenario in scenarios]


def _run(testbed: Testbed, process: Process, scenario: Scenario, times: int) -> dict[str, list[int]]:
    return process.call("run", events=_events(testbed, process, scenario), times=times, status=scenario.status)


def measure_requests(testbed: Testbed, candidates: list[Candidate], *, rounds: int, times: int) -> Figures:
    """Measure every scenario of every candidate, a few requests each in turns, so that other work on the machine affects all alike."""
    samples_by_pair: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: {"wall": [], "cpu": []})
    with running(testbed, candidates) as processes:
        for number in range(rounds):
            for scenario in SCENARIOS:
                for process in processes[number % len(processes) :] + processes[: number % len(processes)]:
                    if process.candidate.name in scenario.by:
                        response = _run(testbed, process, scenario, max(1, times // scenario.weight))
                        for kind, samples in samples_by_pair[scenario.name, process.candidate.name].items():
                            samples.extend(response[kind])
    figures: Figures = defaultdict(dict)
    for (scenario_name, candidate), kinds in samples_by_pair.items():
        wall, cpu = kinds["wall"], kinds["cpu"]
        figures[scenario_name][candidate] = {
            "p50_ms": median(wall) / 1e6,
            "p99_ms": quantiles(wall, n=100)[98] / 1e6,
            "best_ms": min(wall) / 1e6,
            "cpu_p50_ms": median(cpu) / 1e6,
            "cpu_best_ms": min(cpu) / 1e6,
            "requests": len(wall),
        }
    return dict(figures)


def measure_wire(testbed: Testbed, candidates: list[Candidate]) -> Figures:
    """Count round trips and bytes between one warm request of each scenario and the database."""
    figures: Figures = defaultdict(dict)
    with (
        WireProxy(testbed.database_url) as proxy,
        running(testbed, candidates, database_url=proxy.url_for(testbed.database_url), warm_up=1) as processes,
    ):
        for process in processes:
            for scenario in scenarios_of(process.candidate.name):
                with proxy.count() as counted:
                    _run(testbed, process, scenario, 1)
                figures[scenario.name][process.candidate.name] = {
                    "round_trips": counted.round_trips,
                    "sent_bytes": counted.sent_bytes,
                    "received_bytes": counted.received_bytes,
                }
    return dict(figures)


def measure_latency(testbed: Testbed, candidates: list[Candidate], *, delays_ms: tuple[float, ...], times: int) -> dict[str, Figures]:
    """Measure the median of every scenario with each delay added to every round trip. Returns figures by delay."""
    by_delay: dict[str, Figures] = {}
    with (
        WireProxy(testbed.database_url) as proxy,
        running(testbed, candidates, database_url=proxy.url_for(testbed.database_url)) as processes,
    ):
        for delay in delays_ms:
            proxy.delay_seconds = delay / 1000
            figures: Figures = defaultdict(dict)
            for scenario in SCENARIOS:
                for process in processes:
                    if process.candidate.name in scenario.by:
                        wall = _run(testbed, process, scenario, max(3, times // scenario.weight))["wall"]
                        figures[scenario.name][process.candidate.name] = {"p50_ms": median(wall) / 1e6}
            by_delay[f"{delay:g}"] = dict(figures)
    return by_delay


def measure_load(testbed: Testbed, candidates: list[Candidate], *, rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Load one process of each candidate in turns. Its memory is measured after the start, the first response and 2,000 requests."""
    mixed = [next(scenario for scenario in SCENARIOS if scenario.name == name) for name in LOAD_MIX]
    figures: dict[str, dict[str, float]] = {}
    served: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with ExitStack() as stack:
        processes = [stack.enter_context(testbed.start(candidate)) for candidate in candidates]
        for process in processes:
            started = process.call("memory")["resident_bytes"]
            _run(testbed, process, mixed[0], 1)
            first_response = process.call("memory")["resident_bytes"]
            figures[process.candidate.name] = {"started_mb": started / 1e6, "first_response_mb": first_response / 1e6}
        for _ in range(rounds):
            for process in processes:
                response = process.call("load", events=_events(testbed, process, *mixed), seconds=seconds)
                served[process.candidate.name].append(
                    (response["served"] / response["seconds"], response["served"] / response["cpu_seconds_used"])
                )
        for process in processes:
            name = process.candidate.name
            for scenario in (mixed[0], mixed[-1]):
                _run(testbed, process, scenario, MEMORY_REQUESTS // 2)
            figures[name]["loaded_mb"] = process.call("memory")["resident_bytes"] / 1e6
            figures[name]["per_second"] = median(rate for rate, _ in served[name])
            figures[name]["per_cpu_second"] = median(rate for _, rate in served[name])
    return figures
