"""API keys over HTTP: creation, scopes, expiry and revocation."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import time_machine
from sqlalchemy import text

from lambda_app.core import clock
from lambda_app.core.security.random_tokens import API_KEY_CHECKSUM_LENGTH, has_valid_checksum, new_api_key
from lambda_app.factory import Services
from tests.support.accounts import Account, make_file
from tests.support.problems import assert_problem, assert_unauthenticated

KEYS = "/api/v1/users/me/api-keys"
ME = "/api/v1/users/me"


def make_key(client: httpx.Client, account: Account, *scopes: str, **fields: Any) -> dict[str, Any]:
    response = client.post(KEYS, json={"name": "script", "scopes": list(scopes), **fields}, headers=account.headers)
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_key_is_returned_once_and_only_its_hash_is_stored(client: httpx.Client, services: Services, owner: Account) -> None:
    created = make_key(client, owner, "files:read", "files:write", expires_in_days=30)

    listed = client.get(KEYS, headers=owner.headers)

    assert created["key"].startswith("wup_")
    assert len(created["key"]) == 53
    assert listed.json() == [{name: value for name, value in created.items() if name != "key"}]
    assert listed.json()[0]["hint"] == created["key"][:10]
    assert created["scopes"] == ["files:read", "files:write"]
    with services.engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM api_key WHERE id = :id"), {"id": created["id"]}).one()
    assert created["key"] not in str(rows)
    assert created["key"][14:] not in str(rows)


def test_key_gives_access_within_its_scopes_only(client: httpx.Client, owner: Account) -> None:
    file = make_file(client, owner, status="pending")
    reader, writer = (bearer(make_key(client, owner, scope)["key"]) for scope in ("files:read", "files:write"))
    path = f"/api/v1/files/{file['id']}"

    assert client.get(path, headers=reader).status_code == 200
    assert client.get("/api/v1/files", headers=reader).json() == [file]
    assert client.put(path, json={"description": "x"}, headers=writer).status_code == 200
    assert client.get(ME, headers=reader).json()["id"] == str(owner.id)
    assert client.post("/login/test-token", headers=writer).status_code == 200
    refused = client.put(path, json={"description": "y"}, headers=reader)
    assert_problem(refused, 403, "insufficient_scope", required_scope="files:write")
    assert_problem(client.get(path, headers=writer), 403, "insufficient_scope")
    assert_problem(client.delete(path, headers=reader), 403, "insufficient_scope")
    assert client.delete(path, headers=writer).status_code == 204


@pytest.mark.parametrize("scope", ["files:read", "files:write", "shares"])
def test_key_without_admin_scope_cannot_manage_keys(client: httpx.Client, owner: Account, scope: str) -> None:
    key = bearer(make_key(client, owner, scope)["key"])

    assert_problem(client.post(KEYS, json={"name": "n", "scopes": ["admin"]}, headers=key), 403, "insufficient_scope")
    assert_problem(client.put(ME, json={"password": "mine now, thanks"}, headers=key), 403, "insufficient_scope")
    assert_problem(client.get(KEYS, headers=key), 403, "insufficient_scope")
    assert_problem(client.get(f"{ME}/sessions", headers=key), 403, "insufficient_scope")
    assert_problem(client.post("/api/v1/login/logout-everywhere", headers=key), 403, "insufficient_scope")


def test_superusers_key_without_admin_scope_reads_only_their_own_files(
    client: httpx.Client, services: Services, owner: Account, admin: Account
) -> None:
    others_file = make_file(client, owner, status="pending")
    without_admin, with_admin = (bearer(make_key(client, admin, *scopes)["key"]) for scopes in (["files:read", "files:write"], ["admin"]))

    assert_problem(client.get(f"/api/v1/files/{others_file['id']}", headers=without_admin), 403, "file_forbidden")
    assert_problem(client.delete(f"/api/v1/files/{others_file['id']}", headers=without_admin), 403, "file_forbidden")
    assert_problem(client.get("/api/v1/users/", headers=without_admin), 403, "insufficient_scope")
    assert client.get(f"/api/v1/files/{others_file['id']}", headers=with_admin).status_code == 200
    assert client.get("/api/v1/users/", headers=with_admin).status_code == 200
    # The reduced permissions of the key were not written to the account.
    assert client.get(ME, headers=admin.headers).json()["is_superuser"] is True


def test_expired_and_revoked_keys_return_401(client: httpx.Client, owner: Account, stranger: Account) -> None:
    expiring, lasting = make_key(client, owner, "files:read", expires_in_days=1), make_key(client, owner, "files:read")

    with time_machine.travel(clock.now() + timedelta(days=1, seconds=1), tick=False):
        assert_unauthenticated(client.get(ME, headers=bearer(expiring["key"])))
        assert client.get(ME, headers=bearer(lasting["key"])).status_code == 200
    assert_problem(client.delete(f"{KEYS}/{lasting['id']}", headers=stranger.headers), 404, "api_key_not_found")
    assert client.delete(f"{KEYS}/{lasting['id']}", headers=owner.headers).status_code == 204
    assert_unauthenticated(client.get(ME, headers=bearer(lasting["key"])))
    assert_problem(client.delete(f"{KEYS}/{lasting['id']}", headers=owner.headers), 404, "api_key_not_found")


def test_last_use_is_recorded_at_most_once_an_hour(client: httpx.Client, owner: Account) -> None:
    created = make_key(client, owner, "files:read")
    last_uses: list[Any] = []
    start = clock.now()
    for minutes in (0, 1, 59, 61):
        with time_machine.travel(start + timedelta(minutes=minutes), tick=False):
            client.get(ME, headers=bearer(created["key"]))
        with time_machine.travel(start, tick=False):
            last_uses.append(client.get(KEYS, headers=owner.headers).json()[0]["last_used_at"])

    assert created["last_used_at"] is None
    assert last_uses[0] == last_uses[1] == last_uses[2] != last_uses[3]


CHANGES: dict[str, Callable[[str], str]] = {
    "one letter": lambda key: key[:20] + ("A" if key[20] != "A" else "B") + key[21:],
    "cut": lambda key: key[:-1],
    "longer": lambda key: key + "A",
    "no checksum": lambda key: key[:-API_KEY_CHECKSUM_LENGTH],
    "other prefix": lambda key: key.replace("wup_", "wux_"),
    "capitals": str.upper,
    "another good one": lambda _: new_api_key(),
    "prefix alone": lambda _: "wup_",
    "not ASCII": lambda _: "wup_" + "é" * 49,
    "SQL": lambda _: "wup_' OR '1'='1",
}


@pytest.mark.parametrize("change", CHANGES)
def test_altered_key_returns_401(client: httpx.Client, owner: Account, change: str) -> None:
    key = CHANGES[change](make_key(client, owner, "admin")["key"])

    assert_unauthenticated(client.get(ME, headers={b"Authorization": f"Bearer {key}".encode()}))


def test_checksum_detects_typing_errors() -> None:
    key = new_api_key()

    assert has_valid_checksum(key)
    altered_keys = [key[:position] + ("0" if key[position] != "0" else "1") + key[position + 1 :] for position in range(len(key))]
    assert not any(has_valid_checksum(altered) for altered in altered_keys)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "n", "scopes": []},
        {"name": "n", "scopes": ["everything"]},
        {"name": " ", "scopes": ["admin"]},
        {"name": "n" * 101, "scopes": ["admin"]},
        {"name": "\x00", "scopes": ["admin"]},
        {"name": "n", "scopes": ["admin"], "expires_in_days": 0},
        {"name": "n", "scopes": ["admin"], "expires_in_days": "1"},
        {"name": "n", "scopes": ["admin"], "key": "wup_mine"},
    ],
)
def test_invalid_key_parameters_return_422(client: httpx.Client, owner: Account, body: dict[str, Any]) -> None:
    assert_problem(client.post(KEYS, json=body, headers=owner.headers), 422, "malformed_request")


def test_account_can_have_at_most_fifty_keys(client: httpx.Client, owner: Account) -> None:
    for _ in range(50):
        make_key(client, owner, "shares")
    assert_problem(client.post(KEYS, json={"name": "n", "scopes": ["shares"]}, headers=owner.headers), 409, "too_many_api_keys")


def test_unknown_key_id_returns_404(client: httpx.Client, owner: Account) -> None:
    assert_problem(client.delete(f"{KEYS}/{uuid4()}", headers=owner.headers), 404, "api_key_not_found")
