"""Counters under contention: several processes that change one counter, compared with processes that each change their own."""

import time
from contextlib import ExitStack
from statistics import median, quantiles

from sqlalchemy import text

from tests.benchmarks.candidates import Candidate
from tests.benchmarks.scenarios import CONTENDED
from tests.benchmarks.testbed import BenchUser, Testbed

PROCESSES = 4


def measure_contention(testbed: Testbed, candidates: list[Candidate], *, times: int) -> dict[str, dict[str, dict[str, float]]]:
    """Let the processes of each candidate send `times` requests concurrently. Returns figures by counter, candidate and sharing."""
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for counter, contended in CONTENDED.items():
        figures[counter] = {}
        for candidate in [candidate for candidate in candidates if candidate.name in contended.by]:
            with ExitStack() as stack:
                processes = [stack.enter_context(testbed.start(candidate)) for _ in range(PROCESSES)]
                users = [testbed.create_user() for _ in processes]
                own_events = [contended.event(testbed, process, user) for process, user in zip(processes, users, strict=True)]
                for sharing, numbers in (("one for each", range(PROCESSES)), ("one for all", [0] * PROCESSES)):
                    events = [own_events[number] for number in numbers]
                    for process, event in zip(processes, events, strict=True):
                        process.call("run", events=[event], times=5, status=contended.status)
                    before = time.perf_counter()
                    for process, event in zip(processes, events, strict=True):
                        process.send("run", events=[event], times=times, status=contended.status)
                    wall = [sample for process in processes for sample in process.receive()["wall"]]
                    elapsed = time.perf_counter() - before
                    figures[counter][f"{candidate.name}: {sharing}"] = {
                        "per_second": len(wall) / elapsed,
                        "p50_ms": median(wall) / 1e6,
                        "p99_ms": quantiles(wall, n=100)[98] / 1e6,
                    }
                if counter == "quota" and candidate.module == "lambda_app.main":
                    _check_counters(testbed, users)
    return figures


def _check_counters(testbed: Testbed, users: list[BenchUser]) -> None:
    """Raise if the usage counters of a user differ from the sum of the user's files."""
    query = """
    SELECT files_count, bytes_used, count(file.id), coalesce(sum(size_bytes), 0) FROM "user" LEFT JOIN file ON owner_id = "user".id
    WHERE "user".id = :id GROUP BY "user".id
    """
    with testbed.services.engine.connect() as connection:
        for user in users:
            files_count, bytes_used, files, size = connection.execute(text(query), {"id": user.id}).one()
            assert (files_count, bytes_used) == (files, size), "a usage counter is wrong after contention"
