"""The preparation of an export: its JSON document, and the list of the files in its zip. The archive worker does it before the build."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from lambda_app.core import clock
from lambda_app.core.errors import StoreUnavailableError
from lambda_app.models import Archive
from lambda_app.repositories.accounts.exports import SECTIONS, ExportedFile, ExportRepository
from lambda_app.repositories.archives.transitions import ArchiveTransitionRepository
from lambda_app.services.archives.archives import ARCHIVE_MAX_BYTES
from lambda_app.storage.keys import export_document_key
from lambda_app.storage.object_store import MultipartResult, ObjectStore
from lambda_app.storage.parts import MIB
from lambda_app.storage.zip_layout import ZipEntry, ZipLayout
from lambda_app.storage.zip_names import entry_names

DOCUMENT_NAME = "export.json"
DOCUMENT_TYPE = "application/json"
DOCUMENT_PART_BYTES = 16 * MIB
ENTRY_BYTES = 1024
"""At least what the zip needs for an entry beside its content: two headers with a name of at most 255 bytes."""
DOCUMENT_RESERVE_BYTES = 1024**3
"""Room for the document, when it is decided which files fit into the zip."""


class ExportPreparation:
    """Writes the document of an export to the object store, and the entries of its zip to the database."""

    def __init__(self, *, exports: ExportRepository, transitions: ArchiveTransitionRepository, store: ObjectStore) -> None:
        self._exports = exports
        self._transitions = transitions
        self._store = store

    def prepare(self, archive: Archive) -> bool:
        """Prepare the export, if an earlier attempt has not; False if the worker has lost its lease. Raises UnavailableError.

        A zip has at most ARCHIVE_MAX_BYTES. The document lists the files that do not fit, with `zip_name` null; their owner downloads
        them one by one.
        """
        if archive.file_count > 0:
            return True
        user_id = archive.holder_id
        files = list(_fitting(self._exports.list_files(user_id)))
        names = entry_names([DOCUMENT_NAME, *(file.filename for file in files)])[1:]
        zip_names = {file.id: name for file, name in zip(files, names, strict=True)}
        size_bytes = self._write(export_document_key(archive.id), self._document(user_id, zip_names))
        # The document has the id of the archive in place of a file's.
        entries = [_entry(0, archive.id, DOCUMENT_NAME, size_bytes, archive.created_at)]
        entries += [_entry(number, file.id, zip_names[file.id], file.size_bytes, file.created_at) for number, file in enumerate(files, 1)]
        layout = ZipLayout([ZipEntry(entry["name"], entry["size_bytes"], entry["modified_at"]) for entry in entries])
        return self._transitions.set_entries(archive, entries, size_bytes=layout.size_bytes)

    def _document(self, user_id: UUID, zip_names: dict[UUID, str]) -> Iterator[bytes]:
        """Yield the document in pieces, each with the rows of one page at most."""
        yield f'{{"format": 1, "exported_at": {json.dumps(_time(clock.now()))}'.encode()
        for section in SECTIONS:
            yield f',\n"{section.name}": ['.encode()
            separator = "\n"
            for row in self._exports.list_rows(section, user_id):
                if section.name == "files":
                    row["zip_name"] = zip_names.get(row["id"])
                yield (separator + json.dumps({name: _plain(name, value) for name, value in row.items()}, ensure_ascii=False)).encode()
                separator = ",\n"
            yield b"]"
        yield b"}\n"

    def _write(self, key: str, pieces: Iterable[bytes]) -> int:
        """Store the pieces as one object, and return its size."""
        # An earlier attempt may have stored another version: the completion would not replace it.
        self._store.delete(key)
        upload_id = self._store.start_multipart(key=key, content_type=DOCUMENT_TYPE, with_digests=True)
        body, size_bytes, number = bytearray(), 0, 0
        for piece in pieces:
            body += piece
            if len(body) >= DOCUMENT_PART_BYTES:
                number, size_bytes = number + 1, size_bytes + len(body)
                self._send(key, upload_id, number, body)
                body = bytearray()
        self._send(key, upload_id, number + 1, body)
        size_bytes += len(body)
        parts = self._store.list_parts(key, upload_id) or []
        result = self._store.complete_multipart(key=key, upload_id=upload_id, parts=parts, size_bytes=size_bytes)
        if result is MultipartResult.PARTS_MISMATCH:
            raise StoreUnavailableError
        return size_bytes

    def _send(self, key: str, upload_id: str, number: int, body: bytearray) -> None:
        if not self._store.send_part(key=key, upload_id=upload_id, number=number, body=body):
            raise StoreUnavailableError


def _fitting(files: Iterable[ExportedFile]) -> Iterator[ExportedFile]:
    left = ARCHIVE_MAX_BYTES - DOCUMENT_RESERVE_BYTES
    for file in files:
        left -= file.size_bytes + ENTRY_BYTES
        if left < 0:
            return
        yield file


def _entry(position: int, file_id: UUID, name: str, size_bytes: int, modified_at: datetime) -> dict[str, Any]:
    return {"position": position, "file_id": file_id, "name": name, "size_bytes": size_bytes, "modified_at": modified_at}


def _plain(name: str, value: Any) -> Any:
    if name == "details":
        return json.loads(value or "{}")
    if name in ("file_ids", "recipients"):
        return value.split(",") if value else []
    if isinstance(value, datetime):
        return _time(value)
    return str(value) if isinstance(value, UUID) else value


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
