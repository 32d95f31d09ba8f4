"""The places of sessions, for a service whose operator has a database of places."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from lambda_app.application import create_app
from lambda_app.core.places import Places
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.accounts import Account
from tests.support.gateway import GatewayTransport, payload_v2
from tests.support.places import LONDON, SWEDEN, VIENNA, write_places

OWN = "/api/v1/users/me/sessions"


@pytest.fixture
def client_at(settings: Settings, services: Services, tmp_path: Path) -> Iterator[Callable[[str], httpx.Client]]:
    """A function that returns clients with a source address. The service knows places."""
    places = Places(write_places(tmp_path / "places.mmdb"))
    handler = GatewayHandler(create_app(settings, replace(services, places=places)))
    yield lambda address: httpx.Client(
        transport=GatewayTransport(handler, partial(payload_v2, source_ip=address)), base_url="https://api.test"
    )
    places.close()


def places_of(response: httpx.Response) -> list[Any]:
    assert response.status_code == 200, response.text
    return [(item["network"], item["place"]) for item in response.json()]


def test_sessions_have_places_in_the_language_of_the_caller(
    client_at: Callable[[str], httpx.Client], make_user: Callable[..., Account]
) -> None:
    owner, admin = make_user(), make_user(is_superuser=True)
    for address in (LONDON, VIENNA, SWEDEN, "10.1.2.3", "81.2.70.1"):
        form = {"username": owner.email, "password": owner.password}
        client_at(address).post("/api/v1/login/token", data=form).raise_for_status()
    client = client_at(LONDON)
    client.patch("/api/v1/users/me", json={"locale": "de-AT"}, headers=admin.headers).raise_for_status()
    unknown: list[Any] = [("81.2.70.0/24", None), ("10.1.2.0/24", None)]
    # The session of the fixture was not opened over HTTP.
    english = [*unknown, ("89.160.20.0/24", "Sweden"), ("2a02:d00:1::/48", "Vienna, Austria"), ("81.2.69.0/24", "London, United Kingdom")]
    german = [
        *unknown,
        ("89.160.20.0/24", "Schweden"),
        ("2a02:d00:1::/48", "Wien, Österreich"),
        ("81.2.69.0/24", "London, Vereinigtes Königreich"),
    ]

    assert places_of(client.get(OWN, headers=owner.headers)) == [*english, (None, None)]
    assert places_of(client.get(OWN, headers={**owner.headers, "Accept-Language": "de"})) == [*german, (None, None)]
    # An administrator reads them in the own language, not in that of the user.
    listed = client.get(f"/api/v1/users/{owner.id}/sessions", headers={**admin.headers, "Accept-Language": "en"})
    assert places_of(listed) == [*german, (None, None)]


def test_sessions_have_no_places_without_a_database(client_from: Callable[[str], httpx.Client], owner: Account) -> None:
    form = {"username": owner.email, "password": owner.password}
    client_from(LONDON).post("/api/v1/login/token", data=form).raise_for_status()

    assert places_of(client_from(LONDON).get(OWN, headers=owner.headers))[0] == ("81.2.69.0/24", None)
