"""The page of a file request as HTML: its content, its security headers, and the equal pages of closed links."""

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from lambda_app.core import clock
from lambda_app.core.errors import UnavailableError
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.repositories.sharing.file_requests import FileRequestRepository
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.storage.s3 import bucket_url
from tests.support.accounts import Account
from tests.support.gateway import GatewayTransport, payload_v1
from tests.support.pages import Page
from tests.support.problems import assert_problem
from tests.support.shares import BROWSER

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style></h1><script>alert(1)</script>",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    "&lt;b&gt;&amp;",
    "👩‍👩‍👧 שלום مرحبا",
)


def create_request(client: httpx.Client, owner: Account, **fields: Any) -> dict[str, Any]:
    response = client.post("/api/v1/file-requests", json={"title": "Photos", **fields}, headers=owner.headers)
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


def get_page(client: httpx.Client, token: str) -> httpx.Response:
    return client.get(f"/r/{token}", headers=BROWSER)


def inline_source(response: httpx.Response, tag: str) -> str:
    (source,) = re.findall(f"<{tag}>(.*?)</{tag}>", response.text, re.DOTALL)
    return str(source)


def digest_of(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def test_page_runs_only_its_own_script_and_reaches_only_the_bucket(client: httpx.Client, settings: Settings, owner: Account) -> None:
    token = create_request(client, owner)["token"]

    response = get_page(client, token)

    assert response.status_code == 200
    script, style = (digest_of(inline_source(response, tag)) for tag in ("script", "style"))
    policy = (
        f"default-src 'none'; script-src {script}; style-src {style}; "
        f"connect-src 'self' {bucket_url(settings)}/; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    assert response.headers.get_list("content-security-policy") == [policy]
    # The policy names the host to which the browser uploads.
    upload = client.post(f"/r/{token}/files", json={"filename": "a", "content_type": "a/b", "size_bytes": 1}).json()
    assert upload["upload_url"].startswith(f"{bucket_url(settings)}/")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["x-robots-tag"] == "noindex, nofollow"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cross-origin-opener-policy"] == "same-origin"
    assert response.headers["vary"] == "Accept"
    page = Page(response)
    assert page.all("script") == [{}]
    assert page.all("img") == page.all("link") == page.all("iframe") == page.all("a") == []
    assert not [attributes for _, attributes in page.tags if any(name.startswith("on") or name == "style" for name in attributes)]
    # The script contains no data of the link, so its digest is the same on all pages.
    assert inline_source(get_page(client, create_request(client, owner, title="Other")["token"]), "script") == inline_source(
        response, "script"
    )


def test_page_shows_title_note_and_limits(client: httpx.Client, owner: Account) -> None:
    link = create_request(
        client,
        owner,
        note="All of them.\nThank you",
        max_size_bytes=5 * 2**20,
        max_files=7,
        allowed_content_types=["image/*", "application/pdf"],
    )
    client.post(f"/r/{link['token']}/files", json={"filename": "a", "content_type": "image/png", "size_bytes": 1})

    page = Page(get_page(client, link["token"]))

    shown = "\n".join(page.texts)
    for part in (
        "Photos",
        "All of them.\nThank you",
        "Largest file: 5.2 MB",
        "Allowed types: images, PDF documents",
        "requires JavaScript",
    ):
        assert part in shown
    assert re.search(r"Files that you can still send: \n6\n", shown)
    closes_at = datetime.fromisoformat(link["expires_at"])
    assert f"{closes_at.day} {closes_at:%b %Y, %H:%M} UTC" in shown
    assert page.all("input") == [{"id": "chosen", "type": "file", "multiple": None, "accept": "image/*,application/pdf"}]
    assert page.all("form") == [{"id": "form", "data-max-size-bytes": str(5 * 2**20), "hidden": None}]
    assert [attributes["role"] for attributes in page.all("p") if "role" in attributes] == ["status"]
    # The script hides the instructions for browsers without JavaScript.
    assert page.all("div") == [{"id": "without-script"}]


def test_hostile_titles_and_notes_are_escaped(client: httpx.Client, owner: Account) -> None:
    for text_value in HOSTILE:
        page = Page(get_page(client, create_request(client, owner, title=text_value, note=text_value)["token"]))
        assert page.all("script") == [{}]
        assert page.all("img") == []
        assert page.texts.count(text_value) == 2  # heading and note
        assert f"{text_value} · We-Upload" in page.texts


def test_direction_marks_are_removed(client: httpx.Client, owner: Account) -> None:
    marks = "\u202e\u202d\u2066\u2067\u2068\u2069\u200f\u061c"

    response = get_page(client, create_request(client, owner, title=f"in{marks}voice", note=f"pay{marks} me")["token"])

    assert "<bdi>invoice</bdi>" in response.text
    assert "pay me" in response.text
    assert not set(marks) & set(response.text)


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [(BROWSER["Accept"], True), ("*/*", False), ("application/json", False), ("application/json, text/html;q=0.9", False), ("", False)],
)
def test_accept_header_selects_page_or_json(client: httpx.Client, owner: Account, accept: str, is_page: bool) -> None:
    for token in (create_request(client, owner)["token"], "none"):
        response = client.get(f"/r/{token}", headers={"Accept": accept})
        assert response.headers["content-type"].startswith("text/html" if is_page else "application/")


def test_script_of_the_page_gets_json_errors(client: httpx.Client, owner: Account) -> None:
    token = create_request(client, owner)["token"]
    declared = {"filename": "a", "content_type": "a/b", "size_bytes": 1}

    for headers in ({"Accept": "application/json"}, {}):
        assert_problem(client.post(f"/r/{token}/files", json={**declared, "filename": ""}, headers=headers), 422, "malformed_request")
        assert_problem(client.post("/r/none/files", json=declared, headers=headers), 404, "link_not_found")
        assert client.post(f"/r/{token}/files", json=declared, headers=headers).status_code == 201


def test_browsers_get_errors_as_pages(client: httpx.Client, owner: Account) -> None:
    token = create_request(client, owner)["token"]
    hostile = {"filename": "a", "content_type": "a/b", "size_bytes": 1, "<script>alert(1)</script>": 1}

    for response in (
        client.put(f"/r/{token}", headers=BROWSER),
        client.get(f"/r/{token}/%3Cscript%3Ealert(1)%3C%2Fscript%3E", headers=BROWSER),
        client.post(f"/r/{token}/files", json=hostile, headers=BROWSER),
        client.post(f"/r/{token}/files", content=b"<script>alert(1)</script>", headers=BROWSER),
    ):
        assert 400 <= response.status_code < 500
        page = Page(response)
        assert page.all("script") == []
        assert page.all("a") == [{"href": f"/r/{token}"}]
        assert "script-src" not in response.headers["content-security-policy"]


def test_browsers_get_an_outage_as_a_page(client: httpx.Client, owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise UnavailableError

    token = create_request(client, owner)["token"]
    monkeypatch.setattr(FileRequestRepository, "get_open", fail)

    assert "Not available right now" in Page(get_page(client, token)).texts
    assert_problem(client.get(f"/r/{token}"), 503, "unavailable")


def test_all_closed_links_return_the_same_page(
    client: httpx.Client, services: Services, owner: Account, make_user: Callable[..., Account]
) -> None:
    disabled = make_user()
    links = {
        "revoked": create_request(client, owner),
        "expired": create_request(client, owner),
        "disabled": create_request(client, disabled),
    }
    client.delete(f"/api/v1/file-requests/{links['revoked']['id']}", headers=owner.headers)
    with services.engine.begin() as connection:
        connection.execute(
            text("UPDATE file_request SET expires_at = :now WHERE id = :id"), {"now": clock.now(), "id": links["expired"]["id"]}
        )
        connection.execute(text('UPDATE "user" SET is_active = false WHERE id = :id'), {"id": disabled.id})
    tokens = {name: link["token"] for name, link in links.items()}
    tokens |= {"unknown": "A" * 43, "malformed": "%20", "hostile": "%22%3E%3Cscript%3E", "long": "x" * 3000, "nul": "%00"}

    responses = {name: get_page(client, token) for name, token in tokens.items()}
    # The page does not reveal the kind of link.
    responses["share"] = client.get(f"/s/{'A' * 43}", headers=BROWSER)

    comparable = {
        name: (response.status_code, response.text, [pair for pair in response.headers.multi_items() if pair[0] != "x-request-id"])
        for name, response in responses.items()
    }
    assert responses["unknown"].status_code == 404
    assert "This link is not available" in Page(responses["unknown"]).texts
    style = digest_of(inline_source(responses["unknown"], "style"))
    policy = f"default-src 'none'; style-src {style}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    assert responses["unknown"].headers.get_list("content-security-policy") == [policy]
    assert Page(responses["unknown"]).all("form") == Page(responses["unknown"]).all("script") == Page(responses["unknown"]).all("a") == []
    assert all(other == comparable["unknown"] for other in comparable.values())


def test_page_works_below_a_stage(handler: GatewayHandler, client: httpx.Client, owner: Account) -> None:
    token = create_request(client, owner)["token"]
    with httpx.Client(transport=GatewayTransport(handler, payload_v1), base_url="https://api.test") as staged_client:
        # The script derives all URLs from the address of the page, so the page contains none.
        assert get_page(staged_client, token).text == get_page(client, token).text
