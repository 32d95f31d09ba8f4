"""PgBouncer and PostgreSQL are killed and started again in the middle of requests, at any message of any flow."""

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
from tests.integration.pooler.conftest import Fireplace, fireplace
from tests.integration.pooler.flows import FLOWS
from tests.support.accounts import make_account
from tests.support.fault_injection import FaultInjector, Point, points_of
from tests.support.gateway import GatewayTransport
from tests.support.pooler import IS_POOLED, Pooler, running_pooler

pytestmark = [pytest.mark.skipif(not IS_POOLED, reason="needs PgBouncer: make test-pooler"), pytest.mark.slow]

RESTARTS = int(os.environ.get("POOLER_RESTARTS", "3"))
"""Restarts of each kind, at points chosen at random; 0 is every point."""
SEED = int(os.environ.get("CUT_SEED", "7" if os.environ.get("CI") else str(random.getrandbits(32))))
PATIENCE_SECONDS = 20.0
"""Longer than a restart takes: what is tested is the kill, not the time without a server."""
# Without fsync it outlives its own crash, not the machine's; what it has acknowledged it has written down.
OPTIONS = ("fsync=off", "full_page_writes=off", "max_connections=50")


class MortalPostgres:
    """A PostgreSQL that is killed and comes back with what it has written down, always at the address of `door`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._password = secrets.token_hex(16)
        self._postgres = self._started()
        self.door = FaultInjector(self._postgres.url("postgres"))

    def make_database(self, name: str) -> str:
        """Return the address of a new database, behind the door."""
        return self.door.url_for(self._postgres.create_database(name))

    def crash(self) -> None:
        """Kill it with whatever it was doing; it recovers, at another port."""
        self._postgres.server.kill()
        self._postgres = self._started()
        self.door.upstream_port = self._postgres.port

    def stop(self) -> None:
        """End it."""
        self.door.close()
        self._postgres.stop()

    def _started(self) -> Postgres:
        return start_postgres(self._folder / "data", log=self._folder / "log", password=self._password, options=OPTIONS)


@dataclass(frozen=True)
class Ruins:
    """What can be killed, and the API in front of it."""

    fire: Fireplace
    kill: dict[str, Callable[[], None]]


@pytest.fixture(scope="module")
def ruins(settings: Settings, services: Services) -> Iterator[Ruins]:
    with tempfile.TemporaryDirectory(prefix="we-upload-mortal-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        postgres = MortalPostgres(folder)
        try:
            yield from _ruins(settings, postgres)
        finally:
            postgres.stop()


def _ruins(settings: Settings, postgres: MortalPostgres) -> Iterator[Ruins]:
    url = postgres.make_database("mortal")
    own = settings.model_copy(update={"database_url": SecretStr(url), "database_timeout_seconds": PATIENCE_SECONDS})
    whole = Services.build(own)
    migrations.upgrade(whole.engine)
    transport = GatewayTransport(GatewayHandler(create_app(own, whole)))
    pooler: Pooler
    with httpx.Client(transport=transport, base_url="https://api.test") as client, running_pooler(url) as pooler:
        owner = make_account(client, whole)
        with fireplace(own, whole, client, owner, upstream=pooler.url_for(url)) as fire:

            def crash() -> None:
                postgres.crash()
                _wait_for_answers(own, pooler.url_for(url))

            yield Ruins(fire, {"PgBouncer": pooler.restart, "PostgreSQL": crash})
    whole.engine.dispose()


def _wait_for_answers(settings: Settings, url: str) -> None:
    """Wait until the pooler has found out that its server is back; it turns the first who asks away."""
    engine = create_database_engine(settings.model_copy(update={"database_url": SecretStr(url)}))
    deadline = time.monotonic() + PATIENCE_SECONDS
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
def test_server_killed_in_mid_request_costs_that_request_at_most(ruins: Ruins, victim: str) -> None:
    points: list[tuple[str, Point]] = [(name, point) for name, flow in FLOWS.items() for point in points_of(ruins.fire.flushes_of(flow))]
    chosen = random.Random(f"{SEED}{victim}").sample(points, RESTARTS) if RESTARTS else points
    print(f"CUT_SEED={SEED}: {victim} killed at {len(chosen)} of {len(points)} points")

    for name, point in chosen:
        ruins.fire.burn(FLOWS[name], point, first=ruins.kill[victim])
