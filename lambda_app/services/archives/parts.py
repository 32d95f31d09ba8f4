"""Builds the parts of a zip one by one from the objects of its files. At most two parts are in memory."""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from lambda_app.models import Archive
from lambda_app.repositories.archives.transitions import ArchiveEntry
from lambda_app.storage.keys import export_document_key, object_key
from lambda_app.storage.object_store import ByteSource, ObjectStore
from lambda_app.storage.parts import PartPlan
from lambda_app.storage.zip_layout import Kind, Segment, ZipEntry, ZipLayout


class FileMissingError(Exception):
    """The object of a file in the archive does not exist."""


@dataclass(slots=True)
class Part:
    """A part of the zip."""

    number: int
    body: bytearray
    missing_crc32_of: int | None
    """Index of the entry whose checksum is missing from the part's last header; None when the part is complete."""


@dataclass(slots=True)
class _Cursor:
    """An open object and the current offset in it, in bytes."""

    index: int
    position: int
    source: ByteSource


class PartBuilder:
    """Builds the parts of one archive.

    A local file header contains the CRC-32 of the content that follows it, and the content may end several parts later. Until then,
    the part is incomplete. Only the last header of a part can lack its checksum, so at most one part is incomplete at a time.
    """

    def __init__(self, archive: Archive, entries: Sequence[ArchiveEntry], store: ObjectStore) -> None:
        self._layout = ZipLayout([ZipEntry(entry.name, entry.size_bytes, entry.modified_at) for entry in entries])
        self._archive_id = archive.id
        self._file_ids = [entry.file_id for entry in entries]
        self._sizes = [entry.size_bytes for entry in entries]
        self._crc32s = [0 if entry.size_bytes == 0 else entry.crc32 for entry in entries]
        self._store = store
        self._cursor: _Cursor | None = None
        self.plan = PartPlan(archive.size_bytes, archive.part_size_bytes)
        self.cut_crc32 = archive.cut_crc32
        """CRC-32 of the first bytes of the file that continues after the last part."""
        self.new_crc32s: dict[int, int] = {}
        """Checksums, by index of the entry, that were computed since the caller last emptied this."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def bounds(self, number: int) -> tuple[int, int]:
        """Return the offsets in the zip, in bytes, of a part's start and end."""
        start = (number - 1) * self.plan.part_size_bytes
        return start, min(start + self.plan.part_size_bytes, self.plan.size_bytes)

    def positions(self, number: int) -> tuple[int, int] | None:
        """Return the indexes of the first and last file in a part; None when it contains only the central directory."""
        touched = [segment.index for segment in self._layout.segments(*self.bounds(number)) if segment.kind is not Kind.DIRECTORY]
        return (touched[0], touched[-1]) if touched else None

    def build(self, number: int) -> Part:
        """Build a part. The caller builds parts in order until all checksums are known. Raises FileMissingError, UnavailableError."""
        start, end = self.bounds(number)
        body = bytearray(end - start)
        view = memoryview(body)
        segments = list(self._layout.segments(start, end))
        for segment in segments:
            if segment.kind is Kind.CONTENT:
                self._read(segment, view[segment.start - start : segment.end - start])
        missing_crc32_of = None
        for segment in segments:
            if segment.kind is Kind.HEADER and self._crc32s[segment.index] is None:
                missing_crc32_of = segment.index
            elif segment.kind is not Kind.CONTENT:
                self._write(segment, view, start)
        return Part(number, body, missing_crc32_of)

    def complete(self, part: Part) -> bool:
        """Write the missing checksum of a part if it is known; return whether the part is complete."""
        if part.missing_crc32_of is not None and self._crc32s[part.missing_crc32_of] is not None:
            start, end = self.bounds(part.number)
            for segment in self._layout.segments(start, end):
                if segment.kind is Kind.HEADER and segment.index == part.missing_crc32_of:
                    self._write(segment, memoryview(part.body), start)
            part.missing_crc32_of = None
        return part.missing_crc32_of is None

    def _write(self, segment: Segment, into: memoryview, start: int) -> None:
        if segment.kind is Kind.HEADER:
            whole = self._layout.header(segment.index, self._crc32s[segment.index] or 0)
        else:
            whole = self._layout.directory([crc32 or 0 for crc32 in self._crc32s])
        into[segment.start - start : segment.end - start] = whole[segment.skipped : segment.skipped + segment.end - segment.start]

    def _read(self, segment: Segment, into: memoryview) -> None:
        index, end = segment.index, segment.skipped + len(into)
        with self._opened(index, segment.skipped) as source:
            source.read_into(into)
        if self._crc32s[index] is None:
            self.cut_crc32 = zlib.crc32(into, self.cut_crc32 if segment.skipped else 0)
            if end == self._sizes[index]:
                self._crc32s[index] = self.new_crc32s[index] = self.cut_crc32
        self._cursor = None if self._cursor is None else _Cursor(index, end, self._cursor.source)
        if end == self._sizes[index]:
            self._close()

    @contextmanager
    def _opened(self, index: int, offset: int) -> Iterator[ByteSource]:
        """Yield the open object if it is at this offset; otherwise open the entry's object there."""
        if self._cursor is None or (self._cursor.index, self._cursor.position) != (index, offset):
            self._close()
            file_id = self._file_ids[index]
            # The document of an export has the id of the archive.
            key = export_document_key(file_id) if file_id == self._archive_id else object_key(file_id)
            source = self._store.open(key, offset=offset)
            if source is None:
                raise FileMissingError
            self._cursor = _Cursor(index, offset, source)
        try:
            yield self._cursor.source
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        if self._cursor is not None:
            self._cursor.source.close()
            self._cursor = None
