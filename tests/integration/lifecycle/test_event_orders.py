"""S3 events that are repeated, shuffled, delayed or lost lead to the same result as events in order."""

import hashlib
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from unittest.mock import Mock
from uuid import UUID

import pytest
from sqlalchemy import event, select

from lambda_app.handlers.object_created import complete_uploads
from lambda_app.models import AuditEvent, File, FileStatus, User
from lambda_app.services.files.upload_verification import SMALL_OBJECT_MAX_BYTES
from tests.support.lifecycle import LONG_ENOUGH, Lifecycle, refused
from tests.support.object_store import FakeObject
from tests.support.s3_events import batch, eventbridge_message, s3_message

ORDERS = int(os.environ.get("LIFECYCLE_ORDERS", "2000"))
"""`make test-slow SIZE=full` tries 10,000."""
LOST = 0.05
DELAYED = 0.1
BATCH = 10
HELLO_SHA256 = hashlib.sha256(b"hello").hexdigest()


@dataclass(frozen=True)
class UploadCase:
    """A file and the actions of its client. `end` is the status after all events in order."""

    file: File
    body: bytes | None
    is_deleted: bool

    @property
    def end(self) -> FileStatus | None:
        if self.body is None or self.is_deleted:
            return None
        return FileStatus.AVAILABLE if self.body == b"hello" else FileStatus.REJECTED


@pytest.fixture
def rng() -> random.Random:
    seed = int(os.environ.get("LIFECYCLE_SEED", random.randrange(2**32)))
    print(f"LIFECYCLE_SEED={seed}")
    return random.Random(seed)


def make_case(lifecycle: Lifecycle, user: User, rng: random.Random) -> UploadCase:
    body = rng.choices([b"hello", b"another length", None], [8, 2, 1])[0]
    return UploadCase(lifecycle.start(user), body, is_deleted=rng.random() < 0.2)


MAKERS: tuple[Callable[..., str], ...] = (s3_message, eventbridge_message)


def messages_of(case: UploadCase, bucket: str, rng: random.Random) -> list[str]:
    """Return up to five equivalent messages, directly from S3 or through EventBridge; each is lost with a small probability."""
    return [rng.choice(MAKERS)(case.file.s3_key, bucket=bucket) for _ in range(rng.randint(1, 5)) if rng.random() >= LOST]


def statuses(lifecycle: Lifecycle, user: User) -> dict[UUID, FileStatus]:
    with lifecycle.services.unit_of_work() as session:
        rows = session.execute(select(File.id, File.status).where(File.owner_id == user.id))
        return {row.id: FileStatus(row.status) for row in rows}


def send(lifecycle: Lifecycle, case: UploadCase) -> None:
    if case.body is not None:
        # S3 would refuse the wrong length; the test bypasses that to verify that the application also detects it.
        lifecycle.objects.objects.setdefault(case.file.s3_key, FakeObject(case.body, "text/plain", None))


@pytest.mark.slow
def test_any_order_of_events_leads_to_the_same_result(lifecycle: Lifecycle, rng: random.Random) -> None:
    bucket = lifecycle.services.settings.s3_bucket_name
    user = lifecycle.new_user(quota_bytes=10**9, quota_files=10**6)
    delayed: list[str] = []
    ends: dict[UUID, FileStatus | None] = {}
    delivered = 0
    for _ in range(ORDERS // BATCH):
        cases = [make_case(lifecycle, user, rng) for _ in range(BATCH)]
        early = [message for case in cases for message in messages_of(case, bucket, rng) if rng.random() < 0.1]
        complete_uploads(lifecycle.services, batch(*early))
        for case in cases:
            send(lifecycle, case)
        messages = [message for case in cases for message in messages_of(case, bucket, rng)]
        rng.shuffle(messages)
        late = [message for message in messages if rng.random() < DELAYED]
        now = messages[: len(messages) - len(late)]
        at = rng.randint(0, len(now))
        delayed += late
        assert complete_uploads(lifecycle.services, batch(*now[:at])) == {"batchItemFailures": []}
        for case in rng.sample(cases, len(cases)):
            if rng.random() < 0.3:
                refused(partial(lifecycle.complete, user, case.file.id))
            if case.is_deleted:
                lifecycle.delete(user, case.file.id, is_permanent=True)
                if rng.random() < 0.3:
                    send(lifecycle, case)  # with the same URL, which is still valid
        complete_uploads(lifecycle.services, batch(*now[at:]))
        delivered += len(early) + len(now)
        ends.update({case.file.id: case.end for case in cases})
    # The sweep finds uploads that no event and no client has reported. The delayed messages arrive after it.
    lifecycle.traveller.shift(LONG_ENOUGH / 2)
    lifecycle.sweep()
    rng.shuffle(delayed)
    complete_uploads(lifecycle.services, batch(*delayed))

    print(f"{len(ends)} files, {delivered} messages, {len(delayed)} delayed")
    found = statuses(lifecycle, user)
    wrong = {file_id: (found.get(file_id), end) for file_id, end in ends.items() if found.get(file_id) != end}
    assert wrong == {}
    lifecycle.sweep()
    lifecycle.assert_nothing_differs()


def test_only_failed_messages_are_redelivered(lifecycle: Lifecycle) -> None:
    bucket = lifecycle.services.settings.s3_bucket_name
    user = lifecycle.new_user()
    first, second = lifecycle.start(user), lifecycle.start(user)
    for file in (first, second):
        lifecycle.put(file)
    lifecycle.objects.is_down = True
    down = complete_uploads(lifecycle.services, batch(s3_message(first.s3_key, bucket=bucket)))
    lifecycle.objects.is_down = False

    messages = [s3_message(first.s3_key, bucket=bucket), "no json", eventbridge_message(second.s3_key, bucket=bucket), '{"Records": [{}]}']
    answer = complete_uploads(lifecycle.services, batch(*messages))

    assert down == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-1"}, {"itemIdentifier": "message-3"}]}
    assert {lifecycle.status_of(file.id) for file in (first, second)} == {FileStatus.AVAILABLE}


def test_unreadable_object_fails_alone(lifecycle: Lifecycle) -> None:
    bucket = lifecycle.services.settings.s3_bucket_name
    user = lifecycle.new_user()
    files = [lifecycle.start(user) for _ in range(3)]
    for file in files:
        lifecycle.put(file)
    lifecycle.objects.withheld.add(files[1].s3_key)

    answer = complete_uploads(lifecycle.services, batch(*(s3_message(file.s3_key, bucket=bucket) for file in files)))
    lifecycle.objects.withheld.clear()

    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-1"}]}
    assert [lifecycle.status_of(file.id) for file in files] == [FileStatus.AVAILABLE, FileStatus.PENDING, FileStatus.AVAILABLE]


def test_batch_of_events_needs_two_statements_and_audits_each_file(lifecycle: Lifecycle) -> None:
    bucket = lifecycle.services.settings.s3_bucket_name
    user = lifecycle.new_user()
    files = [lifecycle.start(user, sha256=HELLO_SHA256) for _ in range(BATCH)]
    alone = lifecycle.start(user, sha256=HELLO_SHA256)
    for file in [*files, alone]:
        lifecycle.put(file)
    lifecycle.complete(user, alone.id)
    statements: list[str] = []

    def record(*arguments: Any) -> None:
        statements.append(arguments[2])

    event.listen(lifecycle.services.engine, "before_cursor_execute", record)
    answer = complete_uploads(lifecycle.services, batch(*(s3_message(file.s3_key, bucket=bucket) for file in files)))
    event.remove(lifecycle.services.engine, "before_cursor_execute", record)

    assert answer == {"batchItemFailures": []}
    assert len(statements) == 2
    with lifecycle.services.unit_of_work() as session:
        query = select(AuditEvent.subject, AuditEvent.details).where(AuditEvent.action == "file.available")
        events = {row.subject: row.details for row in session.execute(query)}
    assert {lifecycle.status_of(file.id) for file in files} == {FileStatus.AVAILABLE}
    assert [events[f"file:{file.id}"] for file in files] == [events[f"file:{alone.id}"]] * BATCH


@pytest.mark.parametrize(
    ("content_type", "body", "calls", "detected"),
    [
        ("application/octet-stream", b"%PDF-1.7", ["head"], None),
        ("image/png", b"%PDF-1.7", ["read_small"], "application/pdf"),
        ("image/png", b"%PDF-1.7".ljust(SMALL_OBJECT_MAX_BYTES + 1), ["head", "read_start"], "application/pdf"),
        ("image/png", b"", ["read_small"], None),
    ],
    ids=["generic", "small", "large", "empty"],
)
def test_event_reads_no_more_of_an_object_than_its_type_needs(
    lifecycle: Lifecycle, content_type: str, body: bytes, calls: list[str], detected: str | None
) -> None:
    bucket = lifecycle.services.settings.s3_bucket_name
    user = lifecycle.new_user()
    file = lifecycle.start(user, body, content_type=content_type)
    lifecycle.objects.objects[file.s3_key] = FakeObject(body, content_type, None)
    store = Mock(wraps=lifecycle.objects)

    complete_uploads(replace(lifecycle.services, store=store), batch(s3_message(file.s3_key, bucket=bucket)))

    with lifecycle.services.unit_of_work() as session:
        found = session.get_one(File, file.id)
        assert (found.status, found.detected_content_type) == (FileStatus.AVAILABLE, detected)
    assert [call[0] for call in store.method_calls] == calls


def test_unrelated_messages_are_ignored(lifecycle: Lifecycle) -> None:
    bucket = lifecycle.services.settings.s3_bucket_name
    user = lifecycle.new_user()
    file = lifecycle.start(user)
    lifecycle.put(file)
    others = [
        s3_message(file.s3_key, bucket="another-bucket"),
        eventbridge_message(file.s3_key, bucket="another-bucket"),
        s3_message(file.s3_key, bucket=bucket, name="ObjectRemoved:Delete"),
        eventbridge_message(file.s3_key, bucket=bucket, kind="Object Deleted"),
        s3_message("uploads/../../etc/passwd", bucket=bucket),
        s3_message("uploads/6f3c1e1e-0000-4000-8000-000000000000", bucket=bucket),
        '{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}',
    ]

    assert complete_uploads(lifecycle.services, batch(*others)) == {"batchItemFailures": []}
    assert lifecycle.status_of(file.id) == FileStatus.PENDING
    assert lifecycle.is_stored(file.id)


@pytest.mark.parametrize(
    "body",
    ["", "null", "[]", "5", '"x"', "{}", '{"detail": 1}', '{"detail": {}, "detail-type": "Object Created"}', "[" * 5000],
    ids=range(9),
)
def test_malformed_message_is_reported_as_failed(lifecycle: Lifecycle, body: str) -> None:
    assert complete_uploads(lifecycle.services, batch(body)) == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}


def test_event_deletes_an_object_uploaded_after_rejection(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()
    file = lifecycle.start(user)
    lifecycle.objects.objects[file.s3_key] = FakeObject(b"another length", "text/plain", None)
    assert refused(partial(lifecycle.complete, user, file.id)) == "upload_rejected"
    lifecycle.put(file)

    complete_uploads(lifecycle.services, batch(eventbridge_message(file.s3_key, bucket=lifecycle.services.settings.s3_bucket_name)))

    assert not lifecycle.is_stored(file.id)
    assert lifecycle.status_of(file.id) == FileStatus.REJECTED
