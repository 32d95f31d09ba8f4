"""Reads that a standby serves."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.accounts import Account
from tests.support.gateway import GatewayTransport
from tests.support.problems import assert_problem
from tests.support.wire import WireProxy


@dataclass(frozen=True)
class Replicated:
    """An API with a database and a standby, each behind a proxy that records statements. Both are the same PostgreSQL."""

    client: httpx.Client
    primary: WireProxy
    standby: WireProxy


@pytest.fixture
def replicated(settings: Settings, services: Services) -> Iterator[Replicated]:
    url = settings.database_url.get_secret_value()
    with WireProxy(url) as primary, WireProxy(url) as standby:
        there = make_url(standby.url_for(url))
        changes = {"database_url": SecretStr(primary.url_for(url)), "database_read_host": f"{there.host}:{there.port}"}
        changed = settings.model_copy(update=changes)
        built = replace(Services.build(changed), store=services.store, keys=services.keys, tokens=services.tokens)
        with httpx.Client(transport=GatewayTransport(GatewayHandler(create_app(changed, built))), base_url="https://api.test") as client:
            yield Replicated(client, primary, standby)
        built.before_snapshot()


@pytest.mark.parametrize("path", ["/api/v1/admin/audit", "/api/v1/admin/stats"])
def test_standby_serves_administrators_reads(replicated: Replicated, make_user: Callable[..., Account], path: str) -> None:
    root = make_user(is_superuser=True)

    with replicated.primary.count() as primary, replicated.standby.count() as standby:
        answer = replicated.client.get(path, headers=root.headers)

    assert answer.status_code == 200
    assert standby.statements
    # Only the caller is read from the database itself.
    assert [statement for statement in primary.statements if "audit" in statement or "count(" in statement] == []


def test_ended_session_is_refused_although_the_standby_does_not_know(replicated: Replicated, make_user: Callable[..., Account]) -> None:
    root = make_user(is_superuser=True)
    assert replicated.client.post("/api/v1/login/logout-everywhere", headers=root.headers).is_success

    with replicated.standby.count() as standby:
        assert_problem(replicated.client.get("/api/v1/admin/audit", headers=root.headers), 401, "not_authenticated")

    assert standby.statements == []


def test_other_reads_do_not_use_the_standby(replicated: Replicated, make_user: Callable[..., Account]) -> None:
    user = make_user()

    with replicated.standby.count() as standby:
        assert replicated.client.get("/api/v1/files", headers=user.headers).status_code == 200
        assert replicated.client.get("/api/v1/users/me", headers=user.headers).status_code == 200

    assert standby.connections == 0


def test_database_serves_the_reads_of_a_standby_that_is_down(replicated: Replicated, make_user: Callable[..., Account]) -> None:
    root = make_user(is_superuser=True)
    replicated.standby.close()

    assert replicated.client.get("/api/v1/admin/audit", headers=root.headers).status_code == 200
