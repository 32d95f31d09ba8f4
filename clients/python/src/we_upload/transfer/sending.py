"""Sends slices of files to the object store, again after temporary errors and with a new signature after a refused one."""

import threading
from collections.abc import Callable

from we_upload.errors import ConflictError, ConnectionFailedError, FileChangedError, StorageRefusedError, UploadError
from we_upload.http import StoreAnswer, Transport
from we_upload.retries import Retries
from we_upload.transfer.destinations import SignedRequest
from we_upload.transfer.jobs import Job
from we_upload.transfer.lanes import Lanes
from we_upload.transfer.sources import SliceReader

CHANGED = ("BadDigest", "XAmzContentChecksumMismatch", "InvalidDigest", "IncompleteBody", "XAmzContentSHA256Mismatch")
"""Codes of S3 for a body that does not have the signed length or digest."""
NEW_SIGNATURES_MAX = 3


class Sender:
    """Sends bytes. Safe for several threads."""

    def __init__(self, transport: Transport, lanes: Lanes, cancelled: threading.Event) -> None:
        self._transport = transport
        self._lanes = lanes
        self._cancelled = cancelled

    def send(self, job: Job, offset: int, length: int, request: SignedRequest, sign: Callable[[SignedRequest], SignedRequest]) -> None:
        """Send a slice with a presigned request; `sign` returns a new one instead of one that is old or was refused.

        Raises FileChangedError, StorageRefusedError, ConnectionFailedError, and ConflictError `upload_lost`.
        """
        retries = Retries(self._cancelled)
        signatures = 0
        while True:
            if request.is_old:
                request = sign(request)
            answer = self._try(job, offset, length, request)
            if answer is not None and (answer.status < 300 or answer.status == 412):
                # 412: an earlier attempt, whose answer was lost, has stored the bytes.
                self._lanes.sent(length)
                return
            if answer is not None and answer.status == 403 and signatures < NEW_SIGNATURES_MAX:
                signatures += 1
                request = sign(request)
                continue
            self._lanes.refused()
            error = ConnectionFailedError("The storage does not answer") if answer is None else _refusal(job, answer)
            is_temporary = answer is None or answer.status in (408, 429) or answer.status >= 500 or answer.reason == "RequestTimeout"
            if not is_temporary or not retries.wait():
                raise error

    def _try(self, job: Job, offset: int, length: int, request: SignedRequest) -> StoreAnswer | None:
        """Send once and count the bytes, or take them back. None without an answer."""
        reader = SliceReader(job.item.source, offset, length, on_bytes=job.transfer.moved, cancelled=self._cancelled)
        is_stored = False
        try:
            answer = self._transport.send(request.method, request.url, body=reader if length else b"", headers=request.headers)
            is_stored = answer.status < 300 or answer.status == 412
        except ConnectionFailedError:
            return None
        finally:
            job.transfer.moved(length - reader.counted if is_stored else -reader.counted)
            reader.close()
        return answer


def _refusal(job: Job, answer: StoreAnswer) -> UploadError:
    if answer.reason in CHANGED:
        return FileChangedError(f"{job.item.path} was changed during the upload")
    if answer.status == 404:
        return ConflictError(404, {"code": "upload_lost", "detail": "The storage has lost this upload"})
    return StorageRefusedError(answer.status, answer.reason)
