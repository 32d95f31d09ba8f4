"""Deliveries: signatures, retries, receivers with faults, and that each event arrives."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import standardwebhooks
from sqlalchemy import select, text

from lambda_app.core import clock
from lambda_app.core.outbound.posts import Answer, Poster
from lambda_app.core.webhooks import BREAKER_FAILURES, Batch, Message, send_batch
from lambda_app.handlers.webhooks import LEASE, send_due_batch
from lambda_app.models import PublishedEvent, Webhook, WebhookDelivery
from lambda_app.repositories.audit import AuditRepository
from lambda_app.repositories.events.dispatch import EventDispatchRepository, NewEvent
from lambda_app.repositories.webhooks.deliveries import WebhookDeliveryRepository
from tests.support.accounts import Account, make_account
from tests.support.audit_log import OwnLog
from tests.support.locks import wait_until_waiting
from tests.support.problems import assert_problem
from tests.support.receivers import Received, Receiver, answer, http_receiver

WEBHOOKS = "/api/v1/webhooks"
FULL_DELIVERIES = 10_000
FAULTS = (500, 503, 404, 302)


@pytest.fixture
def poster() -> Poster:
    return Poster(allow_loopback=True, timeout_seconds=2)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as running:
        yield running


class Time:
    """The clock of the server, which a test moves forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return REAL_NOW() + self.ahead


REAL_NOW = clock.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(clock, "now", time.now)
    return time


def create(api: httpx.Client, owner: Account, url: str, **fields: Any) -> dict[str, Any]:
    answered = api.post(WEBHOOKS, json={"url": url, **fields}, headers=owner.headers)
    assert answered.status_code == 201, answered.text
    webhook: dict[str, Any] = answered.json()
    return webhook


def publish(log: OwnLog, *owners: Account, kind: str = "file.available", count: int = 1) -> None:
    """Add events as the dispatcher does."""
    with log.services.unit_of_work() as session:
        new = [
            NewEvent(owner.id, kind, clock.now(), f"file:{uuid4()}", {"filename": f"{number}.txt", "source_address": "198.51.100.7"})
            for owner in owners
            for number in range(count)
        ]
        assert EventDispatchRepository(session).add(new) == len(new)


def send_all(log: OwnLog, poster: Poster) -> None:
    while send_due_batch(log.services, poster.post):
        pass


def deliveries_of(api: httpx.Client, owner: Account, webhook: dict[str, Any], **parameters: Any) -> list[dict[str, Any]]:
    answered = api.get(f"{WEBHOOKS}/{webhook['id']}/deliveries", params=parameters, headers=owner.headers)
    assert answered.status_code == 200, answered.text
    found: list[dict[str, Any]] = answered.json()
    return found


def verified(received: Received, secret: str) -> dict[str, Any]:
    """Verify a message with the published library, and return its body."""
    body: dict[str, Any] = standardwebhooks.Webhook(secret).verify(received.body, received.headers)
    return body


def test_published_library_verifies_the_message_of_an_audited_action(
    api: httpx.Client, log: OwnLog, owner: Account, poster: Poster, receiver: Receiver
) -> None:
    webhook = create(api, owner, receiver.url, event_types=["account.password_changed"])
    with log.services.unit_of_work() as session:
        AuditRepository(session).add("password.changed", subject=f"user:{owner.id}")
    log.publish()

    send_all(log, poster)

    [received] = receiver.received
    body = verified(received, webhook["secret"])
    feed = api.get("/api/v1/events", params={"type": "account.password_changed"}, headers=owner.headers).json()["events"][-1]
    expected = {"type": feed["type"], "timestamp": feed["at"], "event_id": feed["id"], "subject": f"user:{owner.id}", "data": {}}
    assert body == expected
    [delivery] = deliveries_of(api, owner, webhook)
    assert delivery["id"] == received.headers["webhook-id"]
    assert (delivery["status"], delivery["attempts"], delivery["response_status"], delivery["error"]) == ("delivered", 1, 204, None)
    assert delivery["next_attempt_at"] is None


def test_changed_message_or_other_secret_is_refused_by_the_library(
    api: httpx.Client, log: OwnLog, owner: Account, poster: Poster, receiver: Receiver
) -> None:
    webhook, other = create(api, owner, receiver.url), create(api, owner, "https://example.com/", event_types=["grant.added"])
    publish(log, owner)
    send_all(log, poster)

    [received] = receiver.received
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(webhook["secret"]).verify(received.body + b" ", received.headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(other["secret"]).verify(received.body, received.headers)


def test_both_secrets_sign_for_a_day_after_a_rotation(
    api: httpx.Client, log: OwnLog, owner: Account, poster: Poster, receiver: Receiver, time: Time
) -> None:
    webhook = create(api, owner, receiver.url)
    rotated = api.post(f"{WEBHOOKS}/{webhook['id']}/rotate-secret", headers=owner.headers).json()
    publish(log, owner)
    send_all(log, poster)

    assert verified(receiver.received[0], webhook["secret"]) == verified(receiver.received[0], rotated["secret"])

    log.run("UPDATE webhook SET previous_secret_until = now() - interval '1 second'")
    publish(log, owner)
    send_all(log, poster)
    verified(receiver.received[1], rotated["secret"])
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        verified(receiver.received[1], webhook["secret"])


def test_webhook_gets_the_chosen_types_of_its_owner_only(
    api: httpx.Client, log: OwnLog, owner: Account, poster: Poster, receiver: Receiver
) -> None:
    webhook = create(api, owner, receiver.url, event_types=["file.available", "share.opened"])
    other = make_account(log.services)
    publish(log, owner, other, kind="file.available")
    publish(log, owner, kind="file.trashed")

    send_all(log, poster)

    assert [verified(received, webhook["secret"])["type"] for received in receiver.received] == ["file.available"]


def test_webhook_for_all_users_gets_their_events_without_network_addresses(
    api: httpx.Client, log: OwnLog, owner: Account, poster: Poster, receiver: Receiver
) -> None:
    superuser = make_account(log.services, is_superuser=True)
    webhook = create(api, superuser, receiver.url, for_all_users=True)
    publish(log, owner, superuser)

    send_all(log, poster)

    bodies = [verified(received, webhook["secret"]) for received in receiver.received]
    assert {body["user_id"] for body in bodies} == {str(owner.id), str(superuser.id)}
    assert all(body["data"] == {"filename": "0.txt"} for body in bodies)


@pytest.mark.parametrize("change", ["is_superuser = false", "is_active = false"])
def test_webhook_for_all_users_ends_with_the_role_of_its_owner(
    api: httpx.Client, log: OwnLog, owner: Account, poster: Poster, receiver: Receiver, change: str
) -> None:
    superuser = make_account(log.services, is_superuser=True)
    create(api, superuser, receiver.url, for_all_users=True)
    publish(log, owner)
    with log.services.engine.begin() as connection:
        connection.execute(text(f'UPDATE "user" SET {change} WHERE id = :id'), {"id": superuser.id})  # noqa: S608 - constants
    publish(log, owner)

    send_all(log, poster)

    assert receiver.received == []
    with log.services.engine.connect() as connection:
        queued = select(WebhookDelivery.id).join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
        assert len(connection.execute(queued.where(Webhook.owner_id == superuser.id)).all()) == 1


def test_retry_has_the_same_id_and_a_new_signature(api: httpx.Client, log: OwnLog, owner: Account, poster: Poster, time: Time) -> None:
    statuses = iter([500, 204])
    with http_receiver(lambda request, _body: answer(request, next(statuses), b"broken")) as receiver:
        webhook = create(api, owner, receiver.url)
        publish(log, owner)
        send_all(log, poster)
        [failed] = deliveries_of(api, owner, webhook)
        time.ahead = timedelta(minutes=1)
        send_all(log, poster)

    first, second = receiver.received
    assert (failed["status"], failed["error"], failed["response_status"], failed["response_body"]) == ("pending", "status", 500, "broken")
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) in range(59, 70)
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    [delivered] = deliveries_of(api, owner, webhook, status="delivered")
    assert delivered["attempts"] == 2


def test_receiver_that_is_down_for_a_day_gets_everything(
    api: httpx.Client, log: OwnLog, owner: Account, poster: Poster, time: Time
) -> None:
    is_down = True
    with http_receiver(lambda request, _body: answer(request, 503 if is_down else 204)) as receiver:
        webhook = create(api, owner, receiver.url)
        publish(log, owner, count=30)
        for hours in range(24):
            time.ahead = timedelta(hours=hours)
            send_all(log, poster)
        attempts = len(receiver.received)
        receiver.received.clear()
        is_down = False
        for hours in range(24, 48):
            time.ahead = timedelta(hours=hours)
            send_all(log, poster)

    time.ahead = timedelta()
    assert attempts < 60, "a receiver that is down gets few attempts"
    assert {verified_late(received, webhook["secret"]) for received in receiver.received} == {f"{number}.txt" for number in range(30)}
    assert deliveries_of(api, owner, webhook, status="pending") == []


def verified_late(received: Received, secret: str) -> str:
    """Verify a message of a server whose clock is ahead, without the check of the time."""
    name: str = json.loads(received.body)["data"]["filename"]
    timestamp = datetime.fromtimestamp(int(received.headers["webhook-timestamp"]), tz=clock.now().tzinfo)
    expected = standardwebhooks.Webhook(secret).sign(received.headers["webhook-id"], timestamp, received.body.decode())
    assert received.headers["webhook-signature"] == expected
    return name


def test_webhook_without_success_for_three_days_is_disabled_and_its_owner_told(
    api: httpx.Client, log: OwnLog, owner: Account, poster: Poster, time: Time
) -> None:
    with http_receiver(lambda request, _body: answer(request, 500)) as receiver:
        webhook = create(api, owner, receiver.url)
        publish(log, owner)
        for hours in range(0, 80, 4):
            time.ahead = timedelta(hours=hours)
            send_all(log, poster)
    log.publish()

    shown = api.get(f"{WEBHOOKS}/{webhook['id']}", headers=owner.headers)
    assert shown.status_code == 401, "the access token has expired: the clock is three days ahead"
    time.ahead = timedelta()
    shown = api.get(f"{WEBHOOKS}/{webhook['id']}", headers=owner.headers)
    assert (shown.json()["is_enabled"], shown.json()["disabled_reason"]) == (False, "failing")
    [event] = api.get("/api/v1/events", params={"type": "webhook.disabled"}, headers=owner.headers).json()["events"]
    assert event["data"] == {"webhook_id": webhook["id"], "reason": "failing"}
    enabled = api.patch(f"{WEBHOOKS}/{webhook['id']}", json={"is_enabled": True}, headers=owner.headers).json()
    assert (enabled["is_enabled"], enabled["disabled_reason"], enabled["failing_since"]) == (True, None, None)


def test_delivery_fails_after_three_days_while_others_succeed_and_can_be_replayed(
    api: httpx.Client, log: OwnLog, owner: Account, poster: Poster, time: Time
) -> None:
    refused = "0.txt"
    with http_receiver(lambda request, body: answer(request, 500 if refused.encode() in body else 204)) as receiver:
        webhook = create(api, owner, receiver.url)
        publish(log, owner, count=2)
        for hours in range(0, 80, 4):
            time.ahead = timedelta(hours=hours)
            send_all(log, poster)
            publish(log, owner, kind="file.trashed")
            refused = "0.txt" if hours < 76 else "none"
            log.run("DELETE FROM webhook_delivery d USING published_event e WHERE e.id = d.event_id AND e.type = 'file.trashed'")
            log.run("UPDATE webhook SET failing_since = NULL")
        time.ahead = timedelta()
        [failed] = deliveries_of(api, owner, webhook, status="failed")
        replayed = api.post(f"{WEBHOOKS}/{webhook['id']}/deliveries/{failed['id']}/replay", headers=owner.headers)
        receiver.received.clear()
        send_all(log, poster)

    assert replayed.status_code == 202
    assert [received.headers["webhook-id"] for received in receiver.received] == [failed["id"]]
    assert deliveries_of(api, owner, webhook, status="failed") == []


def test_slow_receiver_does_not_hold_up_others(api: httpx.Client, log: OwnLog, owner: Account, receiver: Receiver) -> None:
    release = threading.Event()

    def wait(request: BaseHTTPRequestHandler, _body: bytes) -> None:
        release.wait(10)
        answer(request)

    with http_receiver(wait) as slow:
        create(api, owner, slow.url, event_types=["share.opened"])
        fast = create(api, owner, receiver.url, event_types=["file.available"])
        poster = Poster(allow_loopback=True, timeout_seconds=10)
        publish(log, owner, kind="share.opened")
        waiting = threading.Thread(target=send_due_batch, args=[log.services, poster.post])
        waiting.start()
        while not slow.received:
            threading.Event().wait(0.01)
        publish(log, owner, kind="share.opened", count=3)
        publish(log, owner, kind="file.available", count=5)
        send_all(log, poster)
        delivered = len(deliveries_of(api, owner, fast, status="delivered"))
        concurrent = len(slow.received)
        release.set()
        waiting.join(10)

    assert delivered == 5
    assert concurrent == 1, "one batch at a time for each receiver"


def test_batch_ends_when_the_receiver_fails_repeatedly() -> None:
    def refuse(_url: str, _body: bytes, _headers: dict[str, str]) -> Answer:
        return Answer("status", 500, "", 1)

    messages = [Message(uuid4(), "{}") for _ in range(20)]
    batch = Batch(uuid4(), uuid4(), "https://example.com/", ["whsec_AAAA"], 0, messages, clock.now())

    assert len(send_batch(batch, refuse).outcomes) == BREAKER_FAILURES
    assert len(send_batch(batch, refuse, budget_seconds=0).outcomes) == 1


def test_result_of_an_ended_lease_changes_nothing(
    api: httpx.Client, log: OwnLog, owner: Account, poster: Poster, receiver: Receiver, time: Time
) -> None:
    webhook = create(api, owner, receiver.url)
    publish(log, owner)
    with log.services.unit_of_work() as session:
        batch = log.services.webhook_batches(session, lease=LEASE).lease_next()
    assert batch is not None
    result = send_batch(batch, poster.post)
    time.ahead = 2 * LEASE
    send_all(log, poster)

    with log.services.unit_of_work() as session:
        assert not log.services.webhook_batches(session, lease=LEASE).record(result)
    assert [received.headers["webhook-id"] for received in receiver.received] == [str(batch.messages[0].id)] * 2
    assert [delivery["attempts"] for delivery in deliveries_of(api, owner, webhook)] == [1]


def test_test_event_goes_to_its_webhook_only(api: httpx.Client, log: OwnLog, owner: Account, poster: Poster, receiver: Receiver) -> None:
    webhook = create(api, owner, receiver.url, event_types=["file.available"])
    other = create(api, owner, receiver.url)

    assert api.post(f"{WEBHOOKS}/{webhook['id']}/test", headers=owner.headers).status_code == 202
    send_all(log, poster)

    [received] = receiver.received
    assert verified(received, webhook["secret"])["type"] == "webhook.test"
    assert deliveries_of(api, owner, other) == []


def test_second_test_event_waits_until_the_first_one_has_arrived(
    api: httpx.Client, log: OwnLog, owner: Account, poster: Poster, receiver: Receiver
) -> None:
    webhook, other = create(api, owner, receiver.url), create(api, owner, receiver.url)
    paths = [f"{WEBHOOKS}/{each['id']}/test" for each in (webhook, other)]
    api.post(paths[0], headers=owner.headers).raise_for_status()

    assert_problem(api.post(paths[0], headers=owner.headers), 409, "webhook_test_pending")
    assert api.post(paths[1], headers=owner.headers).status_code == 202
    send_all(log, poster)
    assert api.post(paths[0], headers=owner.headers).status_code == 202


def test_test_event_waits_for_the_dispatcher(api: httpx.Client, log: OwnLog, owner: Account, receiver: Receiver) -> None:
    """Readers of the feed rely on ids that grow in the order of the commits."""
    webhook_id = UUID(create(api, owner, receiver.url)["id"])

    def add_test() -> bool:
        with log.services.unit_of_work() as session:
            webhook = session.get_one(Webhook, webhook_id)
            return WebhookDeliveryRepository(session).add_test(webhook, event_type="webhook.test", data={}) is not None

    with ThreadPoolExecutor(1) as pool, log.services.unit_of_work() as session:
        repository = EventDispatchRepository(session)
        with repository.dispatching():
            repository.add([NewEvent(owner.id, "file.available", clock.now(), f"file:{uuid4()}", {})])
            testing = pool.submit(add_test)
            wait_until_waiting(log.services, count=1)
        assert testing.result()


def test_deliveries_are_paged_from_the_newest_event(api: httpx.Client, log: OwnLog, owner: Account, receiver: Receiver) -> None:
    webhook = create(api, owner, receiver.url)
    publish(log, owner, count=5)

    first = deliveries_of(api, owner, webhook, limit=3)
    second = deliveries_of(api, owner, webhook, limit=3, before=first[-1]["event_id"])

    ids = [delivery["event_id"] for delivery in first + second]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 5


def test_deleted_webhook_is_gone_at_once_and_maintenance_deletes_its_rows(
    api: httpx.Client, log: OwnLog, owner: Account, poster: Poster, receiver: Receiver
) -> None:
    webhook, kept = create(api, owner, receiver.url), create(api, owner, receiver.url)
    publish(log, owner, count=3)
    path = f"{WEBHOOKS}/{webhook['id']}"

    assert api.delete(path, headers=owner.headers).status_code == 204

    assert [each["id"] for each in api.get(WEBHOOKS, headers=owner.headers).json()] == [kept["id"]]
    for method, url in (("GET", path), ("DELETE", path), ("POST", f"{path}/test"), ("POST", f"{path}/rotate-secret")):
        assert_problem(api.request(method, url, headers=owner.headers), 404, "webhook_not_found")
    assert_problem(api.patch(path, json={"is_enabled": True}, headers=owner.headers), 404, "webhook_not_found")
    publish(log, owner)
    send_all(log, poster)
    assert len(receiver.received) == 4

    with log.services.unit_of_work() as session:
        assert log.services.maintenance(session).purge()["webhooks"] >= 1
    with log.services.engine.connect() as connection:
        query = select(Webhook.id, WebhookDelivery.id).outerjoin(WebhookDelivery).where(Webhook.owner_id == owner.id)
        assert [str(row[0]) for row in connection.execute(query)] == [kept["id"]] * 4


def test_deleted_account_or_webhook_takes_its_deliveries_along(api: httpx.Client, log: OwnLog, owner: Account, receiver: Receiver) -> None:
    webhook = create(api, owner, receiver.url)
    publish(log, owner)
    api.delete(f"{WEBHOOKS}/{webhook['id']}", headers=owner.headers)
    create(api, owner, receiver.url)
    publish(log, owner)
    with log.services.engine.begin() as connection:
        connection.execute(text('DELETE FROM "user" WHERE id = :id'), {"id": owner.id})
        assert connection.execute(select(PublishedEvent.id).where(PublishedEvent.owner_id == owner.id)).all() == []
        assert connection.execute(select(Webhook.id).where(Webhook.owner_id == owner.id)).all() == []


@pytest.mark.parametrize("count", [300, pytest.param(FULL_DELIVERIES, marks=pytest.mark.slow)])
def test_all_deliveries_arrive_although_a_fifth_of_the_attempts_fails(
    api: httpx.Client, log: OwnLog, owner: Account, poster: Poster, time: Time, count: int
) -> None:
    attempts = Counter[str]()
    accepted: set[str] = set()
    guard = threading.Lock()

    def respond(request: BaseHTTPRequestHandler, body: bytes) -> None:
        with guard:
            attempts["all"] += 1
            number = attempts["all"]
        if number % 5 == 0:
            if number % 25 == 0:
                request.connection.close()
                return
            answer(request, FAULTS[number // 5 % len(FAULTS)])
            return
        accepted.add(request.headers["webhook-id"])
        answer(request)

    with http_receiver(respond) as receiver:
        webhook = create(api, owner, receiver.url)
        publish(log, owner, count=count)
        for hour in range(40):
            time.ahead = timedelta(hours=hour)
            send_all(log, poster)
            if len(accepted) == count:
                break

    with log.services.engine.connect() as connection:
        query = select(WebhookDelivery.id, WebhookDelivery.status).where(WebhookDelivery.webhook_id == UUID(webhook["id"]))
        rows = connection.execute(query)
        assert {(str(row.id), row.status) for row in rows} == {(message, "delivered") for message in accepted}
    assert len(accepted) == count
    assert attempts["all"] >= count * 1.2
