"""Where files are uploaded to: the account of the caller, or a file request."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from we_upload.errors import NotFoundError, ProblemError, problem_error
from we_upload.http import Answer, Api
from we_upload.journal import UploadEntry
from we_upload.models import File, Part, PartPlan

SIGNATURE_AGE_MAX_SECONDS = 300.0
"""Older presigned URLs are replaced. Their expiry cannot be compared with a local clock that may be wrong."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the server must know about a file before its upload."""

    filename: str
    content_type: str
    size_bytes: int
    description: str | None = None
    is_public: bool = False

    def body(self, sha256: str | None = None) -> dict[str, Any]:
        """Return the JSON of the declaration."""
        values: dict[str, Any] = {"filename": self.filename, "content_type": self.content_type, "size_bytes": self.size_bytes}
        if sha256 is not None:
            values["sha256"] = sha256
        if self.description is not None:
            values["description"] = self.description
        if self.is_public:
            values["is_public"] = True
        return values


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A presigned request of the object store."""

    url: str
    method: str
    headers: dict[str, str]
    signed_at: float

    @classmethod
    def of(cls, data: dict[str, Any]) -> "SignedRequest":
        """Return the request of an answer of the API."""
        return cls(data["upload_url"], data["method"], data["headers"], time.monotonic())

    @property
    def is_old(self) -> bool:
        """Whether the URL may have expired."""
        return time.monotonic() - self.signed_at > SIGNATURE_AGE_MAX_SECONDS


class Destination(Protocol):
    """Starts and completes uploads."""

    def start(self, declared: Declaration, sha256: str, entry: UploadEntry, key: str) -> SignedRequest:
        """Start the upload of a file in one request, or repeat an unfinished start with the same key. Sets `entry.file_id`."""
        ...

    def complete(self, entry: UploadEntry) -> File | None:
        """Complete an upload."""
        ...

    def start_parts(self, declared: Declaration, entry: UploadEntry, key: str) -> PartPlan:
        """Start an upload in parts. The store checks the SHA-256 of each. Sets `entry.file_id`."""
        ...

    def parts(self, entry: UploadEntry) -> PartPlan:
        """Return the parts that the store holds."""
        ...

    def sign_parts(self, entry: UploadEntry, digests: Sequence[tuple[int, str]]) -> dict[int, SignedRequest]:
        """Return presigned requests for parts, by number."""
        ...

    def discard(self, entry: UploadEntry) -> None:
        """Delete an unfinished upload, if it still exists."""
        ...


class AccountUploads:
    """Uploads to the account of the caller."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def start(self, declared: Declaration, sha256: str, entry: UploadEntry, key: str) -> SignedRequest:
        """Start an upload in one request. The key makes it safe to repeat."""
        answer = self._api.call("POST", "/files/upload", json_body=declared.body(sha256), headers={"Idempotency-Key": key}).json()
        entry.file_id = answer["file_id"]
        return SignedRequest.of(answer)

    def complete(self, entry: UploadEntry) -> File:
        """Complete an upload."""
        return File.of(self._api.call("POST", f"/files/{entry.file_id}/complete").json())

    def start_many(self, files: Sequence[tuple[Declaration, str]], key: str) -> list[tuple[str, SignedRequest] | ProblemError] | None:
        """Start up to 100 uploads, each in one request. Return id and request, or the error, of each; None if the server cannot do that."""
        body = {"files": [declared.body(sha256) for declared, sha256 in files]}
        results = self._about_many("/files/uploads", body, headers={"Idempotency-Key": key})
        if results is None:
            return None
        started: list[tuple[str, SignedRequest] | ProblemError] = []
        for result in results:
            upload = result["upload"]
            started.append((upload["file_id"], SignedRequest.of(upload)) if upload else _refusal_of(result))
        return started

    def complete_many(self, file_ids: Sequence[str]) -> dict[str, str | ProblemError] | None:
        """Complete up to 100 uploads. Return the status or the error of each, by id; None if the server cannot do that."""
        results = self._about_many("/files/complete", {"file_ids": list(file_ids)})
        return None if results is None else {result["id"]: result["status"] or _refusal_of(result) for result in results}

    def statuses(self, file_ids: Sequence[str]) -> dict[str, str]:
        """Return the status of up to 100 files, by id."""
        answer = self._api.call("POST", "/files/status", json_body={"file_ids": list(file_ids)}).json()
        return {file["id"]: file["status"] for file in answer["files"]}

    def _about_many(self, path: str, body: object, *, headers: Mapping[str, str] | None = None) -> list[dict[str, Any]] | None:
        """Return the result of each file; None if the server has no such request."""
        try:
            results: list[dict[str, Any]] = self._api.call("POST", path, json_body=body, headers=headers).json()["results"]
        except ProblemError as error:
            if error.status in (404, 405):
                return None
            raise
        return results

    def start_parts(self, declared: Declaration, entry: UploadEntry, key: str) -> PartPlan:
        """Start an upload in parts. The store checks the SHA-256 of each."""
        body = {**declared.body(), "has_part_digests": True}
        answer = self._api.call("POST", "/files/multipart", json_body=body, headers={"Idempotency-Key": key}).json()
        entry.file_id = answer["file_id"]
        return _plan_of(answer)

    def parts(self, entry: UploadEntry) -> PartPlan:
        """Return the parts that the store holds."""
        return _plan_of(self._api.call("GET", f"/files/{entry.file_id}/parts").json())

    def sign_parts(self, entry: UploadEntry, digests: Sequence[tuple[int, str]]) -> dict[int, SignedRequest]:
        """Return presigned requests for parts, by number."""
        signed = self._api.call("POST", f"/files/{entry.file_id}/parts", json_body={"parts": _wanted(digests)}).json()
        return _signed_parts(signed)

    def discard(self, entry: UploadEntry) -> None:
        """Delete an unfinished upload, if it still exists."""
        try:
            self._api.call("DELETE", f"/files/{entry.file_id}", query={"permanent": True})
        except NotFoundError:
            pass
        except ProblemError:
            # The server ends it by itself when its time is over.
            return


class GuestUploads:
    """Uploads to a file request. Needs no account."""

    def __init__(self, api: Api, token: str) -> None:
        self._api = api
        self._request_path = f"{api.base_url}/r/{token}"
        self._path = f"{self._request_path}/files"

    def start(self, declared: Declaration, sha256: str, entry: UploadEntry, key: str) -> SignedRequest:  # noqa: ARG002 - as Destination
        """Start an upload. An unfinished one is continued while its URL is valid."""
        if entry.request:
            kept = json.loads(entry.request)
            if time.time() < kept["until"]:
                return SignedRequest(kept["url"], kept["method"], kept["headers"], time.monotonic())
        answer = self._api.call("POST", self._path, json_body=declared.body(sha256), is_repeatable=False).json()
        request = SignedRequest.of(answer)
        entry.file_id = answer["file_id"]
        entry.request = json.dumps(
            {
                "token": answer["guest_token"],
                "url": request.url,
                "method": request.method,
                "headers": request.headers,
                "until": time.time() + SIGNATURE_AGE_MAX_SECONDS,
            }
        )
        return request

    def complete(self, entry: UploadEntry) -> None:
        """Complete an upload with its guest token."""
        self._call(entry, "complete")

    def start_parts(self, declared: Declaration, entry: UploadEntry, key: str) -> PartPlan:  # noqa: ARG002 - as Destination
        """Start an upload in parts. The store checks the SHA-256 of each."""
        body = {**declared.body(), "has_part_digests": True}
        answer = self._api.call("POST", f"{self._request_path}/multipart", json_body=body, is_repeatable=False).json()
        entry.file_id = answer["file_id"]
        entry.request = json.dumps({"token": answer["guest_token"], "is_in_parts": True})
        return _plan_of(answer)

    def parts(self, entry: UploadEntry) -> PartPlan:
        """Return the parts that the store holds."""
        return _plan_of(self._call(entry, "uploaded-parts").json())

    def sign_parts(self, entry: UploadEntry, digests: Sequence[tuple[int, str]]) -> dict[int, SignedRequest]:
        """Return presigned requests for parts, by number."""
        return _signed_parts(self._call(entry, "parts", parts=_wanted(digests)).json())

    def discard(self, entry: UploadEntry) -> None:
        """End an unfinished upload in parts, if it still exists. The server ends one in one request by itself."""
        if json.loads(entry.request or "{}").get("is_in_parts"):
            try:
                self._call(entry, "abort")
            except ProblemError:
                # The server ends it by itself when its time is over.
                return

    def _call(self, entry: UploadEntry, action: str, **values: Any) -> Answer:
        body = {"guest_token": json.loads(entry.request)["token"], **values}
        return self._api.call("POST", f"{self._path}/{entry.file_id}/{action}", json_body=body)


def _refusal_of(result: dict[str, Any]) -> ProblemError:
    """Return the error of one file in the answer to a request about many."""
    refusal = result["error"]
    return problem_error(refusal["status"], {**refusal["extra"], **refusal})


def _plan_of(answer: dict[str, Any]) -> PartPlan:
    return PartPlan(answer["part_size_bytes"], answer["part_count"], [Part.of(part) for part in answer.get("parts", [])])


def _wanted(digests: Sequence[tuple[int, str]]) -> list[dict[str, Any]]:
    return [{"number": number, "sha256": sha256} for number, sha256 in digests]


def _signed_parts(answer: dict[str, Any]) -> dict[int, SignedRequest]:
    return {part["number"]: SignedRequest.of(part) for part in answer["parts"]}


def split_link(url: str, kind: str) -> tuple[str, str]:
    """Return the server and the token of a link such as `https://files.example.com/s/TOKEN`. `kind` is `s`, `r` or `p`.

    Raises ValueError for another address.
    """
    parts = urlsplit(url if "://" in url else f"https://{url}")
    before, found, rest = parts.path.partition(f"/{kind}/")
    token = rest.split("/")[0]
    if not found or not token or not parts.hostname or parts.scheme not in ("http", "https"):
        raise ValueError(f"{url} is not a link such as https://files.example.com/{kind}/TOKEN")
    return f"{parts.scheme}://{parts.netloc}{before}", token
