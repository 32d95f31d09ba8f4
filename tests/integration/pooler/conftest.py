"""An API whose database connection can be broken, and a second one with an intact connection."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from tests.integration.pooler.flows import Flow, World
from tests.support.accounts import Account, make_account
from tests.support.fault_injection import FaultInjector, Flush, Point
from tests.support.gateway import GatewayTransport
from tests.support.problems import assert_problem
from tests.support.quota_assertions import assert_quota_is_exact


@dataclass(frozen=True)
class Disruption:
    """The two APIs, and the fault injector in the connection of the first one."""

    world: World
    injector: FaultInjector
    warm: Callable[[], None]
    """Signs in to the database if the connection is not open."""

    def flushes_of(self, flow: Flow) -> list[Flush]:
        """Return the flushes of the flow without a fault."""
        prepared = flow.prepare(self.world)
        self.warm()
        flushes = self.injector.watch()
        answer = flow.act(self.world, prepared)
        assert answer.status_code == flow.done, answer.text
        assert flow.effects(self.world, prepared) == 1
        return list(flushes)

    def assert_survives(self, flow: Flow, point: Point, *, first: Callable[[], None] = lambda: None) -> None:
        """Break the connection at the point. Assert that at most one request fails, and that no effect is lost or duplicated.

        `first` is called immediately before the connection breaks.
        """
        prepared = flow.prepare(self.world)
        self.warm()
        self.injector.break_at(point, first=first)

        answer = flow.act(self.world, prepared)
        after = self.world.broken.get("/api/v1/users/me", headers=self.world.owner.headers)

        assert self.injector.was_tripped.is_set(), point
        assert after.status_code == 200, (point, answer.status_code, after.text)
        if answer.status_code != flow.done:
            assert_problem(answer, 503)
            again = flow.act(self.world, prepared)
            assert again.status_code in (flow.done, *flow.done_again), (point, again.text)
        assert flow.effects(self.world, prepared) == 1, (point, answer.text)
        again = flow.act(self.world, prepared)
        assert again.status_code in (flow.done, *flow.done_again), (point, again.text)
        assert flow.effects(self.world, prepared) == 1, (point, again.text)
        assert_quota_is_exact(self.world.services, [self.world.owner.id])


@contextmanager
def disrupted(settings: Settings, services: Services, whole: httpx.Client, owner: Account, *, upstream: str) -> Iterator[Disruption]:
    """Yield an API that connects to `upstream` through a fault injector."""
    with FaultInjector(upstream) as injector:
        own = settings.model_copy(update={"database_url": SecretStr(injector.url_for(upstream))})
        built = Services.build(own)

        def warm() -> None:
            with built.unit_of_work() as session:
                session.execute(text("SELECT 1"), execution_options={"plain_read": True})

        with httpx.Client(transport=GatewayTransport(GatewayHandler(create_app(own, built))), base_url="https://api.test") as broken:
            yield Disruption(World(broken, whole, services, owner), injector, warm)
        built.engine.dispose()


@pytest.fixture
def disruption(settings: Settings, services: Services, client: httpx.Client) -> Iterator[Disruption]:
    """An API whose database connection can be broken."""
    owner = make_account(services)
    with disrupted(settings, services, client, owner, upstream=settings.database_url.get_secret_value()) as disruption:
        yield disruption
