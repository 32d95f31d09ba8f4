"""Assertions that rows, objects and quotas are consistent."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy import select

from lambda_app.factory import Services
from lambda_app.models import CHARGED, File, FileStatus, Tombstone, User
from lambda_app.storage.keys import file_id_of
from lambda_app.storage.object_store import ObjectStore


def assert_quota_is_exact(services: Services, users: Iterable[UUID]) -> None:
    """Assert that each user's counters equal the sums over the files and tombstones that count in the quota."""
    with services.unit_of_work() as session:
        for user_id in users:
            charged = select(File.size_bytes).where(File.owner_id == user_id, File.status.in_(CHARGED))
            remembered = select(Tombstone.size_bytes).where(Tombstone.owner_id == user_id, Tombstone.charged_until.is_not(None))
            sizes = list(session.execute(charged.union_all(remembered)).scalars())
            user = session.get_one(User, user_id)
            assert (user.bytes_used, user.files_count) == (sum(sizes), len(sizes)), user_id


def assert_nothing_differs(services: Services, store: ObjectStore, users: Iterable[UUID]) -> None:
    """Assert that the users' rows, the store's objects and the quotas are consistent. Call it after a sweep."""
    users = list(users)
    assert_quota_is_exact(services, users)
    with services.unit_of_work() as session:
        rows = {row.id: row for row in session.execute(select(File).where(File.owner_id.in_(users))).scalars()}
        known = set(session.execute(select(File.id)).scalars())
    for row in rows.values():
        assert row.status not in (FileStatus.EXPIRED, FileStatus.DELETING), row.status
        stored = store.head(row.s3_key)
        if row.status in (FileStatus.AVAILABLE, FileStatus.TRASHED):
            assert stored is not None
            assert stored.size_bytes == row.size_bytes
        else:
            assert stored is None, row.status
    for listed in store.list_objects(after_key="", limit=1000).objects:
        assert file_id_of(listed.key) in known, listed.key
    live = {row.upload_id for row in rows.values() if row.status == FileStatus.PENDING}
    for upload in store.list_uploads(after_key="", limit=1000).uploads:
        assert upload.upload_id in live, upload.key
