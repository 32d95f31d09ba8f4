"""The routes of webhooks: limits, secrets, and who may use them."""

import base64
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import select, text

from lambda_app.core.errors import NotAuthenticatedError
from lambda_app.core.security.keys import KeyRing, SigningKey, SigningKeys
from lambda_app.core.security.link_tokens import LinkTokenCipher
from lambda_app.models import User, Webhook
from lambda_app.schemas.events import EventType
from lambda_app.schemas.webhooks import WebhookCreate
from lambda_app.services.webhooks.webhooks import WEBHOOKS_PER_USER
from tests.support.accounts import Account, make_account
from tests.support.audit_log import OwnLog
from tests.support.problems import assert_problem

WEBHOOKS = "/api/v1/webhooks"
URL = "https://hooks.example.com/we-upload"


def create(api: httpx.Client, owner: Account, **fields: Any) -> dict[str, Any]:
    answer = api.post(WEBHOOKS, json={"url": URL, **fields}, headers=owner.headers)
    assert answer.status_code == 201, answer.text
    webhook: dict[str, Any] = answer.json()
    return webhook


def test_secret_is_returned_once_and_stored_encrypted(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    answer = api.post(WEBHOOKS, json={"url": URL, "event_types": ["file.available"], "description": "x"}, headers=owner.headers)

    created = answer.json()
    secret = created.pop("secret")
    assert answer.headers["cache-control"] == "no-store"
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert api.get(f"{WEBHOOKS}/{created['id']}", headers=owner.headers).json() == created
    assert api.get(WEBHOOKS, headers=owner.headers).json() == [created]
    with log.services.engine.connect() as connection:
        row = str(connection.execute(text("SELECT w FROM webhook w WHERE id = :id"), {"id": created["id"]}).one())
        events = str(connection.execute(text("SELECT details FROM audit_event WHERE action LIKE 'webhook.%'")).all())
    assert secret.removeprefix("whsec_") not in row
    assert URL not in events


def test_secret_of_another_row_cannot_be_decrypted(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    """A row that an attacker copied to the own webhook must not sign with the victim's secret."""
    victim, own = create(api, owner), create(api, owner)
    with log.services.engine.begin() as connection:
        connection.execute(
            text("UPDATE webhook SET encrypted_secret = (SELECT encrypted_secret FROM webhook WHERE id = :victim) WHERE id = :own"),
            {"victim": victim["id"], "own": own["id"]},
        )
        connection.execute(text("UPDATE webhook SET is_enabled = false WHERE id = :victim"), {"victim": victim["id"]})
    assert api.post(f"{WEBHOOKS}/{own['id']}/test", headers=owner.headers).status_code == 202

    with log.services.unit_of_work() as session:
        assert log.services.webhook_batches(session, lease=log.services._archive_retention()).lease_next() is None

    shown = api.get(f"{WEBHOOKS}/{own['id']}", headers=owner.headers).json()
    assert (shown["is_enabled"], shown["disabled_reason"]) == (False, "secret_unreadable")


def test_rotation_enables_a_webhook_whose_secret_was_unreadable(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    webhook = create(api, owner)
    path = f"{WEBHOOKS}/{webhook['id']}"
    with log.services.engine.begin() as connection:
        disabling = text("UPDATE webhook SET is_enabled = false, disabled_reason = 'secret_unreadable' WHERE id = :id")
        connection.execute(disabling, {"id": webhook["id"]})

    rotated = api.post(f"{path}/rotate-secret", headers=owner.headers).json()

    shown = api.get(path, headers=owner.headers).json()
    assert (shown["is_enabled"], shown["disabled_reason"], shown["previous_secret_until"]) == (True, None, None)
    assert api.post(f"{path}/test", headers=owner.headers).status_code == 202
    with log.services.unit_of_work() as session:
        batch = log.services.webhook_batches(session, lease=log.services._archive_retention()).lease_next()
    assert batch is not None
    assert batch.secrets == [rotated["secret"]]


def test_rotation_leaves_a_webhook_disabled_that_its_owner_disabled(api: httpx.Client, owner: Account) -> None:
    path = f"{WEBHOOKS}/{create(api, owner)['id']}"
    api.patch(path, json={"is_enabled": False}, headers=owner.headers)

    assert api.post(f"{path}/rotate-secret", headers=owner.headers).json()["is_enabled"] is False


def test_secrets_are_encrypted_again_with_the_current_key(log: OwnLog, api: httpx.Client, owner: Account) -> None:
    webhook = create(api, owner)
    rotated = api.post(f"{WEBHOOKS}/{webhook['id']}/rotate-secret", headers=owner.headers).json()
    keys = SigningKeys.fixed(KeyRing(current=SigningKey.generate()).render())
    with log.services.unit_of_work() as session:
        replace(log.services, link_keys=keys).link_token_encryption(session).reencrypt()

    cipher, row_id = LinkTokenCipher(keys), UUID(webhook["id"])
    with log.services.engine.begin() as connection:
        query = text("SELECT encrypted_secret, encrypted_previous_secret FROM webhook WHERE id = :id")
        secrets = connection.execute(query, {"id": row_id}).one()
        connection.execute(text("DELETE FROM webhook WHERE id = :id"), {"id": row_id})
    assert [cipher.decrypt(secret, row_id=row_id) for secret in secrets] == [rotated["secret"], webhook["secret"]]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "https://user:password@example.com/", "https://10.0.0.1/", "https://[::ffff:10.0.0.1]/", "ftp://example.com/",
        "https://169.254.169.254/", "/path", "https://example.com/#x",
    ],
)  # fmt: skip
def test_address_that_cannot_be_a_webhook_returns_422(api: httpx.Client, owner: Account, url: str) -> None:
    webhook = create(api, owner)

    assert_problem(api.post(WEBHOOKS, json={"url": url}, headers=owner.headers), 422, "bad_webhook_url")
    assert_problem(api.patch(f"{WEBHOOKS}/{webhook['id']}", json={"url": url}, headers=owner.headers), 422, "bad_webhook_url")


@pytest.mark.parametrize(
    "fields",
    [{"event_types": []}, {"event_types": ["unknown"]}, {"url": None}, {"is_enabled": None}, {"secret": "x"}, {"for_all_users": True}],
)
def test_bad_change_returns_422(api: httpx.Client, owner: Account, fields: dict[str, Any]) -> None:
    webhook = create(api, owner)

    assert_problem(api.patch(f"{WEBHOOKS}/{webhook['id']}", json=fields, headers=owner.headers), 422, "malformed_request")


def test_owner_changes_and_deletes_a_webhook(api: httpx.Client, owner: Account) -> None:
    path = f"{WEBHOOKS}/{create(api, owner)['id']}"
    changes = {"url": f"{URL}/2", "event_types": ["share.opened"], "description": None, "is_enabled": False}

    changed = api.patch(path, json=changes, headers=owner.headers).json()

    assert {name: changed[name] for name in changes} == changes
    assert api.delete(path, headers=owner.headers).status_code == 204
    assert_problem(api.get(path, headers=owner.headers), 404, "webhook_not_found")


def test_number_of_webhooks_is_limited(api: httpx.Client, owner: Account) -> None:
    for _ in range(WEBHOOKS_PER_USER):
        create(api, owner)

    assert_problem(api.post(WEBHOOKS, json={"url": URL}, headers=owner.headers), 409, "too_many_webhooks")


@pytest.mark.parametrize("change", ["token_epoch = token_epoch + 1", "is_active = false"])
def test_request_whose_credentials_end_meanwhile_creates_no_webhook(log: OwnLog, owner: Account, change: str) -> None:
    with log.services.unit_of_work() as session:
        user = session.get_one(User, owner.id)
    with log.services.engine.begin() as connection:
        connection.execute(text(f'UPDATE "user" SET {change} WHERE id = :id'), {"id": owner.id})  # noqa: S608 - a constant

    with log.services.unit_of_work() as session, pytest.raises(NotAuthenticatedError):
        log.services.webhooks(session).create(user, WebhookCreate(url=URL))

    with log.services.unit_of_work() as session:
        assert session.execute(select(Webhook).where(Webhook.owner_id == owner.id)).first() is None


def test_only_superusers_create_a_webhook_for_all_users(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    superuser = make_account(log.services, is_superuser=True)

    assert create(api, superuser, for_all_users=True)["for_all_users"] is True
    assert_problem(api.post(WEBHOOKS, json={"url": URL, "for_all_users": True}, headers=owner.headers), 403, "permission_denied")


def test_other_users_and_superusers_cannot_reach_a_webhook(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    webhook = create(api, owner)
    path = f"{WEBHOOKS}/{webhook['id']}"
    delivery = api.post(f"{path}/test", headers=owner.headers).json()["id"]
    requests = [
        ("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/rotate-secret"), ("POST", f"{path}/test"),
        ("GET", f"{path}/deliveries"), ("POST", f"{path}/deliveries/{delivery}/replay"),
    ]  # fmt: skip
    for stranger in (make_account(log.services), make_account(log.services, is_superuser=True)):
        for method, url in requests:
            body = {"is_enabled": False} if method == "PATCH" else None
            assert_problem(api.request(method, url, json=body, headers=stranger.headers), 404, "webhook_not_found")
        assert api.get(WEBHOOKS, headers=stranger.headers).json() == []


def test_delivery_of_another_webhook_cannot_be_replayed(api: httpx.Client, log: OwnLog, owner: Account) -> None:
    delivery = api.post(f"{WEBHOOKS}/{create(api, owner)['id']}/test", headers=owner.headers).json()["id"]
    stranger = make_account(log.services)
    own = create(api, stranger)

    for delivery_id in (delivery, str(uuid4())):
        answer = api.post(f"{WEBHOOKS}/{own['id']}/deliveries/{delivery_id}/replay", headers=stranger.headers)
        assert_problem(answer, 404, "webhook_delivery_not_found")


def test_disabled_webhook_sends_nothing(api: httpx.Client, owner: Account) -> None:
    path = f"{WEBHOOKS}/{create(api, owner)['id']}"
    delivery = api.post(f"{path}/test", headers=owner.headers).json()["id"]
    api.patch(path, json={"is_enabled": False}, headers=owner.headers)

    assert_problem(api.post(f"{path}/test", headers=owner.headers), 409, "webhook_disabled")
    assert_problem(api.post(f"{path}/deliveries/{delivery}/replay", headers=owner.headers), 409, "webhook_disabled")


def test_every_event_type_fits_its_column() -> None:
    assert max(len(kind) for kind in EventType) <= 64
