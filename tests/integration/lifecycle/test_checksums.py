"""The checksum of a whole file, as its caller says it at completion and as S3 says it of the object."""

from functools import partial

import pytest

from lambda_app.models import File, FileStatus, User
from tests.support.lifecycle import Lifecycle, refused
from tests.support.object_store import HeldObject

CRC = "rosUhgp5mIg="
OTHER_CRC = "AAAAAAAAAAA="


def arrived(life: Lifecycle, user: User, *, in_parts: bool, said: str | None) -> File:
    """Return a pending file whose bytes have come, and of whose checksum S3 says this."""
    file = life.start_parts(user, 9) if in_parts else life.start(user, b"123456789")
    # Parts were joined by an earlier call, whose answer was lost.
    life.objects.uploads.pop(file.upload_id or "", None)
    life.objects.objects[file.s3_key] = HeldObject(b"123456789", file.content_type, None, crc64nvme=said)
    return file


@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize("said", [CRC, None])
def test_file_with_its_checksum_or_an_unknown_one_becomes_available(life: Lifecycle, in_parts: bool, said: str | None) -> None:
    user = life.new_user()
    file = arrived(life, user, in_parts=in_parts, said=said)

    assert life.complete(user, file.id, crc64nvme=CRC).status == FileStatus.AVAILABLE


@pytest.mark.parametrize("in_parts", [False, True])
def test_file_with_another_checksum_is_rejected_and_not_charged(life: Lifecycle, in_parts: bool) -> None:
    user = life.new_user()
    file = arrived(life, user, in_parts=in_parts, said=OTHER_CRC)

    assert refused(partial(life.complete, user, file.id, crc64nvme=CRC)) == "upload_rejected"
    assert life.status_of(file.id) == FileStatus.REJECTED
    assert not life.is_stored(file.id)


def test_checksum_that_nobody_named_is_not_compared(life: Lifecycle) -> None:
    user = life.new_user()

    assert life.complete(user, arrived(life, user, in_parts=False, said=OTHER_CRC).id).status == FileStatus.AVAILABLE
