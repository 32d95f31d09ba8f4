"""Comparison of the client's checksum of a whole file with the checksum that S3 returns."""

from functools import partial

import pytest

from lambda_app.models import File, FileStatus, User
from tests.support.lifecycle import Lifecycle, refused
from tests.support.object_store import FakeObject

CRC = "rosUhgp5mIg="
OTHER_CRC = "AAAAAAAAAAA="


def make_uploaded_file(lifecycle: Lifecycle, user: User, *, in_parts: bool, stored_checksum: str | None) -> File:
    """Return a pending file whose object exists, with this checksum in S3's response."""
    file = lifecycle.start_parts(user, 9) if in_parts else lifecycle.start(user, b"123456789")
    # The multipart upload was completed by an earlier call whose response was lost.
    lifecycle.objects.uploads.pop(file.upload_id or "", None)
    lifecycle.objects.objects[file.s3_key] = FakeObject(b"123456789", file.content_type, None, crc64nvme=stored_checksum)
    return file


@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize("stored_checksum", [CRC, None])
def test_matching_or_unknown_checksum_makes_the_file_available(lifecycle: Lifecycle, in_parts: bool, stored_checksum: str | None) -> None:
    user = lifecycle.new_user()
    file = make_uploaded_file(lifecycle, user, in_parts=in_parts, stored_checksum=stored_checksum)

    assert lifecycle.complete(user, file.id, crc64nvme=CRC).status == FileStatus.AVAILABLE


@pytest.mark.parametrize("in_parts", [False, True])
def test_different_checksum_rejects_the_file_and_frees_its_quota(lifecycle: Lifecycle, in_parts: bool) -> None:
    user = lifecycle.new_user()
    file = make_uploaded_file(lifecycle, user, in_parts=in_parts, stored_checksum=OTHER_CRC)

    assert refused(partial(lifecycle.complete, user, file.id, crc64nvme=CRC)) == "upload_rejected"
    assert lifecycle.status_of(file.id) == FileStatus.REJECTED
    assert not lifecycle.is_stored(file.id)


def test_checksum_is_not_compared_if_the_client_sends_none(lifecycle: Lifecycle) -> None:
    user = lifecycle.new_user()

    assert (
        lifecycle.complete(user, make_uploaded_file(lifecycle, user, in_parts=False, stored_checksum=OTHER_CRC).id).status
        == FileStatus.AVAILABLE
    )
