"""Verification of uploaded objects: the only code that makes a pending file available or rejects it."""

from enum import Enum

from lambda_app.models import File
from lambda_app.repositories.files.transitions import FileTransitionRepository
from lambda_app.services.files.preview_requests import is_previewable, request_preview
from lambda_app.storage.object_store import ObjectStore, StoredObject
from lambda_app.storage.sniffing import SNIFFED_BYTES, contradicting_type


class VerificationResult(Enum):
    """The result of verifying an object."""

    MISSING = "missing"
    """There is no object; the file was not changed."""
    AVAILABLE = "available"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    """The file's status was changed concurrently; this verification changed nothing."""


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
        stored = self._store.head(file.s3_key)
        if stored is None:
            return VerificationResult.MISSING, file
        if not _is_as_declared(file, stored, crc64nvme):
            rejected = self._transitions.reject(file.id)
            if rejected is None:
                return VerificationResult.SUPERSEDED, file
            # After a crash before this point, the sweep deletes the object, because the row is `rejected`.
            self._store.delete(rejected.s3_key)
            return VerificationResult.REJECTED, rejected
        start = self._store.read_start(file.s3_key, SNIFFED_BYTES) if stored.size_bytes else b""
        detected = contradicting_type(file.content_type, start)
        with_preview = self._has_previews and detected is None and is_previewable(file)
        accepted = self._transitions.accept(file.id, detected_content_type=detected, crc64nvme=stored.crc64nvme, with_preview=with_preview)
        if accepted is not None and with_preview:
            request_preview(self._store, file.id)
        return (VerificationResult.SUPERSEDED, file) if accepted is None else (VerificationResult.AVAILABLE, accepted)


def _is_as_declared(file: File, stored: StoredObject, crc64nvme: str | None) -> bool:
    if stored.size_bytes != file.size_bytes:
        return False
    if None not in (crc64nvme, stored.crc64nvme) and crc64nvme != stored.crc64nvme:
        return False
    return file.sha256 is None or stored.sha256 == file.sha256
