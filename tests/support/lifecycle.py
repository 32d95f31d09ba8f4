"""Calls of the file services in units of work, with an object store in memory and a clock that the test moves."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar
from uuid import UUID, uuid4

import time_machine

from lambda_app.core import clock
from lambda_app.core.errors import AppError
from lambda_app.factory import Services
from lambda_app.models import File, FileStatus, User
from lambda_app.schemas.files.files import FileCreate
from lambda_app.schemas.files.uploads import MultipartCreate, PartRequest
from lambda_app.services.files.files import FileService
from lambda_app.services.files.idempotency import KeyedRequest
from lambda_app.services.files.sweep import SweepReport
from lambda_app.services.files.uploads import StartedUpload, UploadService
from lambda_app.storage.keys import file_id_of, object_key
from lambda_app.storage.object_store import ObjectStore
from tests.support.object_store import FakeObject, FakeObjectStore
from tests.support.quota_assertions import assert_nothing_differs

Result = TypeVar("Result")
LONG_ENOUGH = timedelta(days=31)
"""Longer than every retention period: of uploads, the trash and rejected rows."""


class Lifecycle:
    """The actions of callers, S3 events and the sweep schedule, each in its own unit of work."""

    def __init__(self, services: Services, traveller: time_machine.Traveller, store: ObjectStore | None = None) -> None:
        assert isinstance(services.store, FakeObjectStore)
        self.objects = services.store
        self.services = services if store is None else replace(services, store=store)
        self.traveller = traveller
        self.users: list[User] = []
        self.after_put: Callable[[], None] = lambda: None
        """Called after a client has sent bytes to the store."""

    def with_store(self, store: ObjectStore) -> "Lifecycle":
        """Return a copy whose services use `store`, for example a wrapper of the same store."""
        return Lifecycle(replace(self.services, store=self.objects), self.traveller, store)

    def new_user(self, **quota: int) -> User:
        """Create a user."""
        now = clock.now()
        user = User(id=uuid4(), email=f"{uuid4()}@example.com", hashed_password="x", is_active=True, is_superuser=False, **quota)
        user.created_at = user.updated_at = now
        with self.services.unit_of_work() as session:
            session.add(user)
        self.users.append(user)
        return user

    def upload(self, act: Callable[[UploadService], Result]) -> Result:
        """Call the upload service."""
        with self.services.unit_of_work() as session:
            return act(self.services.uploads(session))

    def file(self, act: Callable[[FileService], Result]) -> Result:
        """Call the file service."""
        with self.services.unit_of_work() as session:
            return act(self.services.files(session))

    def start(self, user: User, body: bytes = b"hello", **fields: object) -> File:
        """Start an upload in a single request."""
        return self.start_signed(user, body, None, **fields).file

    def start_signed(self, user: User, body: bytes = b"hello", key: str | None = None, **fields: object) -> StartedUpload:
        """Start an upload in a single request, with an idempotency key if `key` is set, and return its presigned request too."""
        declared = FileCreate.model_validate({"filename": "a.txt", "content_type": "text/plain", "size_bytes": len(body), **fields})
        keyed = None if key is None else KeyedRequest.of(user_id=user.id, route="POST /files/upload", key=key, body="{}")
        return self.upload(lambda uploads: uploads.start_upload(user, declared, keyed=keyed))

    def put(self, file: File, body: bytes = b"hello") -> None:
        """Store the bytes of a file, unless its object exists already; the presigned URL has the same condition."""
        self.objects.objects.setdefault(file.s3_key, FakeObject(body, file.content_type, file.sha256))
        self.after_put()

    def start_parts(self, user: User, size_bytes: int) -> File:
        """Start a multipart upload."""
        declared = MultipartCreate(filename="a.mp4", content_type="video/mp4", size_bytes=size_bytes)
        return self.upload(lambda uploads: uploads.start_multipart(user, declared))

    def send_parts(self, user: User, file: File, body: bytes) -> None:
        """Sign every part and send it."""
        assert file.part_size_bytes is not None
        for number, at in enumerate(range(0, len(body), file.part_size_bytes), 1):
            requested = [PartRequest(number=number)]
            (part,) = self.upload(lambda uploads, requested=requested: uploads.sign_parts(user, file.id, requested))  # type: ignore[misc]
            assert self.objects.put(part.request, body[at : at + file.part_size_bytes]) == 200
            self.after_put()

    def complete(self, user: User, file_id: UUID, *, crc64nvme: str | None = None) -> File:
        """Complete the upload as the client."""
        return self.upload(lambda uploads: uploads.complete_upload(user, file_id, crc64nvme=crc64nvme))

    def deliver_event(self, file_id: UUID) -> None:
        """Complete the upload as the handler of an S3 event."""
        with self.services.unit_of_work() as session:
            errors = self.services.completion(session).complete_from_events([file_id])
        if errors:
            raise errors[file_id]

    def deliver_event_for(self, key: str) -> None:
        """Complete the upload of the object with this key as the handler of an S3 event."""
        file_id = file_id_of(key)
        assert file_id is not None
        self.deliver_event(file_id)

    def delete(self, user: User, file_id: UUID, *, is_permanent: bool = False) -> None:
        """Delete a file."""
        self.file(lambda files: files.delete_file(user, file_id, is_permanent=is_permanent))

    def restore(self, user: User, file_id: UUID) -> File:
        """Restore a file from the trash."""
        return self.file(lambda files: files.restore_file(user, file_id))

    def sweep(self) -> SweepReport:
        """Run the sweep."""
        with self.services.unit_of_work() as session:
            return self.services.sweep(session).run(budget_seconds=600)

    def status_of(self, file_id: UUID) -> FileStatus | None:
        """Return the status of a file's row, or None when there is no row."""
        with self.services.unit_of_work() as session:
            row = self.services.files(session)._files.get(file_id)
            return None if row is None else FileStatus(row.status)

    def assert_nothing_differs(self) -> None:
        """Assert that rows, objects and quotas agree."""
        plain = replace(self.services, store=self.objects)
        assert_nothing_differs(plain, self.objects, [user.id for user in self.users])

    def is_stored(self, file_id: UUID) -> bool:
        """Return whether the file has an object in the store."""
        return object_key(file_id) in self.objects.objects


def refused(act: Callable[[], object]) -> str | None:
    """Return the code of the error that `act` raises, or None when it succeeds."""
    try:
        act()
    except AppError as error:
        return error.code
    return None
