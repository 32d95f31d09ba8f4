"""The client: an account on one server."""

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import urljoin
from uuid import uuid4

from we_upload.errors import UploadError
from we_upload.http import Api, Transport
from we_upload.journal import Journal, UploadEntry
from we_upload.links import FileRequestLink, ShareLink
from we_upload.models import File, FileRequest, PartPlan, ServerConfig, Share, Usage, User
from we_upload.progress import Progress
from we_upload.session import Session, Token, sign_in
from we_upload.transfer.destinations import AccountUploads, GuestUploads
from we_upload.transfer.downloads import Downloader, DownloadItem, DownloadResult
from we_upload.transfer.jobs import UploadItem, UploadResult
from we_upload.transfer.sources import BytesSource, FileSource, Source, spool
from we_upload.transfer.uploads import Uploader

PAGE_SIZE = 100
UNNAMED = "unnamed"

Content = str | os.PathLike[str] | bytes | BinaryIO
"""What can be uploaded: the path of a file, bytes, or a binary stream."""


class Client:
    """A client of one server. Use it in a `with` statement, or call `close`.

    Credentials are an `api_key`, or an access `token`, or those of `sign_in`. The calls for links of other people need none. The client
    is safe for several threads. Every call raises ProblemError for an answer with an error, and ConnectionFailedError without an answer.
    """

    def __init__(self, base_url: str, *, api_key: str | None = None, token: str | None = None) -> None:
        self.transport = Transport()
        credentials = api_key or token
        self.api = Api(base_url, self.transport, Token(credentials) if credentials else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    @property
    def cancelled(self) -> threading.Event:
        """Set it from another thread to end all transfers with CancelledError. Clear it before the next call."""
        return self.api.cancelled

    # Account

    def sign_in(self, email: str, password: str, otp: str | None = None) -> User:
        """Open a session, which this client then uses. Raises NotSignedInError for wrong credentials.

        An account with a second factor also needs `otp`, a one-time code or a recovery code; without it, the error is NotAllowedError
        `second_factor_required`.
        """
        self.api.credentials = Session(self.api, sign_in(self.api, email, password, otp))
        return self.me()

    def sign_out(self) -> None:
        """End the session. API keys stay valid."""
        if isinstance(self.api.credentials, Session):
            self.api.credentials.end()
        self.api.credentials = None

    def me(self) -> User:
        """Return the account."""
        return User.of(self.api.call("GET", "/users/me").json())

    def usage(self) -> Usage:
        """Return what the account stores, and its quota."""
        return Usage.of(self.api.call("GET", "/users/me/usage").json())

    def config(self) -> ServerConfig:
        """Return what the server offers, and its limits. Needs no credentials."""
        return ServerConfig.of(self.api.call("GET", "/config").json())

    # Files

    def file(self, file_id: str) -> File:
        """Return a file."""
        return File.of(self.api.call("GET", f"/files/{file_id}").json())

    def files(self, **filters: Any) -> Iterator[File]:
        """Iterate over the files, newest first, page by page.

        Filters are those of `GET /files`: `status`, `q`, `content_type`, `created_after`, `size_min`, `sort`, …
        """
        return (File.of(row) for row in self._pages("/files", filters))

    def change(self, file_id: str, **changes: Any) -> File:
        """Change `filename`, `description` or `is_public`."""
        return File.of(self.api.call("PATCH", f"/files/{file_id}", json_body=changes).json())

    def delete(self, file_id: str, *, permanent: bool = False) -> None:
        """Move a file to the trash, or delete it."""
        self.api.call("DELETE", f"/files/{file_id}", query={"permanent": permanent or None})

    def restore(self, file_id: str) -> File:
        """Restore a file from the trash."""
        return File.of(self.api.call("POST", f"/files/{file_id}/restore").json())

    def parts(self, file_id: str) -> PartPlan:
        """Return the parts of an unfinished upload that the store holds."""
        return AccountUploads(self.api).parts(UploadEntry("", "", 0, 0, file_id=file_id))

    # Transfers

    def upload(
        self,
        content: Content,
        *,
        name: str | None = None,
        content_type: str | None = None,
        description: str | None = None,
        is_public: bool = False,
        journal: Journal | None = None,
        progress: Progress | None = None,
        lanes: int | None = None,
    ) -> File:
        """Upload a file, bytes or a stream, and return the verified file.

        With a `journal` on disk, the same call after a crash continues with the parts that are missing. A stream is written to a temporary
        file first (at most 50 GiB), because the server needs the exact size. Raises FileChangedError if the file changes meanwhile.
        """
        with _source_of(content) as (source, path):
            is_path = isinstance(content, str | os.PathLike)
            item = UploadItem(source, path, name or ("" if is_path else UNNAMED), content_type or "", description, is_public)
            [result] = self.upload_many([item], journal=journal, run=f"upload {self.api.base_url} {path}", progress=progress, lanes=lanes)
        if result.error is not None:
            raise result.error
        return result.file or self.file(result.file_id)

    def upload_many(
        self,
        items: Iterable[UploadItem],
        *,
        journal: Journal | None = None,
        run: str = "",
        progress: Progress | None = None,
        lanes: int | None = None,
        is_waiting: bool = True,
        keeps_run: bool = False,
    ) -> list[UploadResult]:
        """Upload files side by side and return their results in the same order. An error of one file does not stop the others.

        `run` names this set of files in the `journal`: a call with the same name continues it after a break. With `is_waiting=False`,
        the call does not wait until small files are verified: their bytes and digests are stored, they become available within seconds.
        With `keeps_run=True`, the run ends only with `journal.forget_run(run)`; until then, the same call uploads nothing again.
        """
        uploader = Uploader(
            AccountUploads(self.api),
            api=self.api,
            journal=journal,
            run=run,
            progress=progress,
            lanes=lanes,
            is_waiting=is_waiting,
            keeps_run=keeps_run,
        )
        return uploader.upload(items)

    def send_to(
        self,
        url: str,
        items: Iterable[UploadItem],
        *,
        journal: Journal | None = None,
        run: str = "",
        progress: Progress | None = None,
        lanes: int | None = None,
    ) -> list[UploadResult]:
        """Upload files to a file request, `https://files.example.com/r/TOKEN`. Needs no account."""
        link = FileRequestLink(url, self.transport)
        link.api.cancelled = self.cancelled
        uploader = Uploader(
            GuestUploads(link.api, link.token),
            api=link.api,
            journal=journal,
            run=run,
            progress=progress,
            lanes=lanes,
        )
        return uploader.upload(items)

    def download(
        self,
        file_id: str,
        target: str | os.PathLike[str] | BinaryIO,
        *,
        journal: Journal | None = None,
        progress: Progress | None = None,
        lanes: int | None = None,
    ) -> File:
        """Download a file to a path or a stream, and verify its length and, where the server has it, its SHA-256.

        A path is written under another name first, so that it is complete or absent. With a `journal` on disk, the same call after a crash
        continues. Raises DigestMismatchError.
        """
        file = self.file(file_id)
        path = Path(target) if isinstance(target, str | os.PathLike) else Path(file.filename)
        item = DownloadItem(OwnOrigin(self.api, file_id), path, file.size_bytes, file.sha256)
        downloader = self.downloader(journal=journal, progress=progress, lanes=lanes)
        if isinstance(target, str | os.PathLike):
            [result] = downloader.download([item])
            if result.error is not None:
                raise result.error
        else:
            downloader.stream(item, target)
        return file

    def downloader(self, *, journal: Journal | None = None, progress: Progress | None = None, lanes: int | None = None) -> Downloader:
        """Return a downloader for several files."""
        return Downloader(transport=self.transport, cancelled=self.cancelled, journal=journal, progress=progress, lanes=lanes)

    def download_many(self, items: Iterable[DownloadItem], **options: Any) -> list[DownloadResult]:
        """Download files side by side and return their results in the same order."""
        return self.downloader(**options).download(items)

    # Links

    def share(
        self,
        file_ids: Sequence[str],
        *,
        expires_at: datetime | None = None,
        password: str | None = None,
        max_downloads: int | None = None,
        slug: str | None = None,
        note: str | None = None,
        recipients: Sequence[str] = (),
    ) -> Share:
        """Create a share link to up to 100 files. With `recipients`, only these accounts can open it."""
        body: dict[str, Any] = {
            "file_ids": list(file_ids),
            "password": password,
            "max_downloads": max_downloads,
            "slug": slug,
            "note": note,
        }
        body["expires_at"] = expires_at.isoformat() if expires_at else None
        body = {name: value for name, value in body.items() if value is not None}
        if recipients:
            body |= {"audience": "named", "recipients": list(recipients)}
        return Share.of(self._addressed(self.api.call("POST", "/shares", json_body=body, headers={"Idempotency-Key": uuid4().hex}).json()))

    def shares(self) -> Iterator[Share]:
        """Iterate over the own share links."""
        return (Share.of(self._addressed(row)) for row in self._pages("/shares", {}))

    def revoke_share(self, share_id: str) -> None:
        """Close a share link for ever."""
        self.api.call("DELETE", f"/shares/{share_id}")

    def share_link(self, url: str) -> ShareLink:
        """Return a share link of another person, to list and download its files. Only the client's own server gets its credentials."""
        link = ShareLink(url, self.transport)
        if link.server == self.api.base_url:
            link = ShareLink(url, self.transport, self.api.credentials)
        return link

    def request_files(
        self,
        title: str,
        *,
        note: str | None = None,
        expires_at: datetime | None = None,
        max_files: int | None = None,
        max_size_bytes: int | None = None,
        content_types: Sequence[str] = (),
    ) -> FileRequest:
        """Create a file request: a link through which people without an account upload files to this account."""
        body: dict[str, Any] = {"title": title, "note": note, "max_files": max_files, "max_size_bytes": max_size_bytes}
        body["expires_at"] = expires_at.isoformat() if expires_at else None
        body["allowed_content_types"] = list(content_types) or None
        body = {name: value for name, value in body.items() if value is not None}
        answer = self.api.call("POST", "/file-requests", json_body=body, headers={"Idempotency-Key": uuid4().hex}).json()
        return FileRequest.of(self._addressed(answer))

    def file_requests(self) -> Iterator[FileRequest]:
        """Iterate over the own file requests."""
        return (FileRequest.of(self._addressed(row)) for row in self._pages("/file-requests", {}))

    def revoke_file_request(self, request_id: str) -> None:
        """Close a file request."""
        self.api.call("DELETE", f"/file-requests/{request_id}")

    def _addressed(self, link: dict[str, Any]) -> dict[str, Any]:
        """Return a link with its full address. A server without a configured address returns the path."""
        return {**link, "url": urljoin(self.api.base_url, link["url"])} if link["url"] else link

    def _pages(self, path: str, filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
        query = {"limit": PAGE_SIZE, **filters}
        while True:
            answer = self.api.call("GET", path, query=query)
            yield from answer.json()
            cursor = answer.headers.get("x-next-cursor")
            if not cursor:
                return
            query["cursor"] = cursor


class OwnOrigin:
    """A file of the account, or one that it can read."""

    def __init__(self, api: Api, file_id: str) -> None:
        self._api = api
        self._file_id = file_id

    @property
    def identity(self) -> str:
        """Server and id."""
        return f"{self._api.base_url} {self._file_id}"

    def url(self, offset: int) -> str:  # noqa: ARG002 - the signature of Origin
        """Return a presigned URL."""
        return str(self._api.call("GET", f"/files/download/{self._file_id}").json()["download_url"])


@contextmanager
def _source_of(content: Content) -> Iterator[tuple[Source, str]]:
    """Yield the source for a content, and what identifies it in the journal. Deletes the temporary file of a stream."""
    if isinstance(content, bytes):
        yield BytesSource(content), hashlib.sha256(content).hexdigest()
    elif isinstance(content, str | os.PathLike):
        path = Path(content)
        if not path.is_file():
            raise UploadError(f"{path} is not a file", code="not_a_file")
        yield FileSource(path), str(path.resolve())
    else:
        spooled = spool(content)
        try:
            yield FileSource(spooled), str(spooled)
        finally:
            spooled.unlink()
