"""Routes that take a form or a cookie refuse requests that a browser sends from a page of another origin."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.accounts import Account, make_file
from tests.support.gateway import GatewayTransport
from tests.support.problems import assert_problem
from tests.support.shares import BROWSER, make_share

ADDRESSED = "https://api.test"
OWN_URL = "https://files.example.com/prod"
APP = "https://app.example.com"

FOREIGN = [
    {"Origin": "https://evil.example"},
    # A sandboxed page, or one without a referrer.
    {"Origin": "null"},
    {"Origin": "http://api.test"},
    {"Origin": "https://api.test:8443"},
    {"Origin": "https://api.test.evil.example"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": ADDRESSED},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
]
OWN: list[dict[str, str]] = [
    {},
    {"Origin": ADDRESSED},
    {"Origin": "https://files.example.com"},
    {"Sec-Fetch-Site": "same-origin", "Origin": ADDRESSED},
    # Browsers send `Origin: null` from a page without a referrer, also to the page's own site.
    {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
    {"Sec-Fetch-Site": "none"},
]


@pytest.fixture(scope="module")
def site(settings: Settings, services: Services) -> Iterator[httpx.Client]:
    """The application behind a public address other than the one that requests are addressed to, with one app of another origin."""
    changed = settings.model_copy(update={"api_url": OWN_URL, "backend_cors_origins": (APP,)})
    built = Services.build(changed)
    with httpx.Client(transport=GatewayTransport(GatewayHandler(create_app(changed, built))), base_url=ADDRESSED) as client:
        yield client
    built.engine.dispose()


@pytest.fixture(scope="module")
def owner(make_user: Callable[..., Account]) -> Account:
    """One owner for all tests."""
    return make_user()


@pytest.fixture(scope="module")
def link(client: httpx.Client, owner: Account) -> str:
    """The path of a link with a password."""
    share = make_share(client, owner, make_file(client, owner)["id"], password="swordfish")
    return str(share["url"])


def send_password_form(site: httpx.Client, link: str, headers: dict[str, str]) -> httpx.Response:
    return site.post(link, data={"password": "swordfish"}, headers=headers)


def send_password_as_text(site: httpx.Client, link: str, headers: dict[str, str]) -> httpx.Response:
    return site.post(link, content=b'{"password": "swordfish"}', headers=headers | {"Content-Type": "text/plain"})


def request_zip_with_cookie(site: httpx.Client, link: str, headers: dict[str, str]) -> httpx.Response:
    cookie = site.post(link, data={"password": "swordfish"}).headers["set-cookie"].partition(";")[0]
    site.cookies.clear()
    return site.post(f"{link}/archives", headers=headers | BROWSER | {"Cookie": cookie})


ROUTES: list[Callable[..., httpx.Response]] = [send_password_form, send_password_as_text, request_zip_with_cookie]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("send", ROUTES)
def test_form_of_another_origin_is_refused(
    site: httpx.Client, link: str, send: Callable[..., httpx.Response], headers: dict[str, str]
) -> None:
    response = send(site, link, headers)

    assert response.status_code == 403
    assert "set-cookie" not in response.headers
    if "html" not in response.headers["content-type"]:
        assert_problem(response, 403, "cross_site_form")


@pytest.mark.parametrize("headers", [*FOREIGN[:1], {"Origin": APP}, {"Origin": APP, "Sec-Fetch-Site": "cross-site"}])
def test_form_of_an_app_that_may_call_the_api_is_refused_at_a_link(site: httpx.Client, link: str, headers: dict[str, str]) -> None:
    """Its script can send JSON, after a preflight request, and gets no cookie."""
    assert_problem(send_password_form(site, link, headers), 403, "cross_site_form")


@pytest.mark.parametrize("headers", OWN)
@pytest.mark.parametrize("send", ROUTES)
def test_form_of_the_own_page_is_accepted(
    site: httpx.Client, link: str, send: Callable[..., httpx.Response], headers: dict[str, str]
) -> None:
    response = send(site, link, headers)

    assert response.status_code in (200, 303), response.text


def sign_in(site: httpx.Client, owner: Account, headers: dict[str, str]) -> httpx.Response:
    form: dict[str, Any] = {"username": owner.email, "password": owner.password}
    return site.post("/api/v1/login/token", data=form, headers=headers)


@pytest.mark.parametrize("headers", FOREIGN)
def test_sign_in_from_a_page_of_another_origin_is_refused(site: httpx.Client, owner: Account, headers: dict[str, str]) -> None:
    """Such a page could make the owner's browser use up the attempts that the owner has from that network."""
    assert_problem(sign_in(site, owner, headers), 403, "cross_site_form")


@pytest.mark.parametrize("headers", [*OWN, {"Origin": APP}, {"Origin": APP, "Sec-Fetch-Site": "cross-site"}])
def test_sign_in_from_a_trusted_page_or_a_program_is_accepted(site: httpx.Client, owner: Account, headers: dict[str, str]) -> None:
    assert sign_in(site, owner, headers).status_code == 200


def test_pages_with_forms_let_the_browser_send_its_origin(site: httpx.Client, client: httpx.Client, owner: Account, link: str) -> None:
    opened = make_share(client, owner, make_file(client, owner)["id"], make_file(client, owner)["id"])["url"]
    progress = site.post(f"{opened}/archives", headers=BROWSER).headers["location"]

    pages = [site.get(path, headers=BROWSER) for path in (link, opened, progress)]

    assert [page.headers["referrer-policy"] for page in pages] == ["same-origin"] * 3
    assert all("<form" in page.text for page in pages[:2])
    assert site.get(opened).headers["referrer-policy"] == "no-referrer"
