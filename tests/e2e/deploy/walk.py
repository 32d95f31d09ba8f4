"""A walk through the whole product that every deployment must pass."""

import secrets
import time
from dataclasses import dataclass, field
from http import HTTPStatus

import httpx

from tests.support.loopback import loopback_client

PASSWORD = "a long enough password"
LONGEST_START_SECONDS = 60


def sign_in(api: httpx.Client, email: str) -> None:
    """Register, sign in, and use the token for all later requests."""
    registered = api.post("/api/v1/users/", json={"email": email, "password": PASSWORD})
    assert registered.status_code == HTTPStatus.CREATED, registered.text
    use_token(api, email, PASSWORD)


def use_token(api: httpx.Client, email: str, password: str) -> None:
    """Sign in, and use the token for all later requests. Repeats the request while the database starts, as every client has to."""
    deadline = time.monotonic() + LONGEST_START_SECONDS
    while True:
        token = api.post("/api/v1/login/token", data={"username": email, "password": password})
        if (
            token.status_code != HTTPStatus.SERVICE_UNAVAILABLE
            or token.json()["code"] != "database_starting"
            or time.monotonic() > deadline
        ):
            break
        time.sleep(token.json()["retry_after_seconds"])
    assert token.status_code == HTTPStatus.OK, token.text
    api.headers["Authorization"] = f"Bearer {token.json()['access_token']}"


@dataclass(frozen=True)
class Account:
    """An existing account, for a stage that is closed to registrations."""

    email: str
    password: str = field(repr=False)


def walk(api: httpx.Client, *, bucket: str, account: Account | None = None) -> None:
    """Register, sign in, upload by presigned URL, complete, download, delete. With `account`, sign in to it instead of registering."""
    content = secrets.token_bytes(300_000)
    assert api.get("/health").json() == {"status": "ok"}
    assert api.get("/health/db").json() == {"status": "ok"}
    if account is None:
        sign_in(api, f"walker-{secrets.token_hex(4)}@example.com")
    else:
        use_token(api, account.email, account.password)

    declared = {"filename": "räport.bin", "content_type": "application/octet-stream", "size_bytes": len(content)}
    upload = api.post("/api/v1/files/upload", json=declared)
    assert upload.status_code == HTTPStatus.CREATED, upload.text
    signed, file_id = upload.json(), upload.json()["file_id"]
    assert bucket in signed["upload_url"]
    assert api.get(f"/api/v1/files/download/{file_id}").status_code == HTTPStatus.CONFLICT

    with loopback_client() as s3:
        stored = s3.request(signed["method"], signed["upload_url"], headers=signed["headers"], content=content)
        assert stored.status_code == HTTPStatus.OK, stored.text
        completed = api.post(f"/api/v1/files/{file_id}/complete")
        assert completed.status_code == HTTPStatus.OK, completed.text
        assert completed.json()["status"] == "available"

        download = api.get(f"/api/v1/files/download/{file_id}").json()
        received = s3.get(download["download_url"])
        assert received.content == content
        assert "r%C3%A4port.bin" in received.headers["content-disposition"]

        assert api.delete(f"/api/v1/files/{file_id}?permanent=true").status_code == HTTPStatus.NO_CONTENT
        assert s3.get(download["download_url"]).status_code == HTTPStatus.NOT_FOUND
    gone = api.get(f"/api/v1/files/{file_id}")
    assert (gone.status_code, gone.json()["detail"]) == (HTTPStatus.NOT_FOUND, "File not found")
