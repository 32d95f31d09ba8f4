"""The way of webhooks in AWS: a function in the VPC queues batches in S3, one outside sends them, the first one records the results."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import standardwebhooks

from lambda_app.core import clock
from lambda_app.core.errors import UnavailableError
from lambda_app.core.outbound.posts import Poster
from lambda_app.core.security.keys import SigningKeys
from lambda_app.core.security.link_tokens import LinkTokenCipher
from lambda_app.core.settings import Settings
from lambda_app.core.webhooks import BATCH_SECONDS
from lambda_app.handlers import webhook_queue
from lambda_app.handlers.webhook_delivery import Sender, send_batches
from lambda_app.handlers.webhook_queue import run_webhooks
from lambda_app.storage.webhook_objects import WebhookObjects
from tests.support.accounts import Account
from tests.support.audit_log import OwnLog
from tests.support.receivers import Receiver, answer, http_receiver

WEBHOOKS = "/api/v1/webhooks"
KEY = "a-key-of-webhooks-for-tests-0123456789abcdef"


class Aws:
    """The queues between the two functions, as far as they concern a test."""

    def __init__(self, log: OwnLog) -> None:
        self._log = log
        self.settings = log.services.settings
        self.objects = WebhookObjects(self.settings, log.services.aws, LinkTokenCipher(SigningKeys.fixed(KEY)))
        self.sender = Sender(self.settings.s3_bucket_name, self.objects, Poster(allow_loopback=True, timeout_seconds=2).post)

    def keys(self, prefix: str) -> list[str]:
        listed = self._log.services.aws.call("s3", "list_objects_v2", Bucket=self.settings.s3_bucket_name, Prefix=prefix)
        return [item["Key"] for item in listed.get("Contents", ())]

    def body(self, key: str) -> bytes:
        response = self._log.services.aws.call("s3", "get_object", Bucket=self.settings.s3_bucket_name, Key=key)
        return self._log.services.aws.read(response["Body"], 1024**2)

    def event(self, *keys: str) -> dict[str, Any]:
        """Return the messages for new objects."""
        bucket = {"name": self.settings.s3_bucket_name}
        records = [{"eventName": "ObjectCreated:Put", "s3": {"bucket": bucket, "object": {"key": key}}} for key in keys]
        return {"Records": [{"messageId": str(number), "body": json.dumps({"Records": [record]})} for number, record in enumerate(records)]}

    def queue(self, *results: str) -> dict[str, Any]:
        return run_webhooks(self._log.services, self.objects, self.event(*results) if results else {})

    def send(self, *work: str) -> dict[str, Any]:
        return send_batches(self.sender, self.event(*work))


@pytest.fixture
def aws(log: OwnLog) -> Iterator[Aws]:
    aws = Aws(log)
    yield aws
    for prefix in ("webhook-work/", "webhook-results/"):
        for key in aws.keys(prefix):
            log.services.aws.call("s3", "delete_object", Bucket=aws.settings.s3_bucket_name, Key=key)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver(lambda request, _body: answer(request, 200, b"the answer")) as running:
        yield running


def create_with_test_event(api: httpx.Client, owner: Account, url: str) -> dict[str, Any]:
    webhook: dict[str, Any] = api.post(WEBHOOKS, json={"url": url}, headers=owner.headers).json()
    assert api.post(f"{WEBHOOKS}/{webhook['id']}/test", headers=owner.headers).status_code == 202
    return webhook


def only_delivery(api: httpx.Client, owner: Account, webhook: dict[str, Any]) -> dict[str, Any]:
    [delivery] = api.get(f"{WEBHOOKS}/{webhook['id']}/deliveries", headers=owner.headers).json()
    found: dict[str, Any] = delivery
    return found


def test_batch_is_sent_outside_and_its_result_recorded_inside(api: httpx.Client, owner: Account, aws: Aws, receiver: Receiver) -> None:
    webhook = create_with_test_event(api, owner, receiver.url)

    aws.queue()
    work = aws.keys("webhook-work/")
    aws.send(*work)
    results = aws.keys("webhook-results/")
    aws.queue(*results)

    [received] = receiver.received
    standardwebhooks.Webhook(webhook["secret"]).verify(received.body, received.headers)
    delivery = only_delivery(api, owner, webhook)
    assert (delivery["status"], delivery["response_body"]) == ("delivered", "the answer")
    assert (len(work), len(results)) == (1, 1)
    assert aws.keys("webhook-work/") == aws.keys("webhook-results/") == []


def test_objects_have_neither_secrets_nor_addresses_nor_answers_in_plain_text(
    api: httpx.Client, owner: Account, aws: Aws, receiver: Receiver
) -> None:
    webhook = create_with_test_event(api, owner, receiver.url)
    aws.queue()
    [work] = aws.keys("webhook-work/")
    body = aws.body(work)
    aws.send(work)
    [result] = aws.keys("webhook-results/")

    for content in (body, aws.body(result)):
        for plain in (webhook["secret"].removeprefix("whsec_"), receiver.url, webhook["id"], "the answer", "webhook.test"):
            assert plain.encode() not in content


def test_event_that_arrives_twice_sends_once(api: httpx.Client, owner: Account, aws: Aws, receiver: Receiver) -> None:
    create_with_test_event(api, owner, receiver.url)
    aws.queue()
    work = aws.keys("webhook-work/")

    assert aws.send(*work, *work) == {"batchItemFailures": []}
    results = aws.keys("webhook-results/")
    assert aws.queue(*results, *results) == {"batchItemFailures": []}

    assert len(receiver.received) == 1


def test_result_that_cannot_be_written_is_redelivered_and_nothing_is_lost(
    api: httpx.Client, owner: Account, aws: Aws, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = create_with_test_event(api, owner, receiver.url)
    aws.queue()
    [work] = aws.keys("webhook-work/")

    def fail(*_arguments: object) -> None:
        raise UnavailableError

    with monkeypatch.context() as patched:
        patched.setattr(WebhookObjects, "put_result", fail)
        assert aws.send(work) == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    aws.send(work)
    aws.queue(*aws.keys("webhook-results/"))

    assert len({received.headers["webhook-id"] for received in receiver.received}) == 1
    assert only_delivery(api, owner, webhook)["status"] == "delivered"


def test_lost_batch_is_queued_again_after_its_lease(
    api: httpx.Client, log: OwnLog, owner: Account, aws: Aws, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_with_test_event(api, owner, receiver.url)
    aws.queue()
    [lost] = aws.keys("webhook-work/")
    log.services.aws.call("s3", "delete_object", Bucket=aws.settings.s3_bucket_name, Key=lost)
    aws.queue()
    assert aws.keys("webhook-work/") == []

    log.run("UPDATE webhook SET leased_until = now() - interval '1 second' WHERE is_enabled")
    aws.queue()
    aws.send(*aws.keys("webhook-work/"))

    assert len(receiver.received) == 1
    assert timedelta(minutes=1) < webhook_queue.LEASE


def test_batch_that_outlived_its_lease_is_not_sent(
    api: httpx.Client, log: OwnLog, owner: Account, aws: Aws, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_with_test_event(api, owner, receiver.url)
    aws.queue()
    late = clock.now() + webhook_queue.LEASE - timedelta(seconds=BATCH_SECONDS)
    monkeypatch.setattr(clock, "now", lambda: late)

    assert aws.send(*aws.keys("webhook-work/")) == {"batchItemFailures": []}

    assert receiver.received == []
    assert aws.keys("webhook-work/") == aws.keys("webhook-results/") == []


def test_no_more_batches_are_queued_than_are_sent_within_a_lease(
    api: httpx.Client, log: OwnLog, owner: Account, aws: Aws, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_queue, "LEASES_MAX", 2)
    log.run("UPDATE webhook SET leased_until = NULL")
    for _ in range(3):
        create_with_test_event(api, owner, receiver.url)

    aws.queue()
    aws.queue()
    queued = aws.keys("webhook-work/")
    aws.send(*queued)
    aws.queue(*aws.keys("webhook-results/"))

    assert (len(queued), len(receiver.received), len(aws.keys("webhook-work/"))) == (2, 2, 1)


@pytest.mark.parametrize(
    "forge",
    [
        lambda aws, _work: aws.keys("webhook-work/") and aws.event("webhook-work/not-an-id"),
        lambda aws, _work: aws.event(f"webhook-work/{uuid4()}"),
        lambda aws, _work: aws.event("uploads/secret"),
    ],
    ids=["no id", "unknown batch", "another object"],
)
def test_forged_event_sends_nothing(
    api: httpx.Client, owner: Account, aws: Aws, receiver: Receiver, forge: Callable[[Aws, str], dict[str, Any]]
) -> None:
    create_with_test_event(api, owner, receiver.url)
    aws.queue()
    [work] = aws.keys("webhook-work/")

    assert send_batches(aws.sender, forge(aws, work)) == {"batchItemFailures": []}
    assert receiver.received == []


def test_batch_that_was_copied_to_another_key_is_refused(
    api: httpx.Client, log: OwnLog, owner: Account, aws: Aws, receiver: Receiver
) -> None:
    create_with_test_event(api, owner, receiver.url)
    aws.queue()
    [work] = aws.keys("webhook-work/")
    copy = f"webhook-work/{uuid4()}"
    log.services.aws.call("s3", "put_object", Bucket=aws.settings.s3_bucket_name, Key=copy, Body=aws.body(work))

    aws.send(copy)

    assert receiver.received == []


def test_function_that_sends_needs_no_settings_of_the_database() -> None:
    environ = {"ENVIRONMENT": "prod", "S3_BUCKET_NAME": "bucket", "WEBHOOK_KEY_ARN": "arn:aws:secretsmanager:x", "AWS_REGION": "eu-west-1"}

    settings = Settings.without_database(environ)

    assert (settings.s3_bucket_name, settings.webhook_key_arn) == ("bucket", "arn:aws:secretsmanager:x")
    assert not settings.webhook_allow_loopback
