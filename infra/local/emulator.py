"""Runs the S3 emulator `ministack` with four changes. A script for the interpreter of the emulator's own environment.

1. Administration paths (`/_ministack/...`) are closed. They need no credentials, so any web page in the developer's browser could send
   `POST /_ministack/reset` and delete every object. Only the health check stays.
2. A request below the bucket always goes to S3. ministack parses each form-encoded body to find the action of another service: a part of
   8 MiB with `Content-Type: application/x-www-form-urlencoded` took seconds, and a body `Action=...` reached another service.
3. Multipart uploads in progress are kept on disk. ministack keeps them in memory only.
4. The caller chooses the application's access key, so that presigned URLs stay valid when the emulator restarts.
5. Presigned requests with unsigned `x-amz-` headers are refused, as S3 refuses them; ministack would apply such headers.

The changes use private names of ministack, which requirements/emulator.txt pins exactly. tests/integration/test_local_servers.py fails when
an upgrade breaks one of them.
"""
# ruff: noqa: SLF001  # see above

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import ministack.app
from ministack.core import iam_actions
from ministack.services import iam, s3

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Response = tuple[int, dict[str, str], bytes]

PARENT_CHECK_SECONDS = 1.0
HEALTH_PATH = "/_ministack/health"
CLOSED_PREFIXES = ("/_ministack/", "/_localstack/", "/_aws/")
UNSIGNED_HEADERS = (
    b"<Error><Code>AccessDenied</Code><Message>There were headers present in the request which were not signed</Message></Error>"
)

_emulator = ministack.app.app


async def without_administration(scope: Message, receive: Receive, send: Send) -> None:
    """Return 404 for the administration paths and 403 for unsigned headers; forward all other requests to the emulator."""
    path = scope.get("path", "")
    if scope["type"] == "http" and path.startswith(CLOSED_PREFIXES) and path != HEALTH_PATH:
        await _respond(send, 404)
    elif scope["type"] == "http" and has_unsigned_headers(scope):
        await _respond(send, 403, UNSIGNED_HEADERS)
    else:
        await _emulator(scope, receive, send)


def has_unsigned_headers(scope: Message) -> bool:
    """Return whether a presigned request has `x-amz-` headers that its signature does not cover."""
    signed = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("X-Amz-SignedHeaders")
    if signed is None:
        return False
    names = {name.decode("latin-1").lower() for name, _ in scope["headers"]}
    return any(name.startswith("x-amz-") for name in names - set(signed.split(";")))


async def _respond(send: Send, status: int, body: bytes = b"") -> None:
    headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/xml")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def route_bucket_to_s3(bucket: str) -> None:
    """Route every request for `bucket` to S3, and find its IAM action, by method, path and query; never by the body."""
    routing_params, detect_service = ministack.app._routing_params, ministack.app.detect_service
    extract_iam_action = iam_actions.extract_iam_action

    def is_below_bucket(path: str) -> bool:
        return path == f"/{bucket}" or path.startswith(f"/{bucket}/")

    def parameters(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]) -> Any:
        return query if is_below_bucket(path) else routing_params(method, path, headers, body, query)

    def service(method: str, path: str, headers: dict[str, str], query: dict[str, list[str]]) -> Any:
        return "s3" if is_below_bucket(path) else detect_service(method, path, headers, query)

    def iam_action(service: str, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, list[str]]) -> Any:
        if is_below_bucket(path):
            headers, body = {}, b""
        return extract_iam_action(service, method, path, headers, body, query)

    ministack.app._routing_params = parameters
    ministack.app.detect_service = service
    iam_actions.extract_iam_action = iam_action


class MultipartUploads:
    """The multipart uploads in progress, with a copy in `folder`: one folder per upload, one file and its metadata per part."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def install(self) -> None:
        """Load the uploads of earlier runs, and store each later change."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for upload in self._folder.iterdir():
            self._load(upload)
        create, upload_part = s3._create_multipart_upload, s3._upload_part
        complete, abort = s3._complete_multipart_upload, s3._abort_multipart_upload

        def create_and_store(bucket: str, key: str, headers: dict[str, str]) -> Response:
            before = set(s3._multipart_uploads)
            response: Response = create(bucket, key, headers)
            for upload_id in set(s3._multipart_uploads) - before:
                folder = self._folder / upload_id
                folder.mkdir()
                _write(folder / "upload.json", json.dumps({**s3._multipart_uploads[upload_id], "parts": {}}).encode())
            return response

        def upload_part_and_store(bucket: str, key: str, body: bytes, query: dict[str, Any], headers: dict[str, str]) -> Response:
            response: Response = upload_part(bucket, key, body, query, headers)
            upload_id, number = s3._qp(query, "uploadId"), s3._qp(query, "partNumber")
            if response[0] == 200:
                part = s3._multipart_uploads[upload_id]["parts"][int(number)]
                folder = self._folder / upload_id
                # The metadata last: without it the part does not count.
                _write(folder / f"{int(number)}.bytes", part["body"])
                _write(folder / f"{int(number)}.json", json.dumps({**part, "body": None}).encode())
            return response

        def complete_and_remove(bucket: str, key: str, body: bytes, query: dict[str, Any], headers: dict[str, str]) -> Response:
            return self._remove_ended(query, complete(bucket, key, body, query, headers))

        def abort_and_remove(bucket: str, key: str, query: dict[str, Any]) -> Response:
            return self._remove_ended(query, abort(bucket, key, query))

        s3._create_multipart_upload, s3._upload_part = create_and_store, upload_part_and_store
        s3._complete_multipart_upload, s3._abort_multipart_upload = complete_and_remove, abort_and_remove

    def _remove_ended(self, query: dict[str, Any], response: Response) -> Response:
        upload_id = s3._qp(query, "uploadId")
        if response[0] < 300 and upload_id not in s3._multipart_uploads:
            shutil.rmtree(self._folder / upload_id, ignore_errors=True)
        return response

    def _load(self, folder: Path) -> None:
        description = folder / "upload.json"
        if not description.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            return
        upload = json.loads(description.read_bytes())
        for metadata in folder.glob("[0-9]*.json"):
            upload["parts"][int(metadata.stem)] = {**json.loads(metadata.read_bytes()), "body": metadata.with_suffix(".bytes").read_bytes()}
        s3._multipart_uploads[folder.name] = upload


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.write_bytes(content)
    unfinished.rename(path)


def add_access_key(user: str, key_id: str, secret: str) -> None:
    """Add an access key of `user`, who may be created later."""
    iam._access_keys[key_id] = {
        "UserName": user,
        "AccessKeyId": key_id,
        "SecretAccessKey": secret,
        "Status": "Active",
        "CreateDate": iam._now(),
    }


def end_with_parent(parent: int) -> None:
    """End when our parent, the supervisor, has been killed and can no longer stop us."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, args=[os.getppid()], daemon=True).start()
    route_bucket_to_s3(os.environ["WE_UPLOAD_BUCKET"])
    MultipartUploads(Path(os.environ["WE_UPLOAD_MULTIPART_FOLDER"])).install()
    add_access_key(os.environ["WE_UPLOAD_USER"], os.environ["WE_UPLOAD_KEY_ID"], os.environ["WE_UPLOAD_KEY_SECRET"])
    ministack.app.app = without_administration
    ministack.app.main()
