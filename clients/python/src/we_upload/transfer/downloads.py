"""Downloads files in ranges, several at a time, continues partly downloaded files, and verifies length and SHA-256."""

import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from we_upload.errors import (
    CancelledError,
    ConnectionFailedError,
    DigestMismatchError,
    NotSignedInError,
    StorageRefusedError,
    UploadError,
)
from we_upload.http import BLOCK_BYTES, Transport, iterate
from we_upload.journal import DownloadEntry, Journal
from we_upload.progress import Progress, State, Transfer
from we_upload.retries import Retries
from we_upload.transfer.lanes import LANES_MAX, LANES_START, URGENT, LaneLimit, Lanes

CHUNK_BYTES = 16 * 1024**2
"""Length of the ranges that are requested."""
FATAL = (NotSignedInError, ConnectionFailedError, CancelledError)
NEW_SIGNATURES_MAX = 3


class Origin(Protocol):
    """Where a file comes from."""

    @property
    def identity(self) -> str:
        """A text that identifies the file in the journal."""
        ...

    def url(self, offset: int) -> str:
        """Return a new presigned URL. `offset` is the first byte that is requested."""
        ...


@dataclass(slots=True)
class DownloadItem:
    """A file to download. `sha256` is None if the server has no digest of the whole file; then only the length is verified."""

    origin: Origin
    target: Path
    size_bytes: int
    sha256: str | None = None


@dataclass(slots=True)
class DownloadResult:
    """The result of one file. `is_verified` tells whether the SHA-256 was compared."""

    item: DownloadItem
    is_verified: bool = False
    error: UploadError | None = None


@dataclass(slots=True)
class _Job:
    item: DownloadItem
    transfer: Transfer
    result: DownloadResult
    entry: DownloadEntry
    url: str = ""
    left: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def partial(self) -> Path:
        return self.item.target.with_name(f".{self.item.target.name}.we-upload-part")


class Downloader:
    """Downloads files to disk, or one file to a stream."""

    def __init__(
        self,
        *,
        transport: Transport,
        cancelled: threading.Event,
        journal: Journal | None = None,
        progress: Progress | None = None,
        lanes: int | None = None,
    ) -> None:
        self._transport = transport
        self._cancelled = cancelled
        self._journal = journal or Journal()
        self._progress = progress or Progress()
        limit = LaneLimit(start=lanes or LANES_START, most=lanes or LANES_MAX)
        self._lanes = Lanes(limit, threads=lanes or LANES_MAX, cancelled=cancelled)

    def download(self, items: Iterable[DownloadItem]) -> list[DownloadResult]:
        """Download the files and return their results in the same order. An error of one file does not stop the others."""
        jobs = []
        for item in items:
            transfer = self._progress.add(item.target.name, item.size_bytes)
            entry = DownloadEntry(str(item.target), item.origin.identity, "", item.size_bytes, set())
            jobs.append(_Job(item, transfer, DownloadResult(item), entry))
        for job in jobs:
            self._lanes.add(lambda job=job: self._guarded(job, self._begin))  # type: ignore[misc]  # mypy does not infer the defaults of a lambda
        self._lanes.run()
        return [job.result for job in jobs]

    def stream(self, item: DownloadItem, out: BinaryIO) -> DownloadResult:
        """Download one file to a stream, in order. Raises DigestMismatchError at the end of the stream."""
        transfer = self._progress.add(item.target.name, item.size_bytes)
        transfer.enter(State.SENDING)
        digest = hashlib.sha256()
        position = 0
        etag = ""
        retries = Retries(self._cancelled)
        while position < item.size_bytes:
            try:
                for data, found in self._ranges(item.origin.url(position), position, item.size_bytes, etag):
                    etag = found
                    digest.update(data)
                    out.write(data)
                    position += len(data)
                    transfer.moved(len(data))
            except ConnectionFailedError:
                if not retries.wait():
                    raise
        out.flush()
        if item.sha256 is not None and digest.hexdigest() != item.sha256:
            raise _mismatch(item)
        transfer.enter(State.DONE)
        return DownloadResult(item, is_verified=item.sha256 is not None)

    def _guarded(self, job: _Job, step: "_Step") -> None:
        if job.result.error is not None:
            return
        try:
            step(job)
        except FATAL:
            raise
        except (UploadError, OSError) as error:
            job.result.error = (
                error if isinstance(error, UploadError) else UploadError(f"{job.item.target}: {error.strerror}", code="unwritable")
            )
            job.transfer.enter(State.FAILED)

    def _begin(self, job: _Job) -> None:
        item = job.item
        job.transfer.enter(State.SENDING)
        known = self._journal.download_to(str(item.target))
        is_same = known is not None and (known.source, known.size_bytes) == (item.origin.identity, item.size_bytes)
        if known is not None and is_same and job.partial.is_file() and job.partial.stat().st_size == item.size_bytes:
            job.entry = known
        else:
            # A link that another user has placed here must not redirect the bytes.
            job.partial.unlink(missing_ok=True)
            with job.partial.open("xb") as file:
                file.truncate(item.size_bytes)
        wanted = [number for number in range(-(-item.size_bytes // CHUNK_BYTES)) if number not in job.entry.chunks]
        job.transfer.skipped(item.size_bytes - sum(self._length(job, number) for number in wanted))
        job.left = len(wanted)
        if not wanted:
            self._finish(job)
        for number in wanted:
            self._lanes.add(
                lambda number=number: self._guarded(job, lambda job: self._fetch(job, number)),  # type: ignore[misc]  # as above
                URGENT,
            )

    def _length(self, job: _Job, number: int) -> int:
        return min(CHUNK_BYTES, job.item.size_bytes - number * CHUNK_BYTES)

    def _url(self, job: _Job, offset: int, *, instead_of: str = "") -> str:
        """Return the URL that all ranges share, or a new one instead of one that was refused."""
        with job.lock:
            if not job.url or job.url == instead_of:
                job.url = job.item.origin.url(offset)
            return job.url

    def _fetch(self, job: _Job, number: int) -> None:
        begin, end = number * CHUNK_BYTES, number * CHUNK_BYTES + self._length(job, number)
        retries = Retries(self._cancelled)
        url = self._url(job, begin)
        signatures = 0
        while True:
            position = begin
            try:
                with job.partial.open("r+b", buffering=0) as file:
                    file.seek(begin)
                    for data, etag in self._ranges(url, begin, end, job.entry.etag):
                        if not job.entry.etag:
                            job.entry.etag = etag
                        file.write(data)
                        position += len(data)
                        job.transfer.moved(len(data))
                break
            except UploadError as error:
                job.transfer.moved(begin - position)
                if isinstance(error, StorageRefusedError) and error.status == 403 and signatures < NEW_SIGNATURES_MAX:
                    signatures += 1
                    url = self._url(job, begin, instead_of=url)
                    continue
                if isinstance(error, StorageRefusedError) and error.status == 412:
                    self._journal.forget_download(str(job.item.target))
                    raise DigestMismatchError(f"{job.item.target.name} was replaced during the download") from error
                self._lanes.refused()
                is_temporary = isinstance(error, ConnectionFailedError) or (isinstance(error, StorageRefusedError) and error.status >= 500)
                if not is_temporary or not retries.wait():
                    raise
        self._lanes.sent(end - begin)
        with job.lock:
            job.entry.chunks.add(number)
            job.left -= 1
            is_last = not job.left
            if job.item.size_bytes > CHUNK_BYTES:
                self._journal.save_download(job.entry)
        if is_last:
            self._finish(job)

    def _ranges(self, url: str, begin: int, end: int, etag: str) -> "Iterable[tuple[bytes, str]]":
        """Yield the bytes of a range with the ETag of the object. Raises StorageRefusedError and ConnectionFailedError."""
        headers = {"Range": f"bytes={begin}-{end - 1}", **({"If-Match": etag} if etag else {})}
        response = self._transport.request("GET", url, headers=headers, stream=True)
        if response.status not in (200, 206):
            response.drain_conn()
            response.release_conn()
            raise StorageRefusedError(response.status, None)
        left = end - begin
        # A server that ignores Range sends the file from its start.
        skip = begin if response.status == 200 else 0
        for piece in iterate(response):
            if self._cancelled.is_set():
                raise CancelledError("The transfer was cancelled")
            data = piece[skip:][:left]
            skip = max(0, skip - len(piece))
            left -= len(data)
            if data:
                yield data, response.headers.get("ETag", "")
            if not left:
                break
        if left:
            raise ConnectionFailedError(f"The connection broke: {left} bytes are missing")

    def _finish(self, job: _Job) -> None:
        item = job.item
        if item.sha256 is not None:
            job.transfer.enter(State.CHECKING)
            digest = hashlib.sha256()
            with job.partial.open("rb", buffering=0) as file:
                while data := file.read(4 * BLOCK_BYTES):
                    digest.update(data)
            if digest.hexdigest() != item.sha256:
                job.partial.unlink()
                self._journal.forget_download(str(item.target))
                raise _mismatch(item)
            job.result.is_verified = True
        job.partial.replace(item.target)
        self._journal.forget_download(str(item.target))
        job.transfer.enter(State.DONE)


class _Step(Protocol):
    def __call__(self, job: _Job, /) -> None: ...


def _mismatch(item: DownloadItem) -> DigestMismatchError:
    return DigestMismatchError(f"The downloaded bytes of {item.target.name} do not have the SHA-256 that the server has stored")
