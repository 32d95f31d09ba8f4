"""The interactive documentation in a real browser: it signs in and sends requests with only what this server serves."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.browser.conftest import Site
from tests.support.accounts import Account, make_account


@pytest.fixture(scope="module")
def owner(site: Site, client: httpx.Client) -> Account:
    """The account that signs in."""
    return make_account(site.services)


@pytest.fixture(scope="module")
def results(site: Site, owner: Account, visit: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """The results of both jobs, run in one browser."""
    sign_in = [
        {"fill": "E-mail", "value": owner.email},
        {"fill": "Password", "value": owner.password},
        {"tab": "Sign in", "role": "button"},
        {"key": "Enter"},
        {"see": "Signed in."},
    ]
    find = [{"fill": "Search operations", "value": "GET /api/v1/users/me "}, {"key": "Tab"}, {"key": "Enter"}]
    send = [{"tab": "Send", "role": "button"}, {"key": "Enter"}, {"see": '"is_superuser": false'}]
    inspect = [{"axe": True}, {"resize": 320}, {"resize": 1280}]
    jobs = {
        "used": {"url": f"{site.url}/docs", "steps": [*sign_in, *find, *send]},
        "inspected": {"url": f"{site.url}/docs", "steps": [{"see": "GET /api/v1/health"}, *find, *inspect], "dark": True},
    }
    return visit(jobs)


def test_request_is_sent_with_the_keyboard_alone(results: dict[str, Any], owner: Account) -> None:
    assert "failed" not in results["used"], results["used"]
    assert owner.email in results["used"]["text"]
    assert results["used"]["console"] == []


def test_docs_request_only_this_server(results: dict[str, Any], site: Site) -> None:
    addresses = [urlsplit(url) for url in results["used"]["requests"]]

    assert {address.netloc for address in addresses} == {urlsplit(site.url).netloc}
    assert [address.path for address in addresses] == ["/docs", "/openapi.json", "/login/token", "/api/v1/users/me"]


def test_docs_are_accessible_and_fit_a_phone(results: dict[str, Any]) -> None:
    assert [report["violations"] for report in results["inspected"]["axe"]] == [[]]
    assert results["inspected"]["axe"][0]["passes"] > 10
    assert results["inspected"]["widths"] == [320, 1280]
