"""Sessions of browsers: the cookie, refresh and sign-out, and the refusal of requests that other pages send."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest
import time_machine
from fastapi import FastAPI

from lambda_app.application import create_app
from lambda_app.core import clock
from lambda_app.core.settings import Environment, Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.accounts import Account
from tests.support.event_loops import run_in_new_loop
from tests.support.gateway import GatewayTransport, payload_v1, payload_v2
from tests.support.mailing import Mailing
from tests.support.problems import assert_problem, assert_unauthenticated

SESSION = "/api/v1/session"
REFRESH = f"{SESSION}/refresh"
ME = "/api/v1/users/me"
ORIGIN = "https://api.test"
PAGE = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin", "X-We-Upload-Session": "1"}
COOKIE = "__Host-we-upload-session"
CORS_ORIGIN = "https://app.example.com"


@pytest.fixture
def browser(handler: GatewayHandler) -> Iterator[httpx.Client]:
    """A page of the API's own origin, with a cookie jar."""
    with httpx.Client(transport=GatewayTransport(handler), base_url=ORIGIN, headers=PAGE) as client:
        yield client


def sign_in(browser: httpx.Client, account: Account, **headers: str) -> httpx.Response:
    return browser.post(SESSION, json={"email": account.email, "password": account.password}, headers=headers)


def bearer(response: httpx.Response) -> dict[str, str]:
    return {"Authorization": f"Bearer {response.json()['access_token']}"}


def cookie_of(response: httpx.Response) -> Any:
    """Return the one cookie that the response sets."""
    (header,) = response.headers.get_list("set-cookie")
    (morsel,) = SimpleCookie(header).values()
    return morsel


def test_sign_in_returns_an_access_token_and_hides_the_refresh_token_in_a_cookie(browser: httpx.Client, owner: Account) -> None:
    response = sign_in(browser, owner)

    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "expires_at"}
    assert (body["token_type"], body["expires_in"]) == ("bearer", 600)
    assert timedelta(seconds=590) < datetime.fromisoformat(body["expires_at"]) - clock.now() <= timedelta(seconds=600)
    cookie = cookie_of(response)
    assert cookie.key == COOKIE
    assert (cookie["path"], cookie["domain"], cookie["samesite"]) == ("/", "", "strict")
    assert cookie["secure"]
    assert cookie["httponly"]
    assert timedelta(days=13.9) < timedelta(seconds=int(cookie["max-age"])) <= timedelta(days=14)
    assert cookie.value not in response.text
    assert browser.get(ME, headers=bearer(response)).json()["id"] == str(owner.id)


def test_refresh_replaces_the_cookie_and_works_without_an_access_token(browser: httpx.Client, owner: Account) -> None:
    first = sign_in(browser, owner)

    response = browser.post(REFRESH)

    assert response.status_code == 200
    assert set(response.json()) == {"access_token", "token_type", "expires_in", "expires_at"}
    assert cookie_of(response).value != cookie_of(first).value
    assert browser.get(ME, headers=bearer(response)).status_code == 200
    assert browser.post(REFRESH).status_code == 200


def test_session_is_refreshed_after_a_week_and_not_after_a_month(browser: httpx.Client, owner: Account) -> None:
    sign_in(browser, owner)
    with time_machine.travel(clock.now() + timedelta(days=7), tick=False):
        response = browser.post(REFRESH)
        assert browser.get(ME, headers=bearer(response)).status_code == 200
        token = cookie_of(response).value
    with time_machine.travel(clock.now() + timedelta(days=37), tick=False):
        assert_problem(browser.post(REFRESH, headers={"Cookie": f"{COOKIE}={token}"}), 401, "bad_refresh_token")


def test_two_tabs_and_a_lost_answer_keep_the_session_and_a_theft_ends_it(browser: httpx.Client, owner: Account) -> None:
    first = {"Cookie": f"{COOKIE}={cookie_of(sign_in(browser, owner)).value}"}
    browser.cookies.clear()
    tabs = [browser.post(REFRESH, headers=first) for _ in range(2)]
    browser.cookies.clear()

    assert [tab.status_code for tab in tabs] == [200, 200]
    assert cookie_of(tabs[0]).value == cookie_of(tabs[1]).value
    second = {"Cookie": f"{COOKIE}={cookie_of(tabs[0]).value}"}
    third = browser.post(REFRESH, headers=second)
    assert third.status_code == 200
    browser.cookies.clear()

    assert_problem(browser.post(REFRESH, headers=first), 401, "refresh_token_superseded")
    assert_unauthenticated(browser.get(ME, headers=bearer(third)))


def test_sign_out_ends_the_session_and_deletes_the_cookie(browser: httpx.Client, owner: Account) -> None:
    tokens = sign_in(browser, owner)
    stolen = cookie_of(tokens).value

    response = browser.delete(SESSION, headers=bearer(tokens))

    assert response.status_code == 204
    cookie = cookie_of(response)
    assert (cookie.key, cookie.value, cookie["max-age"], cookie["path"]) == (COOKIE, "", "0", "/")
    assert not browser.cookies
    assert_unauthenticated(browser.get(ME, headers=bearer(tokens)))
    assert_problem(browser.post(REFRESH), 401, "no_session")
    assert_problem(browser.post(REFRESH, headers={"Cookie": f"{COOKIE}={stolen}"}), 401, "bad_refresh_token")


def test_sign_out_without_a_cookie_ends_the_session_of_the_access_token(browser: httpx.Client, owner: Account) -> None:
    tokens = sign_in(browser, owner)
    browser.cookies.clear()

    assert browser.delete(SESSION, headers=bearer(tokens)).status_code == 204
    assert_unauthenticated(browser.get(ME, headers=bearer(tokens)))
    assert browser.delete(SESSION).status_code == 204


def test_new_sign_in_ends_the_session_that_the_browser_had(browser: httpx.Client, owner: Account, stranger: Account) -> None:
    old = sign_in(browser, owner)
    elsewhere = owner.headers

    new = sign_in(browser, stranger)

    assert_unauthenticated(browser.get(ME, headers=bearer(old)))
    assert browser.get(ME, headers=bearer(new)).json()["id"] == str(stranger.id)
    assert browser.get(ME, headers=elsewhere).status_code == 200


def test_failed_sign_in_keeps_the_session_and_sets_no_cookie(browser: httpx.Client, owner: Account) -> None:
    tokens = sign_in(browser, owner)

    response = browser.post(SESSION, json={"email": owner.email, "password": "wrong password"})

    assert_problem(response, 401, "bad_credentials")
    assert "set-cookie" not in response.headers
    assert browser.get(ME, headers=bearer(tokens)).status_code == 200


@pytest.mark.parametrize("email", ["no-account@example.com", "not an address", ""])
def test_unknown_address_is_refused_like_a_wrong_password(browser: httpx.Client, owner: Account, email: str) -> None:
    wrong = browser.post(SESSION, json={"email": owner.email, "password": "x"}).json()
    unknown = browser.post(SESSION, json={"email": email, "password": "x"}).json()

    assert {**wrong, "request_id": ""} == {**unknown, "request_id": ""}


def test_failed_sign_ins_share_the_throttle_of_the_token_endpoint(browser: httpx.Client, client: httpx.Client, owner: Account) -> None:
    for _ in range(3):
        browser.post(SESSION, json={"email": owner.email, "password": "wrong"})
        client.post("/api/v1/login/token", data={"username": owner.email, "password": "wrong"})

    response = browser.post(SESSION, json={"email": owner.email, "password": owner.password})

    assert_problem(response, 429, "too_many_attempts")
    assert int(response.headers["retry-after"]) >= 1


def test_sign_in_and_failure_are_audited(browser: httpx.Client, owner: Account, admin: Account) -> None:
    browser.post(SESSION, json={"email": owner.email, "password": "wrong"})
    tokens = sign_in(browser, owner)
    session_id = browser.get(f"{ME}/sessions", headers=bearer(tokens)).json()[0]["id"]

    def actions(subject: str) -> list[str]:
        events = browser.get("/api/v1/admin/audit", params={"subject": subject}, headers=admin.headers).json()
        return [event["action"] for event in events]

    assert "sign_in.failed" in actions(f"user:{owner.id}")
    assert actions(f"user_session:{session_id}") == ["sign_in.succeeded"]


def test_unverified_address_is_refused(strict: Mailing) -> None:
    body = {"email": "new@example.com", "password": "a good password"}
    assert strict.client.post("/api/v1/users/", json=body).status_code == 201
    origin = str(strict.client.base_url).rstrip("/")

    response = strict.client.post(SESSION, json=body, headers=PAGE | {"Origin": origin})

    assert_problem(response, 403, "email_not_verified")
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    "body", [{}, {"email": "a@example.com"}, {"email": "a@example.com", "password": "x", "otp": 1}, {"email": "a\x00", "password": "x"}]
)
def test_malformed_sign_in_is_refused(browser: httpx.Client, body: dict[str, Any]) -> None:
    assert_problem(browser.post(SESSION, json=body), 422, "malformed_request")


ATTACKS: dict[str, tuple[dict[str, str | None], str]] = {
    "form of another site": (
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "X-We-Upload-Session": None},
        "session_header_missing",
    ),
    "page of the same origin without the header": ({"X-We-Upload-Session": None}, "session_header_missing"),
    "another value of the header": ({"X-We-Upload-Session": "true"}, "session_header_missing"),
    "script of another site": ({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, "cross_origin_session"),
    "old browser on another site": ({"Origin": "https://evil.example", "Sec-Fetch-Site": None}, "cross_origin_session"),
    "sandboxed frame": ({"Origin": "null", "Sec-Fetch-Site": "cross-site"}, "cross_origin_session"),
    "sandboxed frame in an old browser": ({"Origin": "null", "Sec-Fetch-Site": None}, "cross_origin_session"),
    "another host of the same site": ({"Origin": "https://other.api.test", "Sec-Fetch-Site": "same-site"}, "cross_origin_session"),
    "another port of the same host": ({"Origin": "https://api.test:8443", "Sec-Fetch-Site": "same-site"}, "cross_origin_session"),
    "plain HTTP on the same host": ({"Origin": "http://api.test", "Sec-Fetch-Site": "cross-site"}, "cross_origin_session"),
    "host with our name as its start": ({"Origin": "https://api.test.evil.example", "Sec-Fetch-Site": None}, "cross_origin_session"),
    "origin that contradicts the browser": ({"Sec-Fetch-Site": "cross-site"}, "cross_origin_session"),
    "foreign origin with a same-origin claim": ({"Origin": "https://evil.example"}, "cross_origin_session"),
    "navigation": ({"Origin": None, "Sec-Fetch-Site": "none"}, "cross_origin_session"),
    "neither origin nor site": ({"Origin": None, "Sec-Fetch-Site": None}, "cross_origin_session"),
    "forwarded host": (
        {"Origin": "https://evil.example", "Sec-Fetch-Site": None, "X-Forwarded-Host": "evil.example"},
        "cross_origin_session",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(("method", "path"), [("POST", SESSION), ("POST", REFRESH), ("DELETE", SESSION)])
def test_cross_site_request_is_refused_and_changes_nothing(
    handler: GatewayHandler, browser: httpx.Client, owner: Account, method: str, path: str, attack: str
) -> None:
    changes, code = ATTACKS[attack]
    tokens = sign_in(browser, owner)
    headers = {name: value for name, value in {**PAGE, **changes}.items() if value is not None}
    with httpx.Client(transport=GatewayTransport(handler), base_url=ORIGIN, cookies=browser.cookies) as attacker:
        body = {"email": owner.email, "password": owner.password} if path == SESSION and method == "POST" else None
        response = attacker.request(method, path, json=body, headers=headers)

    assert_problem(response, 403, code)
    assert "set-cookie" not in response.headers
    assert browser.get(ME, headers=bearer(tokens)).status_code == 200
    assert browser.post(REFRESH).status_code == 200


@pytest.mark.parametrize("headers", [{"Origin": None}, {"Sec-Fetch-Site": None}, {"Origin": "https://API.test"}])
def test_request_of_our_own_page_is_accepted(handler: GatewayHandler, owner: Account, headers: dict[str, str | None]) -> None:
    sent = {name: value for name, value in {**PAGE, **headers}.items() if value is not None}
    with httpx.Client(transport=GatewayTransport(handler), base_url=ORIGIN, headers=sent) as page:
        assert sign_in(page, owner).status_code == 200


def test_cookie_alone_is_not_a_credential(browser: httpx.Client, owner: Account) -> None:
    sign_in(browser, owner)

    assert browser.cookies
    assert_unauthenticated(browser.get(ME))
    assert_unauthenticated(browser.post("/api/v1/login/logout-everywhere"))


@pytest.mark.parametrize("value", ["x", "x" * 43, "x" * 5000, '"', "\u00e9"])
def test_forged_cookie_is_refused(browser: httpx.Client, value: str) -> None:
    response = browser.post(REFRESH, headers={b"Cookie": f"{COOKIE}={value}".encode()})

    assert response.status_code == 401
    assert response.json()["code"] in ("bad_refresh_token", "no_session")


@pytest.fixture
def make_browser(settings: Settings, services: Services) -> Callable[..., httpx.Client]:
    """Return a client of an API with other settings."""

    def make(origin: str, make_event: Any = payload_v2, **changes: Any) -> httpx.Client:
        changed = settings.model_copy(update=changes)
        handler = GatewayHandler(create_app(changed, replace(services, settings=changed)))
        return httpx.Client(transport=GatewayTransport(handler, make_event), base_url=origin, headers=PAGE | {"Origin": origin})

    return make


def test_page_of_a_configured_origin_is_accepted(make_browser: Callable[..., httpx.Client], owner: Account) -> None:
    browser = make_browser(ORIGIN, backend_cors_origins=(CORS_ORIGIN,))

    assert sign_in(browser, owner, Origin=CORS_ORIGIN).status_code == 200
    assert_problem(sign_in(browser, owner, Origin="https://evil.example"), 403, "cross_origin_session")
    preflight = {
        "Origin": CORS_ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-we-upload-session,content-type",
    }
    assert browser.options(SESSION, headers=preflight).status_code == 200
    assert browser.options(SESSION, headers=preflight | {"Origin": "https://evil.example"}).status_code == 403


def test_page_behind_cloudfront_has_the_origin_of_the_api_url(make_browser: Callable[..., httpx.Client], owner: Account) -> None:
    browser = make_browser(ORIGIN, api_url="https://files.example.com/v1")

    assert sign_in(browser, owner, Origin="https://files.example.com").status_code == 200
    assert_problem(sign_in(browser, owner, Origin="https://example.com"), 403, "cross_origin_session")


@pytest.mark.parametrize("make_event", [payload_v1, payload_v2])
def test_two_stages_on_one_host_have_cookies_of_their_own(
    make_browser: Callable[..., httpx.Client], owner: Account, make_event: Any
) -> None:
    blue, green = (make_browser(ORIGIN, partial(make_event, stage=stage)) for stage in ("blue", "green"))
    cookies = [cookie_of(sign_in(browser, owner)) for browser in (blue, green)]

    assert [cookie.key for cookie in cookies] == [f"{COOKIE}.blue", f"{COOKIE}.green"]
    assert {cookie["path"] for cookie in cookies} == {"/"}
    green.cookies.update(blue.cookies)
    assert green.delete(SESSION).status_code == 204
    assert blue.post(REFRESH).status_code == 200


def sign_in_locally(app: FastAPI, origin: str, account: Account) -> Any:
    """Sign in to a local server at the origin, and return the cookie that it sets."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=origin, headers=PAGE | {"Origin": origin}) as page:
            return await page.post(SESSION, json={"email": account.email, "password": account.password})

    response = run_in_new_loop(send())
    assert response.status_code == 200, response.text
    return cookie_of(response)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_loopback_instance_sets_a_plain_cookie_with_its_port(app: FastAPI, owner: Account, host: str) -> None:
    cookie = sign_in_locally(app, f"http://{host}:8001", owner)

    assert (cookie.key, cookie["path"], cookie["samesite"]) == ("we-upload-session.8001", SESSION, "strict")
    assert cookie["httponly"]
    assert not cookie["secure"]


@pytest.mark.parametrize("origin", ["http://192.168.1.5:8001", "http://localhost.evil.example:8001", "https://localhost:8001"])
def test_other_hosts_get_a_secure_cookie(app: FastAPI, owner: Account, origin: str) -> None:
    cookie = sign_in_locally(app, origin, owner)

    assert (cookie.key, cookie["path"]) == ("__Host-we-upload-session.8001", "/")
    assert cookie["secure"]


def test_deployed_stage_never_sets_a_plain_cookie(settings: Settings, services: Services, owner: Account) -> None:
    deployed = settings.model_copy(update={"environment": Environment.PROD})

    cookie = sign_in_locally(create_app(deployed, replace(services, settings=deployed)), "http://localhost:8001", owner)

    assert cookie.key == "__Host-we-upload-session.8001"
    assert cookie["secure"]
