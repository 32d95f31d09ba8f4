"""Links of other people: a share link to download from, and a file request to upload to. Neither needs an account."""

from datetime import datetime
from typing import Any

from we_upload.http import Api, Credentials, Transport
from we_upload.models import Link, LinkedFile
from we_upload.transfer.destinations import split_link

PASS_HEADER = "X-Share-Pass"  # noqa: S105 - the name of a header


class ShareLink:
    """A share link, `https://files.example.com/s/TOKEN`."""

    def __init__(self, url: str, transport: Transport, credentials: Credentials | None = None) -> None:
        self.server, token = split_link(url, "s")
        self._api = Api(self.server, transport, credentials)
        self._path = f"{self.server}/s/{token}"
        self._headers: dict[str, str] = {}

    @property
    def url(self) -> str:
        """The address without what follows the token."""
        return self._path

    def enter_password(self, password: str) -> None:
        """Exchange the password for a token that is valid for an hour. Raises NotAllowedError for a wrong password."""
        answer = self._api.call("POST", self._path, json_body={"password": password}).json()
        self._headers = {PASS_HEADER: answer["share_pass"]}

    def open(self) -> Link:
        """Return the files of the link. Raises NotFoundError for a closed link, NotAllowedError if a password is needed."""
        answer: dict[str, Any] = self._api.call("GET", self._path, headers=self._headers).json()
        return Link(
            files=[LinkedFile.of(file) for file in answer["files"]],
            note=answer["note"],
            expires_at=datetime.fromisoformat(answer["expires_at"]) if answer["expires_at"] else None,
            downloads_left=answer["downloads_left"],
            allows_download=answer["allows_download"],
        )

    def origin(self, file: LinkedFile) -> "LinkedOrigin":
        """Return where a file of the link is downloaded from."""
        return LinkedOrigin(self._api, f"{self._path}/files/{file.id}", self._headers)


class LinkedOrigin:
    """A file of a share link. Each download counts once: a repeated request names the byte at which it continues."""

    def __init__(self, api: Api, url: str, headers: dict[str, str]) -> None:
        self._api = api
        self._url = url
        self._headers = headers

    @property
    def identity(self) -> str:
        """The address of the file."""
        return self._url

    def url(self, offset: int) -> str:
        """Return a presigned URL, valid for a minute."""
        headers = {**self._headers, **({"Range": f"bytes={offset}-"} if offset else {})}
        return str(self._api.call("GET", self._url, headers=headers).json()["download_url"])


class FileRequestLink:
    """A file request, `https://files.example.com/r/TOKEN`."""

    def __init__(self, url: str, transport: Transport) -> None:
        server, self.token = split_link(url, "r")
        self.api = Api(server, transport)
        self._url = f"{server}/r/{self.token}"

    def open(self) -> dict[str, Any]:
        """Return title, note and limits of the request. Raises NotFoundError for a closed one."""
        answer: dict[str, Any] = self.api.call("GET", self._url).json()
        return answer
