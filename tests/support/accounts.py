"""Accounts and files for tests, created through the API."""

import hashlib
import secrets
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle
from typing import Any
from uuid import UUID, uuid4

import httpx

from lambda_app.core import clock
from lambda_app.core.security.passwords import PasswordHasher
from lambda_app.factory import Services
from lambda_app.models import User
from lambda_app.schemas.accounts.users import UserCreate
from tests.support.loopback import loopback_client

_PASSWORDS = cycle([secrets.token_urlsafe(12) for _ in range(8)])
UNLIMITED_REGISTRAR = User(is_superuser=True)
"""A superuser, whose registrations are not limited."""


@dataclass(frozen=True, slots=True)
class Account:
    """A signed-in user; `headers` carry the access token."""

    id: UUID
    email: str
    password: str
    token: str
    refresh_token: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """The Authorization header of the user."""
        return {"Authorization": f"Bearer {self.token}"}


class _KnownPasswords(PasswordHasher):
    """Hashes and verifies each password once. A hash takes 25 ms, and most tests create accounts without testing passwords."""

    def __init__(self) -> None:
        super().__init__()
        self.hash = cache(super().hash)  # type: ignore[method-assign]
        self.verify = cache(super().verify)  # type: ignore[method-assign]


_KNOWN_PASSWORDS = _KnownPasswords()


def sign_in(client: httpx.Client, *, email: str, password: str) -> str:
    """Sign in through the API and return an access token."""
    answer = client.post("/api/v1/login/token", data={"username": email, "password": password})
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    return token


def make_account(services: Services, *, is_superuser: bool = False, is_verified: bool = True, email: str | None = None) -> Account:
    """Create a user, by default with a confirmed random address, and sign in."""
    email, password = email or f"user-{uuid4()}@example.com", next(_PASSWORDS)
    services = replace(services, passwords=_KNOWN_PASSWORDS)
    with services.unit_of_work() as session:
        accounts = services.users(session)
        registration = UserCreate(email=email, password=password)
        user = accounts.create_superuser(registration) if is_superuser else accounts.register(registration, registrar=UNLIMITED_REGISTRAR)
        user.email_verified_at = clock.now() if is_verified else None
        user_id = user.id
    with services.unit_of_work() as session:
        signed_in = services.sessions(session).sign_in(email=email, password=password)
    return Account(id=user_id, email=email, password=password, token=signed_in.access_token.value, refresh_token=signed_in.refresh_token)


def start_upload(client: httpx.Client, owner: Account, body: bytes = b"hello", **fields: Any) -> dict[str, Any]:
    """Declare a file and return the upload response."""
    declared = {"filename": "note.txt", "content_type": "text/plain", "size_bytes": len(body), **fields}
    answer = client.post("/api/v1/files/upload", json=declared, headers=owner.headers)
    assert answer.status_code == 201, answer.text
    upload: dict[str, Any] = answer.json()
    return upload


def put_object(upload: dict[str, Any], body: bytes, **headers: str) -> httpx.Response:
    """Send the bytes to S3 with the presigned request; `headers` override those of the request."""
    with loopback_client() as s3:
        return s3.request(upload["method"], upload["upload_url"], content=body, headers={**upload["headers"], **headers})


def make_file(client: httpx.Client, owner: Account, body: bytes = b"hello", *, status: str = "available", **fields: Any) -> dict[str, Any]:
    """Upload a file through the API and return it with the requested status: `pending` or `available`."""
    upload = start_upload(client, owner, body, **fields)
    path = f"/api/v1/files/{upload['file_id']}"
    if status == "available":
        stored = put_object(upload, body)
        assert stored.status_code == 200, stored.text
        answer = client.post(f"{path}/complete", headers=owner.headers)
    else:
        answer = client.get(path, headers=owner.headers)
    assert answer.status_code == 200, answer.text
    file: dict[str, Any] = answer.json()
    assert file["status"] == status
    return file


def sha256_hex(body: bytes) -> str:
    """Return the SHA-256 in hex."""
    return hashlib.sha256(body).hexdigest()
