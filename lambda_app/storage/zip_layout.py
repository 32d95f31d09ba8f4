"""The layout of a zip file with uncompressed entries (PKWARE APPNOTE 6.3.10).

Because nothing is compressed, all positions depend only on the names and sizes of the entries. Any part of the zip can therefore be
built, or rebuilt with the same result, without the parts before it. Only the checksums require the contents.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cached_property
from itertools import accumulate

_LOCAL_HEADER = struct.Struct("<4sHHHHHLLLHH")
_DIRECTORY_HEADER = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_ZIP64_END = struct.Struct("<4sQHHLLQQQQ")
_ZIP64_LOCATOR = struct.Struct("<4sLQL")
_END = struct.Struct("<4sHHHHLLH")
_TIMESTAMP = struct.Struct("<HHBl")

_MAX_16 = 0xFFFF
_MAX_32 = 0xFFFFFFFF
_UTF8_NAME = 0x800
_VERSION = 10
_VERSION_ZIP64 = 45
_MADE_ON_UNIX = 3 << 8
_REGULAR_FILE = 0o100644 << 16
_ZIP64_EXTRA = 1
_TIMESTAMP_EXTRA = 0x5455
_HAS_MODIFICATION_TIME = 1
_DOS_FIRST_YEAR = 1980
_DOS_LAST_YEAR = 2107
_TIMESTAMP_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """One file in the zip."""

    name: str
    size_bytes: int
    modified_at: datetime


class Kind(Enum):
    """The kind of a segment."""

    HEADER = "header"
    """The local header before the content of an entry, with its checksum."""
    CONTENT = "content"
    """The content of an entry."""
    DIRECTORY = "directory"
    """The central directory and end record, which repeat the checksums of all entries."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The bytes of the zip from position `start` to `end` (exclusive), all of one header, content or directory."""

    kind: Kind
    index: int
    """Index of the entry, from 0. For the directory: the number of entries."""
    start: int
    end: int
    skipped: int
    """Offset of `start` within the header, content or directory."""


class ZipLayout:
    """The positions of headers, contents and directory in the zip of these entries."""

    def __init__(self, entries: Sequence[ZipEntry]) -> None:
        self._entries = entries
        self._names = [entry.name.encode() for entry in entries]
        lengths = (
            _LOCAL_HEADER.size + len(name) + len(_extra(entry, with_sizes=True)) + entry.size_bytes
            for name, entry in zip(self._names, entries, strict=True)
        )
        *self._header_starts, self._directory_start = accumulate(lengths, initial=0)

    @cached_property
    def size_bytes(self) -> int:
        """Size of the zip file."""
        return self._directory_start + len(self.directory([0] * len(self._entries)))

    def segments(self, start: int, end: int) -> Iterator[Segment]:
        """Yield the segments from position `start` to `end` (exclusive), in order. An empty file has no content segment."""
        index = bisect_right(self._header_starts, start) - 1
        while index < len(self._entries) and (header := self._header_starts[index]) < end:
            content = self._content_start(index)
            content_end = content + self._entries[index].size_bytes
            yield from _intersection(Kind.HEADER, index, (header, content), (start, end))
            yield from _intersection(Kind.CONTENT, index, (content, content_end), (start, end))
            index += 1
        yield from _intersection(Kind.DIRECTORY, len(self._entries), (self._directory_start, self.size_bytes), (start, end))

    def header(self, index: int, crc32: int) -> bytes:
        """Return the local header of an entry. `crc32` is the checksum of its content."""
        entry, name = self._entries[index], self._names[index]
        is_large = entry.size_bytes >= _MAX_32
        size = _MAX_32 if is_large else entry.size_bytes
        extra = _extra(entry, with_sizes=True)
        fields = (_version(is_large=is_large), _flags(entry), 0, *_dos_time(entry.modified_at), crc32, size, size, len(name), len(extra))
        return _LOCAL_HEADER.pack(b"PK\3\4", *fields) + name + extra

    def directory(self, crc32s: Sequence[int]) -> bytes:
        """Return the central directory and end record. `crc32s` has the checksums of all entries."""
        listed = b"".join(self._directory_header(index, crc32) for index, crc32 in enumerate(crc32s))
        start, count = self._directory_start, len(self._entries)
        end = b""
        if count >= _MAX_16 or start >= _MAX_32 or len(listed) >= _MAX_32:
            made_by = _MADE_ON_UNIX | _VERSION_ZIP64
            rest = (_ZIP64_END.size - 12, made_by, _VERSION_ZIP64, 0, 0, count, count, len(listed), start)
            end = _ZIP64_END.pack(b"PK\6\6", *rest) + _ZIP64_LOCATOR.pack(b"PK\6\7", 0, start + len(listed), 1)
        short_count = min(count, _MAX_16)
        return listed + end + _END.pack(b"PK\5\6", 0, 0, short_count, short_count, min(len(listed), _MAX_32), min(start, _MAX_32), 0)

    def _directory_header(self, index: int, crc32: int) -> bytes:
        entry, name, start = self._entries[index], self._names[index], self._header_starts[index]
        is_large, is_far = entry.size_bytes >= _MAX_32, start >= _MAX_32
        size = _MAX_32 if is_large else entry.size_bytes
        version = _version(is_large=is_large or is_far)
        extra = _extra(entry, with_sizes=is_large, start=start if is_far else None)
        fields = (_MADE_ON_UNIX | version, version, _flags(entry), 0, *_dos_time(entry.modified_at), crc32, size, size, len(name))
        return _DIRECTORY_HEADER.pack(b"PK\1\2", *fields, len(extra), 0, 0, 0, _REGULAR_FILE, min(start, _MAX_32)) + name + extra

    def _content_start(self, index: int) -> int:
        content_end = self._header_starts[index + 1] if index + 1 < len(self._entries) else self._directory_start
        return content_end - self._entries[index].size_bytes


def _intersection(kind: Kind, index: int, whole: tuple[int, int], requested: tuple[int, int]) -> Iterator[Segment]:
    start, end = max(whole[0], requested[0]), min(whole[1], requested[1])
    if start < end:
        yield Segment(kind, index, start, end, start - whole[0])


def _extra(entry: ZipEntry, *, with_sizes: bool, start: int | None = None) -> bytes:
    numbers = [entry.size_bytes] * 2 if with_sizes and entry.size_bytes >= _MAX_32 else []
    if start is not None:
        numbers.append(start)
    extra = struct.pack(f"<HH{len(numbers)}Q", _ZIP64_EXTRA, 8 * len(numbers), *numbers) if numbers else b""
    seconds = int(entry.modified_at.timestamp())
    if 0 <= seconds <= _TIMESTAMP_MAX:
        extra += _TIMESTAMP.pack(_TIMESTAMP_EXTRA, 5, _HAS_MODIFICATION_TIME, seconds)
    return extra


def _version(*, is_large: bool) -> int:
    return _VERSION_ZIP64 if is_large else _VERSION


def _flags(entry: ZipEntry) -> int:
    return 0 if entry.name.isascii() else _UTF8_NAME


def _dos_time(at: datetime) -> tuple[int, int]:
    """Return time and date in MS-DOS format, which has no time zone; UTC is used. The extra field has the exact time."""
    at = at.astimezone(UTC)
    if at.year < _DOS_FIRST_YEAR:
        return 0, 1 << 5 | 1
    year = min(at.year, _DOS_LAST_YEAR)
    return at.hour << 11 | at.minute << 5 | at.second // 2, (year - _DOS_FIRST_YEAR) << 9 | at.month << 5 | at.day
