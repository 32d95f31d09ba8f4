"""What is uploaded: files and bytes, read in slices; streams are written to a temporary file first."""

import hashlib
import io
import mimetypes
import os
import re
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

from we_upload.errors import CancelledError, FileChangedError, UploadError
from we_upload.http import BLOCK_BYTES

NAME_MAX_LENGTH = 255
CONTENT_TYPE_DEFAULT = "application/octet-stream"
SPOOL_MAX_BYTES = 50 * 1024**3
"""Largest stream that is written to a temporary file, because the server needs the exact size before the upload: 50 GiB."""
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Source(Protocol):
    """Content of a known size."""

    @property
    def size_bytes(self) -> int:
        """Number of bytes."""
        ...

    @property
    def mtime_ns(self) -> int:
        """Time of the last change; with the size, it tells whether the content may have changed."""
        ...

    def open(self) -> BinaryIO:
        """Open the content at its start."""
        ...

    def check(self) -> None:
        """Raise FileChangedError if the content has changed."""
        ...


class FileSource:
    """A file on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        state = path.stat()
        self.size_bytes = state.st_size
        self.mtime_ns = state.st_mtime_ns

    def open(self) -> BinaryIO:
        """Open the file."""
        try:
            return self.path.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise FileChangedError(f"{self.path} was moved or deleted during the upload") from error

    def check(self) -> None:
        """Raise FileChangedError if size or time of the last change differ."""
        try:
            state = self.path.stat()
        except FileNotFoundError as error:
            raise FileChangedError(f"{self.path} was moved or deleted during the upload") from error
        if (state.st_size, state.st_mtime_ns) != (self.size_bytes, self.mtime_ns):
            raise FileChangedError(f"{self.path} was changed during the upload")


class BytesSource:
    """Bytes in memory."""

    mtime_ns = 0

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size_bytes = len(content)

    def open(self) -> BinaryIO:
        """Open the bytes."""
        return io.BytesIO(self._content)

    def check(self) -> None:
        """Bytes do not change."""


class SliceReader:
    """A part of a source as a request body. Counts the bytes, and ends with CancelledError when the transfer is cancelled."""

    def __init__(self, source: Source, offset: int, length: int, *, on_bytes: Callable[[int], None], cancelled: threading.Event) -> None:
        self._source = source
        self._file = source.open()
        self._file.seek(offset)
        self._left = length
        self._on_bytes = on_bytes
        self._cancelled = cancelled
        self.counted = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes. Raises FileChangedError when the content is shorter than declared."""
        if self._cancelled.is_set():
            raise CancelledError("The transfer was cancelled")
        wanted = self._left if size < 0 else min(size, self._left)
        if not wanted:
            return b""
        data = self._file.read(wanted)
        if not data:
            self._source.check()
            raise FileChangedError("The file became shorter during the upload")
        self._left -= len(data)
        self.counted += len(data)
        self._on_bytes(len(data))
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def digest_of(source: Source, offset: int, length: int, *, cancelled: threading.Event) -> str:
    """Return the SHA-256 of a slice, in hex."""
    reader = SliceReader(source, offset, length, on_bytes=lambda _: None, cancelled=cancelled)
    digest = hashlib.sha256()
    try:
        while data := reader.read(4 * BLOCK_BYTES):
            digest.update(data)
    finally:
        reader.close()
    return digest.hexdigest()


def safe_name(name: str) -> str:
    """Return a name that the server accepts: no control characters, valid Unicode, at most 255 characters with the extension kept."""
    cleaned = _UNPRINTABLE.sub("_", name)
    if not cleaned.strip():
        return "unnamed"
    if len(cleaned) <= NAME_MAX_LENGTH:
        return cleaned
    stem, dot, extension = cleaned.rpartition(".")
    kept = f"{dot}{extension}" if stem and len(extension) <= 16 else ""
    return cleaned[: NAME_MAX_LENGTH - len(kept)] + kept


def content_type_of(name: str) -> str:
    """Return the media type for the extension of a name."""
    kind, encoding = mimetypes.guess_type(name, strict=False)
    if encoding is not None:
        return {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(encoding, CONTENT_TYPE_DEFAULT)
    return kind or CONTENT_TYPE_DEFAULT


def spool(stream: BinaryIO, *, max_bytes: int = SPOOL_MAX_BYTES) -> Path:
    """Write a stream to a temporary file of this user, in `TMPDIR`, and return its path. The caller deletes it.

    Raises UploadError when the stream is longer than `max_bytes` or the disk is full.
    """
    handle, name = tempfile.mkstemp(prefix="we-upload-")
    path = Path(name)
    is_kept = False
    try:
        with os.fdopen(handle, "wb") as file:
            written = 0
            while written <= max_bytes and (data := stream.read(BLOCK_BYTES)):
                written += len(data)
                file.write(data)
        is_kept = written <= max_bytes
    except OSError as error:
        raise UploadError(
            f"The input does not fit into {path.parent}: {error.strerror}. Set TMPDIR to a larger folder.", code="no_space"
        ) from error
    finally:
        if not is_kept:
            path.unlink()
    if not is_kept:
        raise UploadError(f"The input is longer than {max_bytes:,} bytes. Write it to a file and upload that.", code="input_too_long")
    return path
