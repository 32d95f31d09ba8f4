"""The operator's name, logo and accent on the pages, in the web app and in the configuration."""

import base64
import hashlib
import re
from pathlib import Path

import httpx
import pytest

from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from tests.support.accounts import Account, make_account, make_file
from tests.support.gateway import GatewayTransport
from tests.support.pages import Page
from tests.support.shares import BROWSER, make_share

NAME = "Nord <b>& Sons</b>"
ACCENT = "#7a1fa2"
LOGO = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
INDEX = '<!doctype html><html><head><title>We-Upload</title><link rel="icon" href="./assets/logo-1.svg" type="image/svg+xml"></head></html>'


@pytest.fixture
def branded(settings: Settings, services: Services, tmp_path: Path) -> httpx.Client:
    """A client of a service with a name, a logo and an accent of its own."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text(INDEX)
    (tmp_path / "logo.svg").write_bytes(LOGO)
    changes = {"brand_name": NAME, "brand_accent": ACCENT, "brand_logo_file": tmp_path / "logo.svg", "web_app_folder": tmp_path}
    app = create_app(settings.model_copy(update=changes), services)
    return httpx.Client(transport=GatewayTransport(GatewayHandler(app)), base_url="https://api.test", headers=BROWSER)


@pytest.fixture
def owner(branded: httpx.Client, services: Services) -> Account:
    return make_account(services)


def policy_of(response: httpx.Response) -> dict[str, str]:
    return dict(rule.split(" ", 1) for rule in response.headers["content-security-policy"].split("; "))


def digest_of_style(response: httpx.Response) -> str:
    found = re.search("<style>(.*?)</style>", response.text, re.DOTALL)
    assert found is not None
    return f"'sha256-{base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()}'"


def test_pages_show_name_logo_and_accent(branded: httpx.Client, owner: Account) -> None:
    share = make_share(branded, owner, str(make_file(branded, owner)["id"]))
    request = branded.post("/api/v1/file-requests", json={"title": "Photos"}, headers=owner.headers).json()
    pages = [branded.get(share["url"]), branded.get("/s/none"), branded.get(request["url"])]

    for response in pages:
        page = Page(response)
        assert [text for text in page.texts if text.endswith(f"· {NAME}")]
        assert page.all("b") == []
        (logo,) = page.all("img")
        assert branded.get(str(logo["src"])).content == LOGO
        assert f"--accent:{ACCENT};" in response.text
        assert policy_of(response)["style-src"] == digest_of_style(response)
        assert policy_of(response)["img-src"] == "'self'"


def test_recipients_and_guests_can_report_abuse(settings: Settings, services: Services) -> None:
    owner = make_account(services)
    app = create_app(settings.model_copy(update={"abuse_email": "abuse+files@example.com"}), services)
    with httpx.Client(transport=GatewayTransport(GatewayHandler(app)), base_url="https://api.test", headers=BROWSER) as client:
        file = str(make_file(client, owner)["id"])
        urls = [make_share(client, owner, file, **options)["url"] for options in ({}, {"password": "swordfish"})]
        urls.append(client.post("/api/v1/file-requests", json={"title": "Photos"}, headers=owner.headers).json()["url"])
        for url in urls:
            (link,) = [anchor for anchor in Page(client.get(url)).all("a") if str(anchor["href"]).startswith("mailto:")]
            assert link["href"] == f"mailto:abuse%2Bfiles@example.com?subject=Abuse%20report%3A%20{url}"
        # A page that does not exist is no link of another person.
        assert "mailto:" not in client.get("/s/none").text


def test_pages_have_no_link_for_reports_without_an_address(branded: httpx.Client, owner: Account) -> None:
    share = make_share(branded, owner, str(make_file(branded, owner)["id"]))

    assert "mailto:" not in branded.get(share["url"]).text


def test_web_app_starts_with_name_logo_and_accent(branded: httpx.Client) -> None:
    response = branded.get("/files")

    page = Page(response)
    assert NAME in page.texts
    (icon,) = page.all("link")
    assert "data-brand" in icon
    assert str(icon["href"]).startswith("./brand/logo?")
    assert f"--accent:{ACCENT};" in response.text
    assert policy_of(response)["style-src"] == f"'self' {digest_of_style(response)}"


def test_logo_cannot_run_scripts(branded: httpx.Client) -> None:
    response = branded.get("/brand/logo")

    assert response.headers["content-type"] == "image/svg+xml"
    assert response.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert branded.head("/brand/logo").content == b""


def test_configuration_contains_the_branding(branded: httpx.Client) -> None:
    answer = branded.get("/api/v1/config").json()

    assert (answer["brand_name"], answer["brand_accent"]) == (NAME, ACCENT)
    assert branded.get(answer["brand_logo_path"]).content == LOGO


def test_service_without_a_logo_has_no_route_for_it(client: httpx.Client) -> None:
    assert client.get("/brand/logo").status_code == 404
    assert client.get("/api/v1/config").json()["brand_logo_path"] is None
