"""Share links for tests, created and opened through the API."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from sqlalchemy import text

from lambda_app.core.request_context import RequestContext, reset_request_context, set_request_context
from lambda_app.factory import Services
from tests.support.accounts import Account
from tests.support.loopback import loopback_client

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "User-Agent": "Mozilla/5.0 (X11) Chrome/143.0"}


def make_share(client: httpx.Client, owner: Account, *file_ids: str, **options: Any) -> dict[str, Any]:
    """Create a link to these files and return the response."""
    answer = client.post("/api/v1/shares", json={"file_ids": file_ids, **options}, headers=owner.headers)
    assert answer.status_code == 201, answer.text
    share: dict[str, Any] = answer.json()
    return share


def change_share(client: httpx.Client, owner: Account, share: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Change a link and return it."""
    answer = client.patch(f"/api/v1/shares/{share['id']}", json=changes, headers=owner.headers)
    assert answer.status_code == 200, answer.text
    changed: dict[str, Any] = answer.json()
    return changed


@contextmanager
def visitor(name: object) -> Iterator[None]:
    """Call services as another visitor than those with other names, without HTTP."""
    token = set_request_context(RequestContext(user_agent=str(name)))
    try:
        yield
    finally:
        reset_request_context(token)


def expire_share(services: Services, share: dict[str, Any]) -> None:
    """Set the expiry of a link to the past, which the API refuses."""
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE share SET expires_at = now() - interval '1 second' WHERE id = :id"), {"id": share["id"]})


def counts_of(client: httpx.Client, owner: Account, share: dict[str, Any]) -> tuple[int, int]:
    """Return how often the link was opened, and how many downloads were counted."""
    share = client.get(f"/api/v1/shares/{share['id']}", headers=owner.headers).json()
    return share["open_count"], share["download_count"]


def share_pass_header(client: httpx.Client, share: dict[str, Any], password: str, **headers: str) -> dict[str, str]:
    """Exchange the link's password for a share pass, and return its header."""
    answer = client.post(share["url"], json={"password": password}, headers=headers)
    assert answer.status_code == 200, answer.text
    return {"X-Share-Pass": answer.json()["share_pass"]}


def read_bytes(answer: httpx.Response) -> httpx.Response:
    """Follow the redirect of a download to S3."""
    assert answer.status_code == 302, answer.text
    with loopback_client() as s3:
        return s3.get(answer.headers["location"])
