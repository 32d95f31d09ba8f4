"""Verification of uploaded objects: the only code that makes a pending file available or rejects it."""

from collections.abc import Sequence
from enum import Enum
from itertools import groupby
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from lambda_app.core.errors import UnavailableError
from lambda_app.models import File
from lambda_app.repositories.files.transitions import FileTransitionRepository
from lambda_app.services.files.preview_requests import is_previewable, request_preview
from lambda_app.storage.keys import batch_prefix
from lambda_app.storage.object_store import ObjectStore, StoredObject
from lambda_app.storage.sniffing import SNIFFED_BYTES, can_be_contradicted, contradicting_type

SMALL_OBJECT_MAX_BYTES = 65_536
"""Largest object that is read as a whole, with its metadata, by one request. Of a larger one, only the first bytes are read."""
LISTED_MIN_FILES = 5
"""Files of a batch whose objects one listing finds. Fewer are read one by one."""
LISTED_MAX_OBJECTS = 1000
"""Objects that one request lists; a batch has fewer."""


class VerificationResult(Enum):
    """The result of verifying an object."""

    MISSING = "missing"
    """There is no object; the file was not changed."""
    AVAILABLE = "available"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    """The file's status was changed concurrently; this verification changed nothing."""


class _Object(NamedTuple):
    """What was read of an object."""

    stored: StoredObject
    detected_type: str | None
    """The type of its first bytes, if that contradicts the declared type."""


class UploadVerification:
    """Compares a pending file with its object. Called for client requests, S3 events and the sweep, in any order; each is sufficient."""

    def __init__(self, *, transitions: FileTransitionRepository, store: ObjectStore, has_previews: bool) -> None:
        self._transitions = transitions
        self._store = store
        self._has_previews = has_previews

    def verify(self, file: File, *, crc64nvme: str | None = None) -> tuple[VerificationResult, File]:
        """Compare the object with the pending `file`, accept or reject it, and return the changed file. Raises UnavailableError.

        `crc64nvme` (base64) is the client's checksum of the whole file; it is compared if S3 has computed one.
        Call it without an open transaction: it calls S3 first, then changes the status in one statement.
        """
        found = self._read(file)
        if found is None:
            return VerificationResult.MISSING, file
        if not _is_as_declared(file, found.stored, crc64nvme):
            return self._reject(file)
        return self._accept(file, found)

    def verify_many(self, files: Sequence[File], *, until: float | None = None) -> dict[UUID, UnavailableError]:
        """Verify pending files as `verify` does, and return the errors of those whose objects could not be read.

        One listing finds the objects of a batch whose size decides, and one statement accepts all files about whose objects nothing has to
        be recorded. After `until`, a time of `monotonic`, no further object is listed or read, and the files that are left stay pending.
        """
        errors: dict[UUID, UnavailableError] = {}
        listed, others = self._list(files, errors, until)
        if listed:
            self._transitions.accept_many(listed)
        plain: list[UUID] = []
        for file in others:
            if until is not None and monotonic() >= until:
                break
            try:
                found = self._read(file)
                if found is None:
                    continue
                if not _is_as_declared(file, found.stored, None):
                    self._reject(file)
                elif found.stored.crc64nvme is None and found.detected_type is None and not self._has_preview(file, found):
                    plain.append(file.id)
                else:
                    self._accept(file, found)
            except UnavailableError as error:
                errors[file.id] = error
        if plain:
            self._transitions.accept_many(plain)
        return errors

    def _list(self, files: Sequence[File], errors: dict[UUID, UnavailableError], until: float | None) -> tuple[list[UUID], list[File]]:
        """Return the files whose objects a listing has shown to be as declared, and those that must be read to decide.

        Adds the errors of the files whose objects could not be listed.

        S3 stores an object below the key only if it has the signed length and digest, so that its presence and size suffice. The object
        of a listed file that is not in the listing does not exist.
        """
        accepted: list[UUID] = []
        others: list[File] = []
        by_size: list[File] = []
        for file in files:
            (by_size if self._is_decided_by_size(file) else others).append(file)
        by_size.sort(key=lambda file: file.s3_key)
        for prefix, members in groupby(by_size, lambda file: batch_prefix(file.id)):
            batch = list(members)
            if len(batch) < LISTED_MIN_FILES:
                others += batch
                continue
            if until is not None and monotonic() >= until:
                break
            try:
                page = self._store.list_objects(after_key="", limit=LISTED_MAX_OBJECTS, prefix=prefix)
            except UnavailableError as error:
                errors |= dict.fromkeys((file.id for file in batch), error)
                continue
            sizes = {found.key: found.size_bytes for found in page.objects}
            accepted += [file.id for file in batch if sizes.get(file.s3_key) == file.size_bytes]
            others += [file for file in batch if sizes.get(file.s3_key, file.size_bytes) != file.size_bytes]
        return accepted, others

    def _is_decided_by_size(self, file: File) -> bool:
        """Whether the object needs no other check than its size: S3 has compared its digest, and its content is not looked at."""
        has_preview = self._has_previews and is_previewable(file)
        return file.sha256 is not None and file.part_size_bytes is None and not has_preview and not can_be_contradicted(file.content_type)

    def _accept(self, file: File, found: _Object) -> tuple[VerificationResult, File]:
        with_preview = self._has_preview(file, found)
        accepted = self._transitions.accept(
            file.id, detected_content_type=found.detected_type, crc64nvme=found.stored.crc64nvme, with_preview=with_preview
        )
        if accepted is not None and with_preview:
            request_preview(self._store, file.id)
        return (VerificationResult.SUPERSEDED, file) if accepted is None else (VerificationResult.AVAILABLE, accepted)

    def _reject(self, file: File) -> tuple[VerificationResult, File]:
        rejected = self._transitions.reject(file.id)
        if rejected is None:
            return VerificationResult.SUPERSEDED, file
        # After a crash before this point, the sweep deletes the object, because the row is `rejected`.
        self._store.delete(rejected.s3_key)
        return VerificationResult.REJECTED, rejected

    def _has_preview(self, file: File, found: _Object) -> bool:
        return self._has_previews and found.detected_type is None and is_previewable(file)

    def _read(self, file: File) -> _Object | None:
        """Return the object's metadata, and the type of its first bytes if it contradicts the declared type; by one request if possible.

        The bytes are not read if they can contradict nothing, or if the object does not have the declared size.
        """
        is_read = can_be_contradicted(file.content_type)
        if is_read and file.size_bytes <= SMALL_OBJECT_MAX_BYTES:
            small = self._store.read_small(file.s3_key, SMALL_OBJECT_MAX_BYTES)
            return None if small is None else _Object(small[0], contradicting_type(file.content_type, small[1][:SNIFFED_BYTES]))
        stored = self._store.head(file.s3_key)
        if stored is None:
            return None
        is_read = is_read and stored.size_bytes == file.size_bytes
        start = self._store.read_start(file.s3_key, SNIFFED_BYTES) if is_read else b""
        return _Object(stored, contradicting_type(file.content_type, start))


def _is_as_declared(file: File, stored: StoredObject, crc64nvme: str | None) -> bool:
    if stored.size_bytes != file.size_bytes:
        return False
    if None not in (crc64nvme, stored.crc64nvme) and crc64nvme != stored.crc64nvme:
        return False
    return file.sha256 is None or stored.sha256 == file.sha256
