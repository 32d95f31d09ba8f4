"""The authorisation matrix: for every route, the expected status for every kind of caller.

`ROWS` is the table. Add a row for each new route.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt as pyjwt
from fastapi import FastAPI
from sqlalchemy import text
from starlette.routing import Route

from lambda_app.core import clock
from lambda_app.factory import Services
from lambda_app.models import Invitation, OwnershipTransfer, User
from lambda_app.routers.http.route_index import RouteIndex
from tests.support.accounts import Account, make_file, start_upload
from tests.support.forgeries import LIFETIME_SECONDS, Victim
from tests.support.shares import make_share

PREFIX = "/api/v1"
UNAUTHENTICATED = ("anonymous", "disabled", "expired")
SIGNED_IN = ("stranger", "owner", "superuser")
SCOPES = ("files:read", "files:write", "shares", "events:read", "admin")
OWNERS_KEYS = tuple(f"owner's {scope} key" for scope in SCOPES)
SUPERUSERS_KEYS = tuple(f"superuser's {scope} key" for scope in SCOPES)
CALLERS = (*UNAUTHENTICATED, *SIGNED_IN, *OWNERS_KEYS, *SUPERUSERS_KEYS)
FILE = {"filename": "secret-name.txt", "content_type": "a/b", "size_bytes": 1}

Expected = dict[str, int]


def for_everyone(status: int) -> Expected:
    """Expected of a route that ignores credentials."""
    return dict.fromkeys(CALLERS, status)


def for_keys(scope: str | None, status: int) -> Expected:
    """Expected of API keys: `status` with the scope or `admin`, else 403. With None no scope is needed."""
    return {key: status if scope is None or scope in key or "admin" in key else 403 for key in (*OWNERS_KEYS, *SUPERUSERS_KEYS)}


def for_signed_in(status: int, *, scope: str | None = "admin") -> Expected:
    """Expected of a route about the caller's own data. An API key needs the scope."""
    return dict.fromkeys(UNAUTHENTICATED, 401) | dict.fromkeys(SIGNED_IN, status) | for_keys(scope, status)


def for_owner(status: int, *, scope: str = "admin") -> Expected:
    """Expected of a route about the owner's data. Superusers have access too, but not with an API key without `admin`."""
    keys_without_admin = {key: 403 for key in SUPERUSERS_KEYS if "admin" not in key}
    return for_signed_in(status, scope=scope) | {"stranger": 403} | keys_without_admin


def only_for_owner(status: int) -> Expected:
    """Expected of a route about the owner's credential. Other users get 404."""
    return for_signed_in(status) | {"stranger": 404, "superuser": 404, "superuser's admin key": 404}


def for_share_owner(status: int) -> Expected:
    """Expected of a route about the owner's share link. Strangers get 404."""
    keys_without_admin = {key: 404 if "shares" in key else 403 for key in SUPERUSERS_KEYS if "admin" not in key}
    return for_signed_in(status, scope="shares") | {"stranger": 404} | keys_without_admin


def for_link_visitors(status: int, *, anonymous: int | None = None, **others: int) -> Expected:
    """Expected of a share link: all callers with valid or no credentials. API keys need `files:read`."""
    used_world = dict.fromkeys(SIGNED_IN, status) | for_keys("files:read", status)
    return dict.fromkeys(UNAUTHENTICATED, 401) | used_world | {"anonymous": status if anonymous is None else anonymous} | others


def only_for_archive_owner(status: int, *, scope: str) -> Expected:
    """Expected of a route about the owner's archive. Other users get 404."""
    others = {key: 404 for key in SUPERUSERS_KEYS if scope in key or "admin" in key}
    return for_signed_in(status, scope=scope) | {"stranger": 404, "superuser": 404} | others


def only_for_request_owner(status: int) -> Expected:
    """Expected of a route about the owner's file request. Other users get 404."""
    not_found = dict.fromkeys(("stranger", "superuser", "superuser's shares key", "superuser's admin key"), 404)
    return for_signed_in(status, scope="shares") | not_found


def for_superusers(status: int) -> Expected:
    """Expected of a route for superusers."""
    allowed = ("superuser", "superuser's admin key")
    return dict.fromkeys(CALLERS, 403) | dict.fromkeys(UNAUTHENTICATED, 401) | dict.fromkeys(allowed, status)


@dataclass(frozen=True)
class Row:
    """The expected status for each caller, and the request body."""

    expected: Expected
    json: Any = None
    ends_credentials: bool = False
    """The call invalidates credentials, so each call needs separate users."""


ROWS: dict[str, Row] = {
    "GET /openapi.json": Row(for_everyone(200)),
    "GET /docs": Row(for_everyone(200)),
    "GET /health": Row(for_everyone(200)),
    "GET /health/db": Row(for_everyone(200)),
    "GET /config": Row(for_everyone(200)),
    "GET /.well-known/we-upload/log-key": Row(for_everyone(200)),
    "POST /login/token": Row(for_everyone(422)),
    "POST /login/refresh": Row(for_everyone(401), json={"refresh_token": "x"}),
    "POST /login/logout": Row(for_signed_in(204), ends_credentials=True),
    "POST /login/logout-everywhere": Row(for_signed_in(204), ends_credentials=True),
    "POST /login/test-token": Row(for_signed_in(200, scope=None)),
    # The header against cross-site requests is missing.
    "POST /session": Row(for_everyone(403), json={"email": "x@example.com", "password": "x"}),
    "POST /session/assertion": Row(for_everyone(403), json={"assertion": "x"}),
    # The provider is unknown; tests/integration/api/test_identity_sign_in.py has the other cases.
    "GET /sign-in/{provider}": Row(for_everyone(404)),
    "GET /sign-in/{provider}/callback": Row(for_everyone(404)),
    "POST /session/refresh": Row(for_everyone(403)),
    "DELETE /session": Row(for_everyone(403)),
    # Unknown codes; tests/integration/api/test_device_logins.py has the other cases.
    "POST /login/device": Row(for_everyone(200), json={"client": "we-upload"}),
    "POST /login/device/token": Row(for_everyone(400), json={"device_code": "x"}),
    "GET /users/me/device-logins/{user_code}": Row(for_signed_in(403) | dict.fromkeys(SIGNED_IN, 404)),
    "POST /users/me/device-logins/{user_code}": Row(for_signed_in(403) | dict.fromkeys(SIGNED_IN, 404), json={"decision": "approve"}),
    "POST /login/forgot-password": Row(for_everyone(503), json={"email": "x@example.com"}),
    "POST /login/reset-password": Row(for_everyone(410), json={"token": "x", "password": "a good password"}),
    "POST /login/verification": Row(for_everyone(503), json={"email": "x@example.com"}),
    "POST /login/verify-email": Row(for_signed_in(410) | {"anonymous": 410}, json={"token": "x"}),
    "POST /users": Row(for_signed_in(201) | {"anonymous": 201}, json={"email": "new-{random}@example.com", "password": "a good password"}),
    "GET /users": Row(for_superusers(200)),
    "GET /users/me": Row(for_signed_in(200, scope=None)),
    "PATCH /users/me": Row(for_signed_in(200), json={}),
    "PUT /users/me": Row(for_signed_in(200), json={}),
    # The password is wrong, or the account has no second factor: tests/integration/api/test_second_factor.py has the other cases.
    "POST /users/me/second-factor": Row(for_signed_in(403), json={"current_password": "wrong"}),
    "POST /users/me/second-factor/confirm": Row(for_signed_in(409), json={"otp": "123456"}),
    "POST /users/me/second-factor/recovery-codes": Row(for_signed_in(409), json={"current_password": "wrong", "otp": "123456"}),
    "POST /users/me/second-factor/disable": Row(for_signed_in(409), json={"current_password": "wrong", "otp": "123456"}),
    "POST /users/{user_id}/second-factor/reset": Row(for_superusers(403), json={"current_password": "wrong"}),
    # There is no proof, and API keys cannot prove: tests/integration/api/test_identity_sign_in.py has the other cases.
    "GET /users/me/identities": Row(for_signed_in(200)),
    "POST /users/me/identities": Row(for_signed_in(403), json={"assertion": "x"}),
    "DELETE /users/me/identities/{identity_id}": Row(for_signed_in(403)),
    "POST /users/me/proof": Row(for_signed_in(403), json={"current_password": "wrong"}),
    # The password is wrong; tests/integration/api/test_account_deletion.py has the other cases.
    "DELETE /users/me": Row(for_signed_in(403), json={"current_password": "wrong"}),
    "DELETE /users/{user_id}": Row(for_signed_in(403), json={"current_password": "wrong"}),
    "POST /users/me/export": Row(for_signed_in(403), json={"current_password": "wrong"}),
    "GET /users/me/export": Row(for_signed_in(200)),
    # The password is wrong; tests/integration/api/test_transfers.py has the other cases.
    "POST /users/{user_id}/transfer": Row(for_signed_in(403), json={"email": "x@example.com", "current_password": "wrong"}),
    "GET /transfers": Row(for_signed_in(200)),
    "POST /transfers/{transfer_id}/accept": Row(only_for_owner(200)),
    "POST /transfers/{transfer_id}/decline": Row(only_for_owner(204)),
    "DELETE /transfers/{transfer_id}": Row(for_signed_in(404) | {"superuser": 204, "superuser's admin key": 204}),
    "POST /users/{user_id}/deletion/cancel": Row(for_superusers(409)),
    "GET /users/{user_id}": Row(for_owner(200)),
    "PATCH /users/{user_id}": Row(for_owner(200), json={}),
    "PUT /users/{user_id}": Row(for_owner(200), json={}),
    "DELETE /users/{user_id}/sessions": Row(for_superusers(204), ends_credentials=True),
    "GET /users/{user_id}/sessions": Row(for_superusers(200)),
    "DELETE /users/{user_id}/sessions/{session_id}": Row(for_superusers(204)),
    "GET /users/{user_id}/shares": Row(for_superusers(200)),
    "GET /users/{user_id}/file-requests": Row(for_superusers(200)),
    "DELETE /users/{user_id}/file-requests/{request_id}": Row(for_superusers(204)),
    "GET /users/me/sessions": Row(for_signed_in(200)),
    "DELETE /users/me/sessions/{session_id}": Row(only_for_owner(204)),
    # The token of a mail is the only credential; tests/integration/api/test_notification_links.py has valid ones.
    "GET /unsubscribe/{token}": Row(for_everyone(410)),
    "POST /unsubscribe/{token}": Row(for_everyone(410)),
    "GET /prolong/{token}": Row(for_everyone(410)),
    "POST /prolong/{token}": Row(for_everyone(410)),
    "GET /users/me/notifications": Row(for_signed_in(200)),
    "PATCH /users/me/notifications": Row(for_signed_in(200), json={}),
    "POST /users/me/api-keys": Row(for_signed_in(201), json={"name": "n", "scopes": ["shares"]}),
    "GET /users/me/api-keys": Row(for_signed_in(200)),
    "DELETE /users/me/api-keys/{key_id}": Row(only_for_owner(204)),
    "GET /users/me/audit": Row(for_signed_in(200)),
    "GET /events": Row(for_signed_in(200, scope="events:read")),
    "POST /webhooks": Row(for_signed_in(201), json={"url": "https://example.com/hooks"}),
    "GET /webhooks": Row(for_signed_in(200)),
    "GET /webhooks/{webhook_id}": Row(only_for_owner(200)),
    "PATCH /webhooks/{webhook_id}": Row(only_for_owner(200), json={"description": "x"}),
    "DELETE /webhooks/{webhook_id}": Row(only_for_owner(204)),
    "POST /webhooks/{webhook_id}/rotate-secret": Row(only_for_owner(200)),
    "POST /webhooks/{webhook_id}/test": Row(only_for_owner(202)),
    "GET /webhooks/{webhook_id}/deliveries": Row(only_for_owner(200)),
    "POST /webhooks/{webhook_id}/deliveries/{delivery_id}/replay": Row(only_for_owner(202)),
    "GET /admin/stats": Row(for_superusers(200)),
    "GET /admin/audit": Row(for_superusers(200)),
    "GET /admin/withheld-files": Row(for_superusers(200)),
    "POST /admin/withheld-files/{file_id}/release": Row(for_superusers(409)),
    "POST /files/upload": Row(for_signed_in(201, scope="files:write"), json=FILE),
    "POST /files/uploads": Row(for_signed_in(200, scope="files:write"), json={"files": [FILE]}),
    "POST /files/complete": Row(for_signed_in(200, scope="files:write"), json={"file_ids": [str(UUID(int=0))]}),
    "POST /files/status": Row(for_signed_in(200, scope="files:read"), json={"file_ids": [str(UUID(int=0))]}),
    "POST /files/downloads": Row(for_signed_in(200, scope="files:read") | {"anonymous": 200}, json={"file_ids": [str(UUID(int=0))]}),
    "POST /files/previews": Row(for_signed_in(200, scope="files:read") | {"anonymous": 200}, json={"file_ids": [str(UUID(int=0))]}),
    "GET /files/{file_id}/preview": Row(for_owner(200, scope="files:read")),
    "POST /files/delete": Row(for_signed_in(200, scope="files:write"), json={"file_ids": [str(UUID(int=0))]}),
    "POST /files/purge": Row(for_signed_in(200, scope="files:write"), json={"file_ids": [str(UUID(int=0))]}),
    "POST /files/restore": Row(for_signed_in(200, scope="files:write"), json={"file_ids": [str(UUID(int=0))]}),
    # An API key needs the scope `shares` too.
    "POST /files/visibility": Row(for_signed_in(200, scope="admin"), json={"file_ids": [str(UUID(int=0))], "is_public": True}),
    "DELETE /files/trash": Row(for_signed_in(200, scope="files:write")),
    "POST /files/{file_id}/complete": Row(for_owner(409, scope="files:write")),
    "GET /files/download/{file_id}": Row(for_owner(409, scope="files:read")),
    "GET /files": Row(for_signed_in(200, scope="files:read")),
    "GET /files/{file_id}": Row(for_owner(200, scope="files:read")),
    # The upload is not complete, so there is no receipt.
    "GET /files/{file_id}/receipt": Row(for_owner(404, scope="files:read")),
    "PATCH /files/{file_id}": Row(for_owner(200, scope="files:write"), json={"description": "x"}),
    "PUT /files/{file_id}": Row(for_owner(200, scope="files:write"), json={"description": "x"}),
    "DELETE /files/{file_id}": Row(for_owner(204, scope="files:write")),
    "POST /files/{file_id}/restore": Row(for_owner(409, scope="files:write")),
    "POST /files/multipart": Row(for_signed_in(201, scope="files:write"), json=FILE),
    "POST /files/{file_id}/parts": Row(for_owner(409, scope="files:write"), json={"parts": [{"number": 1}]}),
    "GET /files/{file_id}/parts": Row(for_owner(409, scope="files:read")),
    "POST /files/{file_id}/shares": Row(for_owner(409, scope="shares"), json={}),
    "GET /files/{file_id}/shares": Row(for_owner(200, scope="shares")),
    "DELETE /files/{file_id}/shares": Row(for_owner(204, scope="shares")),
    "POST /shares": Row(for_signed_in(404, scope="shares"), json={"file_ids": [str(UUID(int=0))]}),
    "GET /shares": Row(for_signed_in(200, scope="shares")),
    "GET /shares/{share_id}": Row(for_share_owner(200)),
    "GET /shares/{share_id}/receipts": Row(for_share_owner(200)),
    "PATCH /shares/{share_id}": Row(for_share_owner(200), json={"note": "x"}),
    "POST /shares/{share_id}/files": Row(only_for_request_owner(200), json={"file_ids": ["{file}"]}),
    # The link does not have the file.
    "DELETE /shares/{share_id}/files/{file_id}": Row(for_share_owner(404)),
    # The test sends no mail.
    "POST /shares/{share_id}/mail": Row(for_signed_in(503, scope="shares"), json={"addresses": ["x@example.com"]}),
    "POST /shares/{share_id}/rotate": Row(only_for_request_owner(200)),
    "POST /file-requests/{request_id}/rotate": Row(only_for_request_owner(200)),
    "DELETE /shares/{share_id}": Row(for_share_owner(204)),
    "GET /s/{token}": Row(for_link_visitors(200)),
    "POST /s/{token}": Row(for_link_visitors(200), json={"password": "there is none"}),
    "GET /s/{token}/files/{file_id}": Row(for_link_visitors(404)),
    "POST /s/{token}/archives": Row(for_link_visitors(202)),
    "GET /s/{token}/archives/{archive_id}": Row(for_link_visitors(404)),
    "GET /s/{token}/archives/{archive_id}/download": Row(for_link_visitors(404)),
    "POST /archives": Row(for_signed_in(404, scope="files:read"), json={"file_ids": [str(uuid4())]}),
    "GET /archives": Row(for_signed_in(200, scope="files:read")),
    "GET /archives/{archive_id}": Row(only_for_archive_owner(200, scope="files:read")),
    "DELETE /archives/{archive_id}": Row(only_for_archive_owner(204, scope="files:read")),
    "PUT /files/{file_id}/grants": Row(for_owner(200, scope="shares"), json={"user_id": "{viewer}"}),
    "GET /files/{file_id}/grants": Row(for_owner(200, scope="shares")),
    "DELETE /files/{file_id}/grants/{user_id}": Row(for_owner(204, scope="shares")),
    # Mail is not configured, and users cannot invite: tests/integration/api/test_invitations.py has the other cases.
    "POST /invitations": Row(for_superusers(503), json={"email": "new-{random}@example.com"}),
    "POST /files/{file_id}/invitations": Row(for_superusers(503), json={"email": "new-{random}@example.com"}),
    "GET /invitations": Row(for_signed_in(200, scope="shares")),
    "POST /invitations/accept": Row(for_signed_in(410) | {"anonymous": 410}, json={"token": "x"}),
    # The inviter is no superuser, and users may not invite.
    "POST /invitations/{invitation_id}/resend": Row(for_share_owner(403)),
    "DELETE /invitations/{invitation_id}": Row(for_share_owner(204)),
    "POST /file-requests": Row(for_signed_in(201, scope="shares"), json={"title": "secret-name"}),
    "GET /file-requests": Row(for_signed_in(200, scope="shares")),
    "GET /file-requests/{request_id}": Row(only_for_request_owner(200)),
    "PATCH /file-requests/{request_id}": Row(only_for_request_owner(200), json={"max_files": 5}),
    "DELETE /file-requests/{request_id}": Row(only_for_request_owner(204)),
    "GET /p/{file_id}": Row(for_everyone(404)),
    "GET /r/{token}": Row(for_everyone(200)),
    "POST /r/{token}/files": Row(for_everyone(201), json=FILE),
    "POST /r/{token}/files/{file_id}/complete": Row(for_everyone(404), json={"guest_token": "x"}),
    "POST /r/{token}/files/{file_id}/receipt": Row(for_everyone(404), json={"guest_token": "x"}),
    "POST /r/{token}/multipart": Row(for_everyone(201), json=FILE),
    "POST /r/{token}/files/{file_id}/parts": Row(for_everyone(404), json={"guest_token": "x", "parts": [{"number": 1}]}),
    "POST /r/{token}/files/{file_id}/uploaded-parts": Row(for_everyone(404), json={"guest_token": "x"}),
    "POST /r/{token}/files/{file_id}/abort": Row(for_everyone(404), json={"guest_token": "x"}),
    "POST /upload-tokens": Row(for_signed_in(201, scope="files:write"), json={}),
    "GET /upload-tokens": Row(for_signed_in(200, scope="files:read")),
    "DELETE /upload-tokens/{upload_token_id}": Row(only_for_archive_owner(204, scope="files:write")),
    "GET /uppy/{token}": Row(for_everyone(200)),
    "POST /uppy/{token}/s3/multipart": Row(for_everyone(200), json={"filename": "secret-name.txt", "metadata": {"size": 1}}),
    "GET /uppy/{token}/s3/multipart/{upload_id}": Row(for_everyone(200)),
    "GET /uppy/{token}/s3/multipart/{upload_id}/{part_number}": Row(for_everyone(200)),
    "POST /uppy/{token}/s3/multipart/{upload_id}/complete": Row(for_everyone(409), json={"parts": []}),
    "DELETE /uppy/{token}/s3/multipart/{upload_id}": Row(for_everyone(200)),
    "GET /users/me/usage": Row(for_signed_in(200, scope="files:read")),
    "GET /users/{user_id}/usage": Row(for_owner(200, scope="files:read")),
}


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Yield method and path of all routes, including those that are not in the OpenAPI document."""
    for route in app.routes:
        if isinstance(route, RouteIndex):
            continue
        for found in [route] if isinstance(route, Route) else route.effective_route_contexts():  # type: ignore[attr-defined]  # FastAPI's route class is not public
            yield from ((method, found.path) for method in sorted(found.methods or ()) if method != "HEAD")


def row_name(method: str, path: str) -> str:
    """Return the key of a route in ROWS."""
    return f"{method} {path.removeprefix(PREFIX).rstrip('/')}"


class World:
    """The fixture of the matrix: an owner with data, and the callers that try to access it."""

    def __init__(self, client: httpx.Client, services: Services, make_user: Callable[..., Account]) -> None:
        self._client = client
        self._services = services
        self._shared: str | None = None
        self._file: str | None = None
        self.owner, self.superuser, disabled = make_user(), make_user(is_superuser=True), make_user()
        self.viewer = make_user()
        self.link_token = str(self.request()["token"])
        with services.engine.begin() as connection:
            connection.execute(text('UPDATE "user" SET is_active = false WHERE id = :id'), {"id": disabled.id})
        session = UUID(pyjwt.decode(self.owner.token, options={"verify_signature": False})["sid"])
        victim = Victim(services.keys.current(), user_id=self.owner.id, session_id=session)
        expired = victim.sign(payload=victim.claims(iat=victim.now - LIFETIME_SECONDS, exp=victim.now))
        self.tokens: dict[str, str | None] = {
            "anonymous": None,
            "disabled": disabled.token,
            "expired": expired,
            "stranger": make_user().token,
            "owner": self.owner.token,
            "superuser": self.superuser.token,
        }
        for name, account in (("owner", self.owner), ("superuser", self.superuser)):
            self.tokens |= {f"{name}'s {scope} key": self.key(account, scope)["key"] for scope in SCOPES}

    def key(self, account: Account, scope: str) -> dict[str, Any]:
        """Create an API key with one scope."""
        response = self._client.post(f"{PREFIX}/users/me/api-keys", json={"name": "n", "scopes": [scope]}, headers=account.headers)
        created: dict[str, Any] = response.json()
        return created

    def headers(self, caller: str) -> dict[str, str]:
        """Return the Authorization header of a caller."""
        token = self.tokens[caller]
        return {} if token is None else {"Authorization": f"Bearer {token}"}

    def path(self, template: str) -> str:
        """Replace the parameters of the path with ids of new data of the owner."""
        factories: Mapping[str, Callable[[], str]] = {
            "{invitation_id}": self._invitation,
            "{transfer_id}": self._transfer,
            "{upload_token_id}": lambda: str(self.upload_token()["id"]),
            "/uppy/{token}/s3/multipart/{upload_id}": self._uppy_upload,
            "/uppy/{token}": lambda: f"/uppy/{self.upload_token()['token']}",
            "{part_number}": lambda: "1",
            "{file_id}/grants/{user_id}": self._grant,
            "{request_id}": lambda: str(self.request()["id"]),
            "/unsubscribe/{token}": lambda: "/unsubscribe/forged",
            "/prolong/{token}": lambda: "/prolong/forged",
            "/r/{token}": lambda: f"/r/{self.link_token}",
            "{user_id}": lambda: str(self.owner.id),
            "{file_id}": lambda: str(start_upload(self._client, self.owner, filename="secret-name.txt")["file_id"]),
            "{key_id}": lambda: str(self.key(self.owner, "shares")["id"]),
            "{session_id}": self._session,
            "{webhook_id}/deliveries/{delivery_id}": self._delivery,
            "{webhook_id}": self._webhook,
            "{provider}": lambda: "unknown",
            "{identity_id}": lambda: str(uuid4()),
            "{share_id}": lambda: str(self.share()["id"]),
            "/s/{token}": lambda: str(self.share()["url"]),
            "{archive_id}": self._archive,
            "{user_code}": lambda: "BCDF-GHJK",
        }
        for name, create in factories.items():
            if name in template:
                template = template.replace(name, create())
        assert "{" not in template, f"the test cannot create data for {template}"
        return template

    def share(self, **options: Any) -> dict[str, Any]:
        """Create a share link to a file of the owner."""
        return make_share(self._client, self.owner, self.shared_file(), **options)

    def shared_file(self) -> str:
        """Return the available file of the owner to which the links lead."""
        if self._shared is None:
            self._shared = str(make_file(self._client, self.owner, filename="secret-name.txt")["id"])
        return self._shared

    def _webhook(self) -> str:
        """Create a webhook of the owner, in place of the last one."""
        webhooks = f"{PREFIX}/webhooks"
        for listed in self._client.get(webhooks, headers=self.owner.headers).json():
            self._client.delete(f"{webhooks}/{listed['id']}", headers=self.owner.headers)
        created = self._client.post(webhooks, json={"url": "https://example.com/hooks"}, headers=self.owner.headers).json()
        return str(created["id"])

    def _delivery(self) -> str:
        """Create a webhook of the owner with a delivery."""
        webhook = self._webhook()
        tested = self._client.post(f"{PREFIX}/webhooks/{webhook}/test", headers=self.owner.headers).json()
        return f"{webhook}/deliveries/{tested['id']}"

    def _archive(self) -> str:
        """Create an archive of one file. Repeated calls return the same archive unless it was deleted."""
        if self._file is None:
            self._file = make_file(self._client, self.owner)["id"]
        response = self._client.post(f"{PREFIX}/archives", json={"file_ids": [self._file]}, headers=self.owner.headers)
        return str(response.json()["id"])

    def _invitation(self) -> str:
        now, invitation_id = clock.now(), uuid4()
        times = {"created_at": now, "sent_at": now, "expires_at": now + timedelta(days=1)}
        invitation = Invitation(
            id=invitation_id, inviter_id=self.owner.id, email=f"{invitation_id}@example.com", token_hash=invitation_id.hex, **times
        )
        with self._services.unit_of_work() as session:
            session.add(invitation)
        return str(invitation_id)

    def _transfer(self) -> str:
        """Create a transfer of a new user's files to the owner."""
        now, transfer_id, giver_id = clock.now(), uuid4(), uuid4()
        times = {"created_at": now, "expires_at": now + timedelta(days=1)}
        giver_email = f"{giver_id}@example.com"
        values = {"from_email": giver_email, "to_email": self.owner.email, "token_epoch": 0, "status": "requested", **times}
        with self._services.unit_of_work() as session:
            session.add(User(id=giver_id, email=giver_email, hashed_password="x", created_at=now, updated_at=now))
            session.flush()
            session.add(OwnershipTransfer(id=transfer_id, from_id=giver_id, to_id=self.owner.id, **values))
        return str(transfer_id)

    def request(self) -> dict[str, Any]:
        """Create a file request of the owner."""
        response = self._client.post(f"{PREFIX}/file-requests", json={"title": "secret-name"}, headers=self.owner.headers)
        created: dict[str, Any] = response.json()
        return created

    def upload_token(self) -> dict[str, Any]:
        """Create an upload token of the owner. Older ones are revoked, because an account can have 100."""
        tokens = f"{PREFIX}/upload-tokens"
        for listed in self._client.get(tokens, headers=self.owner.headers).json()[50:]:
            self._client.delete(f"{tokens}/{listed['id']}", headers=self.owner.headers)
        created: dict[str, Any] = self._client.post(tokens, json={}, headers=self.owner.headers).json()
        return created

    def _uppy_upload(self) -> str:
        path = f"/uppy/{self.upload_token()['token']}/s3/multipart"
        started = self._client.post(path, json={"filename": "secret-name.txt", "metadata": {"size": 1}})
        return f"{path}/{started.json()['uploadId']}"

    def _grant(self) -> str:
        file = start_upload(self._client, self.owner)["file_id"]
        parameters = {"user_id": str(self.viewer.id)}
        assert self._client.put(f"{PREFIX}/files/{file}/grants", json=parameters, headers=self.owner.headers).status_code == 200
        return f"{file}/grants/{self.viewer.id}"

    def _session(self) -> str:
        # Not by a sign-in, which the wrong passwords of other requests may have throttled.
        with self._services.unit_of_work() as session:
            signed_in = self._services.sessions(session).open(session.get_one(User, self.owner.id))
        return str(pyjwt.decode(signed_in.access_token.value, options={"verify_signature": False})["sid"])
