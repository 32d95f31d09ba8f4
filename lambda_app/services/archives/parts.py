"""One part of a zip after the other, made from the objects of its files; at most two parts are in memory."""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from lambda_app.models import Archive, ArchiveFile
from lambda_app.storage.keys import object_key
from lambda_app.storage.object_store import ByteSource, ObjectStore
from lambda_app.storage.parts import PartPlan
from lambda_app.storage.zip_layout import Kind, Segment, ZipEntry, ZipLayout


class FileGoneError(Exception):
    """The object of a file in the archive is not there."""


@dataclass(slots=True)
class Part:
    """A part; `waits_for` is the entry whose checksum its last header lacks, None when it is whole."""

    number: int
    body: bytearray
    waits_for: int | None


@dataclass(slots=True)
class _Cursor:
    """An open object, and where in it we are."""

    index: int
    position: int
    source: ByteSource


class PartMaker:
    """Makes the parts of one archive.

    A header holds the checksum of the bytes that follow, and those may end several parts later. Such a part `waits`; only the last
    header of a part can lack its checksum, so no more than one part ever does.
    """

    def __init__(self, archive: Archive, entries: Sequence[ArchiveFile], store: ObjectStore) -> None:
        self._layout = ZipLayout([ZipEntry(entry.name, entry.size_bytes, entry.modified_at) for entry in entries])
        self._file_ids = [entry.file_id for entry in entries]
        self._sizes = [entry.size_bytes for entry in entries]
        self._crc32s = [0 if entry.size_bytes == 0 else entry.crc32 for entry in entries]
        self._store = store
        self._cursor: _Cursor | None = None
        self.plan = PartPlan(archive.size_bytes, archive.part_size_bytes)
        self.cut_crc32 = archive.cut_crc32
        """Checksum so far of the file that the end of the last part cuts in two."""
        self.news: dict[int, int] = {}
        """Checksums by entry that became known since this was emptied."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def bounds(self, number: int) -> tuple[int, int]:
        """Return where in the zip a part begins and ends."""
        start = (number - 1) * self.plan.part_size_bytes
        return start, min(start + self.plan.part_size_bytes, self.plan.size_bytes)

    def positions(self, number: int) -> tuple[int, int] | None:
        """Return the first and last of the files that have something in a part, None when it is directory only."""
        touched = [segment.index for segment in self._layout.segments(*self.bounds(number)) if segment.kind is not Kind.DIRECTORY]
        return (touched[0], touched[-1]) if touched else None

    def make(self, number: int) -> Part:
        """Make a part. Checksums are known of all that was read in order. Raises FileGoneError, UnavailableError."""
        start, end = self.bounds(number)
        body = bytearray(end - start)
        view = memoryview(body)
        segments = list(self._layout.segments(start, end))
        for segment in segments:
            if segment.kind is Kind.CONTENT:
                self._read(segment, view[segment.start - start : segment.end - start])
        waits_for = None
        for segment in segments:
            if segment.kind is Kind.HEADER and self._crc32s[segment.index] is None:
                waits_for = segment.index
            elif segment.kind is not Kind.CONTENT:
                self._write(segment, view, start)
        return Part(number, body, waits_for)

    def complete(self, part: Part) -> bool:
        """Write the checksum that a part waits for, if it is known by now; tell whether the part is whole."""
        if part.waits_for is not None and self._crc32s[part.waits_for] is not None:
            start, end = self.bounds(part.number)
            for segment in self._layout.segments(start, end):
                if segment.kind is Kind.HEADER and segment.index == part.waits_for:
                    self._write(segment, memoryview(part.body), start)
            part.waits_for = None
        return part.waits_for is None

    def _write(self, segment: Segment, into: memoryview, start: int) -> None:
        if segment.kind is Kind.HEADER:
            whole = self._layout.header(segment.index, self._crc32s[segment.index] or 0)
        else:
            whole = self._layout.directory([crc32 or 0 for crc32 in self._crc32s])
        into[segment.start - start : segment.end - start] = whole[segment.skipped : segment.skipped + segment.end - segment.start]

    def _read(self, segment: Segment, into: memoryview) -> None:
        index, behind = segment.index, segment.skipped + len(into)
        with self._opened(index, segment.skipped) as source:
            source.read_into(into)
        if self._crc32s[index] is None:
            self.cut_crc32 = zlib.crc32(into, self.cut_crc32 if segment.skipped else 0)
            if behind == self._sizes[index]:
                self._crc32s[index] = self.news[index] = self.cut_crc32
        self._cursor = None if self._cursor is None else _Cursor(index, behind, self._cursor.source)
        if behind == self._sizes[index]:
            self._close()

    @contextmanager
    def _opened(self, index: int, offset: int) -> Iterator[ByteSource]:
        """Go on in the object that is open, or open the right one."""
        if self._cursor is None or (self._cursor.index, self._cursor.position) != (index, offset):
            self._close()
            source = self._store.open(object_key(self._file_ids[index]), offset=offset)
            if source is None:
                raise FileGoneError
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
