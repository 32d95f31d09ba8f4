"""The page of file requests, as text: what is in it, what a browser is told about it, and that closed links look the same."""

import base64
import hashlib
import re
from collections.abc import Callable
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


def make_link(client: httpx.Client, owner: Account, **fields: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/file-requests", json={"title": "Photos", **fields}, headers=owner.headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def look(client: httpx.Client, token: str) -> httpx.Response:
    return client.get(f"/r/{token}", headers=BROWSER)


def inline(answer: httpx.Response, tag: str) -> str:
    (source,) = re.findall(f"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
    return str(source)


def digest_of(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def test_page_runs_only_its_own_script_and_reaches_only_the_bucket(client: httpx.Client, settings: Settings, owner: Account) -> None:
    token = make_link(client, owner)["token"]

    answer = look(client, token)

    assert answer.status_code == 200
    policy = (
        f"default-src 'none'; script-src {digest_of(inline(answer, 'script'))}; style-src {digest_of(inline(answer, 'style'))}; "
        f"connect-src 'self' {bucket_url(settings)}/; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
    assert answer.headers.get_list("content-security-policy") == [policy]
    # The bucket's name in the policy is the one that the browser will be sent to.
    upload = client.post(f"/r/{token}/files", json={"filename": "a", "content_type": "a/b", "size_bytes": 1}).json()
    assert upload["upload_url"].startswith(f"{bucket_url(settings)}/")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-robots-tag"] == "noindex, nofollow"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["vary"] == "Accept"
    page = Page(answer)
    assert page.all("script") == [{}]
    assert page.all("img") == page.all("link") == page.all("iframe") == page.all("a") == []
    assert not [attributes for _, attributes in page.tags if any(name.startswith("on") or name == "style" for name in attributes)]
    # Nothing of the link is in the script: one digest is good for all pages.
    assert inline(look(client, make_link(client, owner, title="Other")["token"]), "script") == inline(answer, "script")


def test_page_shows_title_note_and_limits(client: httpx.Client, owner: Account) -> None:
    link = make_link(
        client,
        owner,
        note="All of them.\nThank you",
        max_size_bytes=5 * 2**20,
        max_files=7,
        allowed_content_types=["image/*", "application/pdf"],
    )
    client.post(f"/r/{link['token']}/files", json={"filename": "a", "content_type": "image/png", "size_bytes": 1})

    page = Page(look(client, link["token"]))

    said = "\n".join(page.texts)
    for part in (
        "Photos",
        "All of them.\nThank you",
        "Largest file: 5.0 MiB",
        "Allowed types: image/*, application/pdf",
        "requires JavaScript",
    ):
        assert part in said
    assert re.search(r"Files that you can still send: \n6\n", said)
    assert link["expires_at"][:10] in said
    assert page.all("input") == [{"id": "chosen", "type": "file", "multiple": None, "required": None, "accept": "image/*,application/pdf"}]
    assert page.all("form") == [{"id": "form", "data-max-size-bytes": str(5 * 2**20), "hidden": None}]
    assert [attributes["role"] for attributes in page.all("p") if "role" in attributes] == ["status"]
    # What to do without the script is there until the script takes it away.
    assert page.all("div") == [{"id": "without-script"}]


def test_hostile_titles_and_notes_are_escaped(client: httpx.Client, owner: Account) -> None:
    for words in HOSTILE:
        page = Page(look(client, make_link(client, owner, title=words, note=words)["token"]))
        assert page.all("script") == [{}]
        assert page.all("img") == []
        assert page.texts.count(words) == 2  # heading and note
        assert f"{words} · We-Upload" in page.texts


def test_direction_marks_are_removed(client: httpx.Client, owner: Account) -> None:
    marks = "\u202e\u202d\u2066\u2067\u2068\u2069\u200f\u061c"

    answer = look(client, make_link(client, owner, title=f"in{marks}voice", note=f"pay{marks} me")["token"])

    assert "<bdi>invoice</bdi>" in answer.text
    assert "pay me" in answer.text
    assert not set(marks) & set(answer.text)


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [(BROWSER["Accept"], True), ("*/*", False), ("application/json", False), ("application/json, text/html;q=0.9", False), ("", False)],
)
def test_accept_header_selects_page_or_json(client: httpx.Client, owner: Account, accept: str, is_page: bool) -> None:
    for token in (make_link(client, owner)["token"], "none"):
        answer = client.get(f"/r/{token}", headers={"Accept": accept})
        assert answer.headers["content-type"].startswith("text/html" if is_page else "application/")


def test_script_of_the_page_gets_json_errors(client: httpx.Client, owner: Account) -> None:
    token = make_link(client, owner)["token"]
    wanted = {"filename": "a", "content_type": "a/b", "size_bytes": 1}

    for headers in ({"Accept": "application/json"}, {}):
        assert_problem(client.post(f"/r/{token}/files", json={**wanted, "filename": ""}, headers=headers), 422, "malformed_request")
        assert_problem(client.post("/r/none/files", json=wanted, headers=headers), 404, "not_found")
        assert client.post(f"/r/{token}/files", json=wanted, headers=headers).status_code == 201


def test_browsers_get_errors_as_pages(client: httpx.Client, owner: Account) -> None:
    token = make_link(client, owner)["token"]
    hostile = {"filename": "a", "content_type": "a/b", "size_bytes": 1, "<script>alert(1)</script>": 1}

    for answer in (
        client.put(f"/r/{token}", headers=BROWSER),
        client.get(f"/r/{token}/%3Cscript%3Ealert(1)%3C%2Fscript%3E", headers=BROWSER),
        client.post(f"/r/{token}/files", json=hostile, headers=BROWSER),
        client.post(f"/r/{token}/files", content=b"<script>alert(1)</script>", headers=BROWSER),
    ):
        assert 400 <= answer.status_code < 500
        page = Page(answer)
        assert page.all("script") == []
        assert page.all("a") == [{"href": f"/r/{token}"}]
        assert "script-src" not in answer.headers["content-security-policy"]


def test_browsers_get_an_outage_as_a_page(client: httpx.Client, owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise UnavailableError

    token = make_link(client, owner)["token"]
    monkeypatch.setattr(FileRequestRepository, "get_open", fail)

    assert "Not available right now" in Page(look(client, token)).texts
    assert_problem(client.get(f"/r/{token}"), 503, "unavailable")


def test_all_closed_links_return_the_same_page(
    client: httpx.Client, services: Services, owner: Account, make_user: Callable[..., Account]
) -> None:
    disabled = make_user()
    links = {"revoked": make_link(client, owner), "expired": make_link(client, owner), "disabled": make_link(client, disabled)}
    client.delete(f"/api/v1/file-requests/{links['revoked']['id']}", headers=owner.headers)
    with services.engine.begin() as connection:
        connection.execute(
            text("UPDATE file_request SET expires_at = :now WHERE id = :id"), {"now": clock.now(), "id": links["expired"]["id"]}
        )
        connection.execute(text('UPDATE "user" SET is_active = false WHERE id = :id'), {"id": disabled.id})
    tokens = {name: link["token"] for name, link in links.items()}
    tokens |= {"unknown": "A" * 43, "malformed": "%20", "hostile": "%22%3E%3Cscript%3E", "long": "x" * 3000, "nul": "%00"}

    answers = {name: look(client, token) for name, token in tokens.items()}
    # Nor is it said what kind of link it was.
    answers["share"] = client.get(f"/s/{'A' * 43}", headers=BROWSER)

    seen = {
        name: (answer.status_code, answer.text, [pair for pair in answer.headers.multi_items() if pair[0] != "x-request-id"])
        for name, answer in answers.items()
    }
    assert answers["unknown"].status_code == 404
    assert "This link is not available" in Page(answers["unknown"]).texts
    style = digest_of(inline(answers["unknown"], "style"))
    policy = f"default-src 'none'; style-src {style}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    assert answers["unknown"].headers.get_list("content-security-policy") == [policy]
    assert Page(answers["unknown"]).all("form") == Page(answers["unknown"]).all("script") == Page(answers["unknown"]).all("a") == []
    assert all(other == seen["unknown"] for other in seen.values())


def test_page_works_below_a_stage(handler: GatewayHandler, client: httpx.Client, owner: Account) -> None:
    token = make_link(client, owner)["token"]
    with httpx.Client(transport=GatewayTransport(handler, payload_v1), base_url="https://api.test") as staged:
        # Its addresses are made from the browser's own, so that there is none in it that could be wrong.
        assert look(staged, token).text == look(client, token).text
