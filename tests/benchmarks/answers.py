"""Whether the time of a refused sign-in tells accounts apart: the medians of interleaved attempts, by kind of attempt.

Attempts of one group have the same answer, so only the time could tell them apart.
"""

import asyncio
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import uuid4

import httpx
from sqlalchemy import text

from lambda_app.application import create_app
from lambda_app.core import clock
from lambda_app.core.security.totp import STEP_SECONDS, totp_code
from lambda_app.models import User
from lambda_app.routers.http.gateway import GatewayHandler
from tests.benchmarks.candidates import Candidate
from tests.benchmarks.testbed import API, PASSWORD, BenchUser, Testbed
from tests.support.gateway import GatewayTransport, payload_v2, unused_address

WARM_UP_TIMES = 5
COUNTERS_KEPT_TIMES = 3
"""Attempts of each kind until the counters are deleted, before a wrong code is delayed."""
GROUPS = {
    "bad_credentials": (
        "unknown account",
        "wrong password",
        "wrong password, second factor",
        "wrong password and code, second factor",
        "right password, disabled account",
    ),
    "bad_second_factor": ("wrong code", "used code", "wrong recovery code"),
}
"""The kinds of attempts, by the code of their answer."""
DIFFERENCE_MAX_MS = 2.0
"""Largest difference between the medians of two kinds with the same answer."""


def measure_answers(testbed: Testbed, candidates: list[Candidate], *, times: int) -> dict[str, dict[str, float]]:
    """Return the median of each kind of attempt in milliseconds, by the code of the answer. Only ours is measured."""
    del candidates

    def measure() -> dict[str, dict[str, float]]:
        with asyncio.Runner() as runner:
            # For Mangum, which takes the loop of its thread.
            asyncio.set_event_loop(runner.get_loop())
            return _medians(testbed, times)

    # A thread of its own, because the tests of the benchmark need the event loop of theirs.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(measure).result()


def _medians(testbed: Testbed, times: int) -> dict[str, dict[str, float]]:
    attempts = _attempts(testbed)
    samples: dict[str, list[float]] = {kind: [] for kinds in GROUPS.values() for kind in kinds}
    settings = testbed.services.settings.model_copy(update={"log_level": "ERROR"})
    handler = GatewayHandler(create_app(settings, testbed.services))
    expected = {kind: code for code, kinds in GROUPS.items() for kind in kinds}
    for number in range(-WARM_UP_TIMES, times):
        if number % COUNTERS_KEPT_TIMES == 0 or number < 0:
            with testbed.services.engine.begin() as connection:
                connection.execute(text("DELETE FROM sign_in_attempt"))
        with httpx.Client(
            transport=GatewayTransport(handler, partial(payload_v2, source_ip=unused_address())), base_url="https://api.test"
        ) as client:
            for kind in sorted(samples, reverse=number % 2 == 0):
                started_at = time.perf_counter()
                answer = client.post(f"{API}/login/token", data=attempts[kind]())
                seconds = time.perf_counter() - started_at
                if answer.json()["code"] != expected[kind]:
                    raise RuntimeError(f"{kind}: {answer.text}")
                if number >= 0:
                    samples[kind].append(seconds * 1000)
    medians = {kind: statistics.median(values) for kind, values in samples.items()}
    return {code: {kind: medians[kind] for kind in kinds} for code, kinds in GROUPS.items()}


def _attempts(testbed: Testbed) -> dict[str, Callable[[], dict[str, str]]]:
    """Return the form of each kind of attempt."""
    plain, disabled = testbed.create_user(), testbed.create_user()
    protected = {kind: testbed.create_user() for kind in ("wrong password", "wrong password and code", *GROUPS["bad_second_factor"])}
    secrets = {user.email: _protect(testbed, user) for user in protected.values()}
    with testbed.services.engine.begin() as connection:
        connection.execute(text('UPDATE "user" SET is_active = false WHERE id = :id'), {"id": disabled.id})

    def form(user: BenchUser, password: str = "wrong password", **fields: str) -> dict[str, str]:  # noqa: S107 - it is wrong
        return {"username": user.email, "password": password, **fields}

    def code(kind: str, *, offset: int) -> str:
        return totp_code(secrets[protected[kind].email], int(clock.now().timestamp()) // STEP_SECONDS + offset)

    return {
        "unknown account": lambda: {"username": f"{uuid4()}@example.com", "password": "wrong password"},
        "wrong password": lambda: form(plain),
        "wrong password, second factor": lambda: form(protected["wrong password"]),
        "wrong password and code, second factor": lambda: form(protected["wrong password and code"], otp="000000"),
        "right password, disabled account": lambda: form(disabled, PASSWORD),
        # A code of the distant past; `used code` is one that would be right.
        "wrong code": lambda: form(protected["wrong code"], PASSWORD, otp=code("wrong code", offset=-1000)),
        "used code": lambda: form(protected["used code"], PASSWORD, otp=code("used code", offset=0)),
        "wrong recovery code": lambda: form(protected["wrong recovery code"], PASSWORD, otp="aaaa-bbbb-cccc"),
    }


def _protect(testbed: Testbed, user: BenchUser) -> str:
    """Turn on the second factor with all codes of this hour used, and return its secret."""
    with testbed.services.unit_of_work() as session:
        row = session.get_one(User, user.id)
        service = testbed.services.second_factors(session)
        secret = service.start(row, current_password=PASSWORD).secret
    with testbed.services.unit_of_work() as session:
        now = int(clock.now().timestamp()) // STEP_SECONDS
        testbed.services.second_factors(session).confirm(session.get_one(User, user.id), otp=totp_code(secret, now))
    with testbed.services.engine.begin() as connection:
        connection.execute(text('UPDATE "user" SET totp_last_step = :step WHERE id = :id'), {"step": now + 1000, "id": user.id})
    return secret
