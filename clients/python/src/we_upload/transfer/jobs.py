"""The files of an upload: what the caller gives, what it gets back, and the state in between."""

import hashlib
from dataclasses import dataclass

from we_upload.errors import UploadError
from we_upload.journal import UploadEntry
from we_upload.models import File
from we_upload.progress import Transfer
from we_upload.transfer.destinations import Declaration
from we_upload.transfer.sources import Source, content_type_of, safe_name


@dataclass(slots=True)
class UploadItem:
    """A file to upload. `path` identifies it in the journal and in results; `name` and `content_type` are what the server stores."""

    source: Source
    path: str
    name: str = ""
    content_type: str = ""
    description: str | None = None
    is_public: bool = False

    def declaration(self) -> Declaration:
        """Return what is declared to the server."""
        name = safe_name(self.name or self.path.rpartition("/")[2])
        return Declaration(name, self.content_type or content_type_of(name), self.source.size_bytes, self.description, self.is_public)


@dataclass(slots=True)
class UploadResult:
    """The result of one file: `file_id`, or `error`.

    `file` is None for a guest, for one of many small files, and for a file that an earlier run completed.
    """

    item: UploadItem
    file_id: str = ""
    file: File | None = None
    sha256: str | None = None
    """SHA-256 in hex, which the object store has checked. None for a file in parts, whose parts were checked."""
    error: UploadError | None = None
    was_done: bool = False
    """Whether an earlier, interrupted run had uploaded the file."""


@dataclass(slots=True, eq=False)
class Job:
    """The upload of one file."""

    item: UploadItem
    declared: Declaration
    entry: UploadEntry
    transfer: Transfer
    result: UploadResult
    starts: int = 0
    sha256: str = ""

    @property
    def idempotency_key(self) -> str:
        """The key for a start of this file alone. Entries of one group share `entry.key`."""
        return hashlib.sha256(f"{self.entry.key} {self.item.path}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
