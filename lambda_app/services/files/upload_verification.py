"""The one way in which a pending file becomes available or rejected, whoever gives the signal."""

from enum import Enum

from lambda_app.models import File
from lambda_app.repositories.files.transitions import FileTransitionRepository
from lambda_app.storage.object_store import ObjectStore, StoredObject
from lambda_app.storage.sniffing import SNIFFED_BYTES, contradicting_type


class VerificationResult(Enum):
    """What a look at the object led to."""

    MISSING = "missing"
    """There is no object; nothing was changed."""
    AVAILABLE = "available"
    REJECTED = "rejected"
    SUPERSEDED = "overtaken"
    """Somebody else has moved the file since it was read; nothing was changed."""


class UploadVerification:
    """Compares a pending file with its object. The client, S3's event and the sweep all come here; any of them is enough, in any order."""

    def __init__(self, *, transitions: FileTransitionRepository, store: ObjectStore) -> None:
        self._transitions = transitions
        self._store = store

    def verify(self, file: File, *, crc64nvme: str | None = None) -> tuple[VerificationResult, File]:
        """Look at the object and move the pending `file` accordingly; return the file as it is then. Raises UnavailableError.

        `crc64nvme` (base64) is what the client says of the whole, compared if the store says it too.
        Called without an open transaction: S3 is asked first, and the move is a statement of its own.
        """
        stored = self._store.head(file.s3_key)
        if stored is None:
            return VerificationResult.MISSING, file
        if not _is_as_declared(file, stored, crc64nvme):
            rejected = self._transitions.reject(file.id)
            if rejected is None:
                return VerificationResult.SUPERSEDED, file
            # A crash before this leaves the object to the sweep, which knows it by its row.
            self._store.delete(rejected.s3_key)
            return VerificationResult.REJECTED, rejected
        start = self._store.read_start(file.s3_key, SNIFFED_BYTES) if stored.size_bytes else b""
        accepted = self._transitions.accept(file.id, detected_content_type=contradicting_type(file.content_type, start))
        return (VerificationResult.SUPERSEDED, file) if accepted is None else (VerificationResult.AVAILABLE, accepted)


def _is_as_declared(file: File, stored: StoredObject, crc64nvme: str | None) -> bool:
    if stored.size_bytes != file.size_bytes:
        return False
    if None not in (crc64nvme, stored.crc64nvme) and crc64nvme != stored.crc64nvme:
        return False
    return file.sha256 is None or stored.sha256 == file.sha256
