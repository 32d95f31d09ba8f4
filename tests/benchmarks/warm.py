"""Warm requests: time, processor time, round trips, bytes, requests a second, memory; and the same with a slower way to the database."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median, quantiles
from typing import Any

from tests.benchmarks.processes import Process
from tests.benchmarks.scenarios import IN_THE_MIX, SCENARIOS, Scenario, known_to
from tests.benchmarks.trees import Candidate
from tests.benchmarks.world import World
from tests.support.wire import WireProxy

Figures = dict[str, dict[str, dict[str, float]]]
"""By scenario, then by candidate, then by name."""

WARM_UP = 20
MEMORY_REQUESTS = 2000


@contextmanager
def running(
    world: World, candidates: list[Candidate], *, database_url: str | None = None, warm_up: int = WARM_UP
) -> Iterator[list[Process]]:
    """Start all candidates, signed in and warm."""
    with ExitStack() as stack:
        processes = [stack.enter_context(world.start(candidate, database_url=database_url)) for candidate in candidates]
        for process in processes:
            world.sign_in(process, world.owner)
            for scenario in known_to(process.candidate.name):
                _run(world, process, scenario, max(1, warm_up // scenario.weight))
        yield processes


def _events(world: World, process: Process, *scenarios: Scenario) -> list[dict[str, Any]]:
    token = world.sign_in(process, world.owner)
    return [scenario.event(world, token) for scenario in scenarios]


def _run(world: World, process: Process, scenario: Scenario, times: int) -> dict[str, list[int]]:
    return process.tell("run", events=_events(world, process, scenario), times=times, status=scenario.status)


def measure_requests(world: World, candidates: list[Candidate], *, rounds: int, times: int) -> Figures:
    """Measure every scenario by every candidate, a few requests each in turns, so that what else the machine does meets all alike."""
    taken: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: {"wall": [], "cpu": []})
    with running(world, candidates) as processes:
        for number in range(rounds):
            for scenario in SCENARIOS:
                for process in processes[number % len(processes) :] + processes[: number % len(processes)]:
                    if process.candidate.name in scenario.by:
                        answer = _run(world, process, scenario, max(1, times // scenario.weight))
                        for kind, samples in taken[scenario.name, process.candidate.name].items():
                            samples.extend(answer[kind])
    figures: Figures = defaultdict(dict)
    for (scenario_name, candidate), kinds in taken.items():
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


def measure_wire(world: World, candidates: list[Candidate]) -> Figures:
    """Count what one warm request of each kind sends to the database and gets back."""
    figures: Figures = defaultdict(dict)
    with (
        WireProxy(world.database_url) as proxy,
        running(world, candidates, database_url=proxy.url_for(world.database_url), warm_up=1) as processes,
    ):
        for process in processes:
            for scenario in known_to(process.candidate.name):
                with proxy.count() as counted:
                    _run(world, process, scenario, 1)
                figures[scenario.name][process.candidate.name] = {
                    "round_trips": counted.round_trips,
                    "sent_bytes": counted.sent_bytes,
                    "received_bytes": counted.received_bytes,
                }
    return dict(figures)


def measure_latency(world: World, candidates: list[Candidate], *, delays_ms: tuple[float, ...], times: int) -> dict[str, Figures]:
    """Measure the median of every scenario with so many milliseconds added to each round trip, by delay."""
    by_delay: dict[str, Figures] = {}
    with (
        WireProxy(world.database_url) as proxy,
        running(world, candidates, database_url=proxy.url_for(world.database_url)) as processes,
    ):
        for delay in delays_ms:
            proxy.delay_seconds = delay / 1000
            figures: Figures = defaultdict(dict)
            for scenario in SCENARIOS:
                for process in processes:
                    if process.candidate.name in scenario.by:
                        wall = _run(world, process, scenario, max(3, times // scenario.weight))["wall"]
                        figures[scenario.name][process.candidate.name] = {"p50_ms": median(wall) / 1e6}
            by_delay[f"{delay:g}"] = dict(figures)
    return by_delay


def measure_load(world: World, candidates: list[Candidate], *, rounds: int, seconds: float) -> dict[str, dict[str, float]]:
    """Load one process of each with the mix, in turns; and weigh it when it has started, has answered once, and has served thousands."""
    mixed = [next(scenario for scenario in SCENARIOS if scenario.name == name) for name in IN_THE_MIX]
    figures: dict[str, dict[str, float]] = {}
    served: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with ExitStack() as stack:
        processes = [stack.enter_context(world.start(candidate)) for candidate in candidates]
        for process in processes:
            started = process.tell("memory")["resident_bytes"]
            _run(world, process, mixed[0], 1)
            answered = process.tell("memory")["resident_bytes"]
            figures[process.candidate.name] = {"started_mb": started / 1e6, "answered_mb": answered / 1e6}
        for _ in range(rounds):
            for process in processes:
                answer = process.tell("load", events=_events(world, process, *mixed), seconds=seconds)
                served[process.candidate.name].append((answer["served"] / answer["seconds"], answer["served"] / answer["cpu_seconds_used"]))
        for process in processes:
            name = process.candidate.name
            for scenario in (mixed[0], mixed[-1]):
                _run(world, process, scenario, MEMORY_REQUESTS // 2)
            figures[name]["loaded_mb"] = process.tell("memory")["resident_bytes"] / 1e6
            figures[name]["per_second"] = median(rate for rate, _ in served[name])
            figures[name]["per_cpu_second"] = median(rate for _, rate in served[name])
    return figures
