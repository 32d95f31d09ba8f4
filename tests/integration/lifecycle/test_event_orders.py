"""S3's events, repeated, shuffled, delayed and lost: the end is the one of the orderly case."""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import select

from lambda_app.handlers.object_created import take_batch
from lambda_app.models import File, FileStatus, User
from tests.support.lifecycle import LONG_ENOUGH, Lifecycle, refused
from tests.support.object_store import HeldObject
from tests.support.s3_events import batch, bridged, notification

ORDERS = int(os.environ.get("LIFECYCLE_ORDERS", "2000"))
"""`make test-slow SIZE=full` tries 10,000."""
LOST = 0.05
DELAYED = 0.1
BATCH = 10


@dataclass(frozen=True)
class Story:
    """A file, what its caller sends and does, and how that ends when everything happens in order."""

    file: File
    body: bytes | None
    is_deleted: bool

    @property
    def end(self) -> FileStatus | None:
        if self.body is None or self.is_deleted:
            return None
        return FileStatus.AVAILABLE if self.body == b"hello" else FileStatus.REJECTED


@pytest.fixture
def dice() -> random.Random:
    seed = int(os.environ.get("LIFECYCLE_SEED", random.randrange(2**32)))
    print(f"LIFECYCLE_SEED={seed}")
    return random.Random(seed)


def make_story(life: Lifecycle, user: User, dice: random.Random) -> Story:
    body = dice.choices([b"hello", b"another length", None], [8, 2, 1])[0]
    return Story(life.start(user), body, is_deleted=dice.random() < 0.2)


MAKERS: tuple[Callable[..., str], ...] = (notification, bridged)


def messages_of(story: Story, bucket: str, dice: random.Random) -> list[str]:
    """Return one to five messages that say the same, of both kinds; with bad luck none, and before any bytes have come if forged."""
    return [dice.choice(MAKERS)(story.file.s3_key, bucket=bucket) for _ in range(dice.randint(1, 5)) if dice.random() >= LOST]


def statuses(life: Lifecycle, user: User) -> dict[UUID, FileStatus]:
    with life.services.unit_of_work() as session:
        rows = session.execute(select(File.id, File.status).where(File.owner_id == user.id))
        return {row.id: FileStatus(row.status) for row in rows}


def send(life: Lifecycle, story: Story) -> None:
    if story.body is not None:
        # S3 itself would refuse the wrong length; what comes all the same, by a mistake of ours, is found out.
        life.objects.objects.setdefault(story.file.s3_key, HeldObject(story.body, "text/plain", None))


@pytest.mark.slow
def test_any_order_of_events_ends_as_the_orderly_one(life: Lifecycle, dice: random.Random) -> None:
    bucket = life.services.settings.s3_bucket_name
    user = life.new_user(quota_bytes=10**9, quota_files=10**6)
    delayed: list[str] = []
    ends: dict[UUID, FileStatus | None] = {}
    delivered = 0
    for _ in range(ORDERS // BATCH):
        stories = [make_story(life, user, dice) for _ in range(BATCH)]
        early = [message for story in stories for message in messages_of(story, bucket, dice) if dice.random() < 0.1]
        take_batch(life.services, batch(*early))
        for story in stories:
            send(life, story)
        messages = [message for story in stories for message in messages_of(story, bucket, dice)]
        dice.shuffle(messages)
        late = [message for message in messages if dice.random() < DELAYED]
        now = messages[: len(messages) - len(late)]
        at = dice.randint(0, len(now))
        delayed += late
        assert take_batch(life.services, batch(*now[:at])) == {"batchItemFailures": []}
        for story in dice.sample(stories, len(stories)):
            if dice.random() < 0.3:
                refused(partial(life.complete, user, story.file.id))
            if story.is_deleted:
                life.delete(user, story.file.id, is_permanent=True)
                if dice.random() < 0.3:
                    send(life, story)  # by the same URL, which is alive for some minutes yet
        take_batch(life.services, batch(*now[at:]))
        delivered += len(early) + len(now)
        ends.update({story.file.id: story.end for story in stories})
    # What no event and no caller spoke of is found when its time is over; what was only delayed comes after that.
    life.traveller.shift(LONG_ENOUGH / 2)
    life.sweep()
    dice.shuffle(delayed)
    take_batch(life.services, batch(*delayed))

    print(f"{len(ends)} files, {delivered} messages, {len(delayed)} delayed")
    found = statuses(life, user)
    wrong = {file_id: (found.get(file_id), end) for file_id, end in ends.items() if found.get(file_id) != end}
    assert wrong == {}
    life.sweep()
    life.assert_nothing_differs()


def test_message_that_fails_is_the_only_one_to_come_again(life: Lifecycle) -> None:
    bucket = life.services.settings.s3_bucket_name
    user = life.new_user()
    first, second = life.start(user), life.start(user)
    for file in (first, second):
        life.put(file)
    life.objects.is_down = True
    down = take_batch(life.services, batch(notification(first.s3_key, bucket=bucket)))
    life.objects.is_down = False

    messages = [notification(first.s3_key, bucket=bucket), "no json", bridged(second.s3_key, bucket=bucket), '{"Records": [{}]}']
    answer = take_batch(life.services, batch(*messages))

    assert down == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}
    assert answer == {"batchItemFailures": [{"itemIdentifier": "message-1"}, {"itemIdentifier": "message-3"}]}
    assert {life.status_of(file.id) for file in (first, second)} == {FileStatus.AVAILABLE}


def test_messages_that_are_none_of_our_business_do_nothing(life: Lifecycle) -> None:
    bucket = life.services.settings.s3_bucket_name
    user = life.new_user()
    file = life.start(user)
    life.put(file)
    others = [
        notification(file.s3_key, bucket="another-bucket"),
        bridged(file.s3_key, bucket="another-bucket"),
        notification(file.s3_key, bucket=bucket, name="ObjectRemoved:Delete"),
        bridged(file.s3_key, bucket=bucket, kind="Object Deleted"),
        notification("uploads/../../etc/passwd", bucket=bucket),
        notification("uploads/6f3c1e1e-0000-4000-8000-000000000000", bucket=bucket),
        '{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}',
    ]

    assert take_batch(life.services, batch(*others)) == {"batchItemFailures": []}
    assert life.status_of(file.id) == FileStatus.PENDING
    assert life.is_stored(file.id)


@pytest.mark.parametrize(
    "body",
    ["", "null", "[]", "5", '"x"', "{}", '{"detail": 1}', '{"detail": {}, "detail-type": "Object Created"}', "[" * 5000],
    ids=range(9),
)
def test_message_that_cannot_be_read_goes_back_to_the_queue(life: Lifecycle, body: str) -> None:
    assert take_batch(life.services, batch(body)) == {"batchItemFailures": [{"itemIdentifier": "message-0"}]}


def test_object_that_comes_after_its_file_was_rejected_is_deleted_by_its_event(life: Lifecycle) -> None:
    user = life.new_user()
    file = life.start(user)
    life.objects.objects[file.s3_key] = HeldObject(b"another length", "text/plain", None)
    assert refused(partial(life.complete, user, file.id)) == "upload_rejected"
    life.put(file)

    take_batch(life.services, batch(bridged(file.s3_key, bucket=life.services.settings.s3_bucket_name)))

    assert not life.is_stored(file.id)
    assert life.status_of(file.id) == FileStatus.REJECTED
