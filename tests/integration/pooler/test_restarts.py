"""PgBouncer and PostgreSQL are killed and restarted during requests, at any protocol message of any flow."""

import os
import random
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from infra.local.postgres import Postgres, start_postgres
from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.db import migrations
from lambda_app.db.engine import create_database_engine
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from tests.integration.pooler.conftest import Disruption, disrupted
from tests.integration.pooler.flows import FLOWS
from tests.support.accounts import make_account
from tests.support.fault_injection import FaultInjector, Point, points_of
from tests.support.gateway import GatewayTransport
from tests.support.pooler import IS_POOLED, Pooler, running_pooler

pytestmark = [pytest.mark.skipif(not IS_POOLED, reason="needs PgBouncer: make test-pooler"), pytest.mark.slow]

RESTARTS = int(os.environ.get("POOLER_RESTARTS", "3"))
"""Restarts of each server, at random points; 0 means all points."""
SEED = int(os.environ.get("CUT_SEED", "7" if os.environ.get("CI") else str(random.getrandbits(32))))
TIMEOUT_SECONDS = 20.0
"""Longer than a restart takes: the tests are about the kill, not about the downtime."""
# Without fsync, acknowledged commits survive a crash of the process, though not of the machine.
OPTIONS = ("fsync=off", "full_page_writes=off", "max_connections=50")


class CrashablePostgres:
    """A PostgreSQL that can be killed and restarted with its data. Clients connect to the fixed address of `proxy`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._password = secrets.token_hex(16)
        self._postgres = self._start()
        self.proxy = FaultInjector(self._postgres.url("postgres"))

    def make_database(self, name: str) -> str:
        """Create a database and return its URL through the proxy."""
        return self.proxy.url_for(self._postgres.create_database(name))

    def crash(self) -> None:
        """Kill the server and restart it, with crash recovery, on another port."""
        self._postgres.server.kill()
        self._postgres = self._start()
        self.proxy.upstream_port = self._postgres.port

    def stop(self) -> None:
        """Stop the server and the proxy."""
        self.proxy.close()
        self._postgres.stop()

    def _start(self) -> Postgres:
        return start_postgres(self._folder / "data", log=self._folder / "log", password=self._password, options=OPTIONS)


@dataclass(frozen=True)
class CrashableStack:
    """The API, and functions that kill and restart the servers behind it."""

    disruption: Disruption
    restart: dict[str, Callable[[], None]]


@pytest.fixture(scope="module")
def stack(settings: Settings, services: Services) -> Iterator[CrashableStack]:
    with tempfile.TemporaryDirectory(prefix="we-upload-crash-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        postgres = CrashablePostgres(folder)
        try:
            yield from _stack(settings, postgres)
        finally:
            postgres.stop()


def _stack(settings: Settings, postgres: CrashablePostgres) -> Iterator[CrashableStack]:
    url = postgres.make_database("crashable")
    own = settings.model_copy(update={"database_url": SecretStr(url), "database_timeout_seconds": TIMEOUT_SECONDS})
    whole = Services.build(own)
    migrations.upgrade(whole.engine)
    transport = GatewayTransport(GatewayHandler(create_app(own, whole)))
    pooler: Pooler
    with httpx.Client(transport=transport, base_url="https://api.test") as client, running_pooler(url) as pooler:
        owner = make_account(whole)
        with disrupted(own, whole, client, owner, upstream=pooler.url_for(url)) as disruption:

            def crash() -> None:
                postgres.crash()
                _wait_until_ready(own, pooler.url_for(url))

            yield CrashableStack(disruption, {"PgBouncer": pooler.restart, "PostgreSQL": crash})
    whole.engine.dispose()


def _wait_until_ready(settings: Settings, url: str) -> None:
    """Wait until the pooler has noticed the restart of its server; it rejects the first connections."""
    engine = create_database_engine(settings.model_copy(update={"database_url": SecretStr(url)}))
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"), execution_options={"plain_read": True})
            break
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    engine.dispose()


@pytest.mark.parametrize("victim", ["PgBouncer", "PostgreSQL"])
def test_killed_server_fails_at_most_one_request(stack: CrashableStack, victim: str) -> None:
    points: list[tuple[str, Point]] = [
        (name, point) for name, flow in FLOWS.items() for point in points_of(stack.disruption.flushes_of(flow))
    ]
    chosen = random.Random(f"{SEED}{victim}").sample(points, RESTARTS) if RESTARTS else points
    print(f"CUT_SEED={SEED}: {victim} killed at {len(chosen)} of {len(points)} points")

    for name, point in chosen:
        stack.disruption.assert_survives(FLOWS[name], point, first=stack.restart[victim])
