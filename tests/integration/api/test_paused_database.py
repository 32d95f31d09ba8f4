"""Requests to a stage whose database pauses when it is idle."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx
import pytest
from pydantic import SecretStr

from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.accounts import Account, make_file
from tests.support.gateway import GatewayTransport
from tests.support.pages import Page
from tests.support.pausing import PausingProxy
from tests.support.problems import assert_problem
from tests.support.shares import BROWSER, make_share

START_SECONDS = 0.6
SIGN_IN_SECONDS = 0.2


@pytest.fixture(params=[False, True], ids=["refuses", "holds"])
def cluster(request: pytest.FixtureRequest, settings: Settings) -> Iterator[PausingProxy]:
    """The database behind a proxy that can be paused."""
    with PausingProxy(settings.database_url.get_secret_value(), start_seconds=START_SECONDS, holds=request.param) as proxy:
        yield proxy


@pytest.fixture
def paused(cluster: PausingProxy, settings: Settings, services: Services) -> Iterator[httpx.Client]:
    """A client of an API whose database pauses."""
    changed = settings.model_copy(
        update={
            "database_url": SecretStr(cluster.url_for(settings.database_url.get_secret_value())),
            "database_pauses": True,
            "database_sign_in_seconds": SIGN_IN_SECONDS,
        }
    )
    pausing = replace(Services.build(changed), store=services.store, keys=services.keys, tokens=services.tokens)
    with httpx.Client(transport=GatewayTransport(GatewayHandler(create_app(changed, pausing))), base_url="https://api.test") as client:
        yield client
    pausing.engine.dispose()


def test_requests_get_503_until_the_database_has_started(
    paused: httpx.Client, cluster: PausingProxy, make_user: Callable[..., Account]
) -> None:
    user = make_user()
    assert paused.get("/api/v1/users/me", headers=user.headers).status_code == 200
    cluster.pause()
    paused_at = time.monotonic()

    answers = [paused.get("/api/v1/users/me", headers=user.headers)]
    while answers[-1].status_code != 200 and time.monotonic() < paused_at + 5:
        time.sleep(0.1)
        answers.append(paused.get("/api/v1/users/me", headers=user.headers))

    assert answers[-1].json()["id"] == str(user.id)
    assert cluster.refused >= 1
    for answer in answers[:-1]:
        assert_problem(answer, 503, "database_starting", headers={"retry-after": "5"}, retry_after_seconds=5)


def test_upload_during_the_start_changes_nothing_and_succeeds_when_repeated(
    paused: httpx.Client, cluster: PausingProxy, make_user: Callable[..., Account]
) -> None:
    user = make_user()
    declared = {"filename": "a.bin", "content_type": "application/octet-stream", "size_bytes": 1}
    headers = user.headers | {"Idempotency-Key": "the-same"}
    cluster.pause()

    assert_problem(paused.post("/api/v1/files/upload", json=declared, headers=headers), 503, "database_starting")
    time.sleep(START_SECONDS)
    repeated = paused.post("/api/v1/files/upload", json=declared, headers=headers)

    assert repeated.status_code == 201, repeated.text
    assert [file["id"] for file in paused.get("/api/v1/files", headers=user.headers).json()] == [repeated.json()["file_id"]]


def test_browser_gets_a_page_that_reloads_itself(paused: httpx.Client, cluster: PausingProxy, make_user: Callable[..., Account]) -> None:
    owner = make_user()
    file = make_file(paused, owner, filename="report.pdf", content_type="application/pdf")
    link = make_share(paused, owner, str(file["id"]))["url"]
    cluster.pause()

    page = paused.get(link, headers=BROWSER)
    form = paused.post(link, headers=BROWSER, data={"password": "x"})
    time.sleep(START_SECONDS)
    opened = paused.get(link, headers=BROWSER)

    assert (page.status_code, page.headers["refresh"], page.headers["retry-after"]) == (503, "5", "5")
    assert "One moment" in Page(page).texts
    assert Page(page).all("script") == []
    # A form would be sent as a GET by the reload.
    assert (form.status_code, "refresh" in form.headers) == (503, False)
    assert (opened.status_code, "refresh" in opened.headers) == (200, False)
