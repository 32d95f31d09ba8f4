"""Counters under contention: several processes that change the same one, against each changing its own."""

import time
from contextlib import ExitStack
from statistics import median, quantiles

from sqlalchemy import text

from tests.benchmarks.scenarios import CONTENDED
from tests.benchmarks.trees import Candidate
from tests.benchmarks.world import Person, World

PROCESSES = 4


def measure_contention(world: World, candidates: list[Candidate], *, times: int) -> dict[str, dict[str, dict[str, float]]]:
    """Let the processes of one candidate make `times` requests each at the same moment; by counter, then by who shares it."""
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for counter, contended in CONTENDED.items():
        figures[counter] = {}
        for candidate in [candidate for candidate in candidates if candidate.name in contended.by]:
            with ExitStack() as stack:
                processes = [stack.enter_context(world.start(candidate)) for _ in range(PROCESSES)]
                people = [world.make_person() for _ in processes]
                own = [contended.event(world, process, person) for process, person in zip(processes, people, strict=True)]
                for who, numbers in (("one for each", range(PROCESSES)), ("one for all", [0] * PROCESSES)):
                    events = [own[number] for number in numbers]
                    for process, asked in zip(processes, events, strict=True):
                        process.tell("run", events=[asked], times=5, status=contended.status)
                    before = time.perf_counter()
                    for process, asked in zip(processes, events, strict=True):
                        process.send("run", events=[asked], times=times, status=contended.status)
                    wall = [sample for process in processes for sample in process.receive()["wall"]]
                    took = time.perf_counter() - before
                    figures[counter][f"{candidate.name}: {who}"] = {
                        "per_second": len(wall) / took,
                        "p50_ms": median(wall) / 1e6,
                        "p99_ms": quantiles(wall, n=100)[98] / 1e6,
                    }
                if counter == "quota" and candidate.module == "lambda_app.main":
                    _require_right_books(world, people)
    return figures


def _require_right_books(world: World, people: list[Person]) -> None:
    """What everybody is charged is the sum of their files, also after a fight for the counter."""
    query = """
    SELECT files_count, bytes_used, count(file.id), coalesce(sum(size_bytes), 0) FROM "user" LEFT JOIN file ON owner_id = "user".id
    WHERE "user".id = :id GROUP BY "user".id
    """
    with world.services.engine.connect() as connection:
        for person in people:
            files_count, bytes_used, files, size = connection.execute(text(query), {"id": person.id}).one()
            assert (files_count, bytes_used) == (files, size), "a counter went wrong under contention"
