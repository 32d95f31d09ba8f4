"""A server in memory that speaks the upload contract over HTTP, and fails on demand."""

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from we_upload import Client, retries
from we_upload.transfer import part_uploads, uploads

PART_BYTES = 1000
API_KEY = "wup_test"


class FakeServer:
    """API and object store. `faults` are applied to the next requests of the store, `refusals` to those of the API."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, Any]] = {}
        self.stored: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, tuple[bytes, str]]] = {}
        self.keys: dict[str, Any] = {}
        self.calls: Counter[str] = Counter()
        self.puts: list[str] = []
        self.gets: list[int] = []
        self.store_authorizations: list[str | None] = []
        self.faults: list[str] = []
        self.refusals: list[tuple[int, dict[str, Any], dict[str, str]]] = []
        self.refused_route = ""
        """The only route that is refused, such as `POST /files/upload`; empty for all."""
        self.has_groups = True
        self.refused_members: list[int] = []
        self.gone: set[str] = set()
        """Files that were deleted after their start."""
        self.completes_by_event = True
        self.completes_groups = True
        self.completed_at_once = 100
        """How many stored files a request to complete a group reaches in time."""
        self.tokens = {API_KEY}
        self.lock = threading.Lock()
        self.on_put: Callable[[str], None] = lambda _: None
        self.on_complete: Callable[[], None] = lambda: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def add_file(self, declared: dict[str, Any]) -> str:
        file_id = str(uuid4())
        self.files[file_id] = {
            "id": file_id,
            "description": None,
            "sha256": None,
            "is_public": False,
            **declared,
            "status": "pending",
            "owner_id": "me",
            "public_path": None,
            "created_at": "2026-01-31T12:00:00.000000Z",
            "updated_at": "2026-01-31T12:00:00.000000Z",
        }
        return file_id

    def signed(self, file_id: str, suffix: str = "") -> dict[str, Any]:
        size = self.files[file_id]["size_bytes"]
        return {
            "file_id": file_id,
            "upload_url": f"{self.url}/store/{file_id}{suffix}",
            "method": "PUT",
            "headers": {"Content-Length": str(size), "Content-Type": "application/octet-stream", "If-None-Match": "*"},
            "expires_at": "2030-01-31T12:00:00Z",
        }

    def content_of(self, name: str) -> bytes:
        [file] = [file for file in self.files.values() if file["filename"] == name and file["status"] == "available"]
        return self.stored[file["id"]]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: ClassVar[FakeServer]

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _send(self, status: int, value: Any = None, headers: dict[str, str] | None = None, raw: bytes | None = None) -> None:
        body = raw if raw is not None else (b"" if value is None else json.dumps(value).encode())
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            # The client has given up; S3 stores nothing then.
            self.close_connection = True
            return
        path = self.path.partition("?")[0]
        if path.startswith("/store/"):
            self._store(path.removeprefix("/store/"), body)
            return
        with self.fake.lock:
            route = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", path.removeprefix("/api/v1"))
            self.fake.calls[f"{self.command} {route}"] += 1
            is_refused = route != "/config" and self.fake.refused_route in ("", f"{self.command} {route}")
            if self.fake.refusals and is_refused:
                status, problem, headers = self.fake.refusals.pop(0)
                self._send(status, problem, headers)
            elif self.headers.get("Authorization") != f"Bearer {API_KEY}" and route != "/config" and not path.startswith(("/r/", "/s/")):
                self._send(401, {"status": 401, "code": "not_authenticated", "detail": "Could not validate credentials"})
            else:
                self._send(*_api(self.fake, self.command, route, path, json.loads(body or b"null"), dict(self.headers)))

    def _store(self, key: str, body: bytes) -> None:
        fake = self.fake
        file_id, _, part = key.partition("/")
        fake.store_authorizations.append(self.headers.get("Authorization"))
        if self.command == "GET":
            self._read(fake.stored[file_id])
            return
        fake.on_put(key)
        with fake.lock:
            fake.puts.append(key)
            fault = fake.faults.pop(0) if fake.faults else ""
        if fault == "drop":
            self.close_connection = True
            return
        if fault and fault != "stored-then-503":
            self._send(int(fault), raw=b"<Error><Code>Whatever</Code></Error>")
            return
        declared = fake.files[file_id]
        with fake.lock:
            if part:
                fake.parts[file_id][int(part)] = (body, hashlib.sha256(body).hexdigest())
                status = 200
            elif file_id in fake.stored:
                status = 412
            elif declared["sha256"] and hashlib.sha256(body).hexdigest() != declared["sha256"]:
                self._send(400, raw=b"<Error><Code>BadDigest</Code></Error>")
                return
            else:
                fake.stored[file_id] = body
                status = 200
                if fake.completes_by_event:
                    declared["status"] = "available"
        self._send(503 if fault else status, raw=b"")

    def _read(self, content: bytes) -> None:
        with self.fake.lock:
            fault = self.fake.faults.pop(0) if self.fake.faults else ""
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        begin, end = (int(found[1]), int(found[2]) + 1) if found else (0, len(content))
        piece = content[begin:end]
        self.fake.gets.append(begin)
        if fault == "cut":
            self.send_response(206)
            self.send_header("Content-Length", str(len(piece)))
            self.send_header("ETag", '"one"')
            self.end_headers()
            self.wfile.write(piece[: len(piece) // 2])
            self.close_connection = True
        elif fault:
            self._send(int(fault), raw=b"")
        else:
            self._send(206, headers={"ETag": '"one"', "Content-Range": f"bytes {begin}-{end - 1}/{len(content)}"}, raw=piece)


def _api(fake: FakeServer, method: str, route: str, path: str, body: Any, headers: dict[str, str]) -> tuple[Any, ...]:  # noqa: C901, PLR0911, PLR0912, PLR0915 - a table of routes
    file_id = path.split("/")[4] if "/files/" in path and len(path.split("/")) > 4 else ""
    key = headers.get("Idempotency-Key", "")
    not_found = (404, {"status": 404, "code": "file_not_found", "detail": "There is no such file"})
    match f"{method} {route}":
        case "POST /files/upload":
            if key not in fake.keys:
                fake.keys[key] = fake.add_file(body)
            return 201, fake.signed(fake.keys[key])
        case "POST /files/uploads":
            if not fake.has_groups:
                return 404, {"status": 404, "code": "not_found", "detail": "Not found"}
            if key in fake.keys and fake.keys[key][0] != body:
                return 422, {"status": 422, "code": "idempotency_key_reused", "detail": "Another body"}
            if key not in fake.keys:
                fake.keys[key] = (body, [fake.add_file(declared) for declared in body["files"]])
            gone = {"status": 410, "code": "idempotent_file_gone", "detail": "The file of this key was deleted", "extra": {}}
            results = [
                {"upload": None, "error": gone} if one in fake.gone else {"upload": fake.signed(one), "error": None}
                for one in fake.keys[key][1]
            ]
            refusal = {"status": 413, "code": "quota_exceeded", "detail": "The quota is used up", "extra": {"bytes_left": 5}}
            for index in fake.refused_members:
                results[index] = {"upload": None, "error": refusal}
            return 200, {"results": results}
        case "POST /files/complete":
            fake.on_complete()
            if not fake.completes_groups:
                return 404, {"status": 404, "code": "not_found", "detail": "Not found"}
            pending = [one for one in body["file_ids"] if one in fake.stored and fake.files[one]["status"] == "pending"]
            for one in pending[: fake.completed_at_once]:
                fake.files[one]["status"] = "available"
            missing = {"status": 409, "code": "upload_missing", "detail": "Nothing has been uploaded for this file yet", "extra": {}}
            outcomes = {one: (None, missing) if one not in fake.stored else (fake.files[one]["status"], None) for one in body["file_ids"]}
            return 200, {"results": [{"id": one, "status": status, "error": error} for one, (status, error) in outcomes.items()]}
        case "POST /files/status":
            states = {one: fake.files[one]["status"] if one in fake.files else "not_found" for one in body["file_ids"]}
            return 200, {"files": [{"id": one, "status": status} for one, status in states.items()]}
        case "POST /files/multipart":
            if key not in fake.keys:
                fake.keys[key] = fake.add_file({name: value for name, value in body.items() if name != "has_part_digests"})
                fake.parts[fake.keys[key]] = {}
            count = -(-body["size_bytes"] // PART_BYTES)
            return 201, {
                "file_id": fake.keys[key],
                "part_size_bytes": PART_BYTES,
                "part_count": count,
                "expires_at": "2030-01-31T12:00:00Z",
            }
        case "POST /files/ID/parts":
            size = fake.files[file_id]["size_bytes"]
            lengths = {part["number"]: min(PART_BYTES, size - (part["number"] - 1) * PART_BYTES) for part in body["parts"]}
            signed = [{**fake.signed(file_id, f"/{n}"), "number": n, "headers": {"Content-Length": str(lengths[n])}} for n in lengths]
            return 200, {"parts": signed}
        case "GET /files/ID/parts":
            if file_id not in fake.files:
                return not_found
            if file_id in fake.stored:
                return 409, {"status": 409, "code": "not_in_parts", "detail": "No upload in progress"}
            held = [{"number": n, "size_bytes": len(data), "sha256": sha, "etag": ""} for n, (data, sha) in fake.parts[file_id].items()]
            return 200, {"part_size_bytes": PART_BYTES, "part_count": -(-fake.files[file_id]["size_bytes"] // PART_BYTES), "parts": held}
        case "POST /files/ID/complete":
            if file_id not in fake.files:
                return not_found
            if file_id in fake.parts and file_id not in fake.stored:
                if len(fake.parts[file_id]) != -(-fake.files[file_id]["size_bytes"] // PART_BYTES):
                    return 409, {"status": 409, "code": "parts_missing", "detail": "Some parts have not been uploaded"}
                fake.stored[file_id] = b"".join(data for _, (data, _) in sorted(fake.parts[file_id].items()))
            if file_id not in fake.stored:
                return 409, {"status": 409, "code": "upload_missing", "detail": "Nothing has been uploaded for this file yet"}
            fake.files[file_id]["status"] = "available"
            return 200, fake.files[file_id]
        case "GET /files/download/ID":
            return 200, {"download_url": f"{fake.url}/store/{path.rpartition('/')[2]}", "filename": "x", "content_type": "text/plain"}
        case "GET /files/ID":
            return (200, fake.files[file_id]) if file_id in fake.files else not_found
        case "DELETE /files/ID":
            return (204,) if fake.files.pop(file_id, None) else not_found
        case "GET /config":
            return 200, {}
        case "GET /files":
            return 200, list(fake.files.values())
        case "GET /s/TOKEN":
            return 200, {"files": [], "note": None, "expires_at": None, "downloads_left": None, "allows_download": True}
        case "POST /r/TOKEN/files":
            one = fake.add_file(body)
            return 201, {**fake.signed(one), "guest_token": f"guest-{one}"}
        case "POST /r/TOKEN/multipart":
            status, answer = _api(fake, method, "/files/multipart", "/api/v1/files/multipart", body, {"Idempotency-Key": str(uuid4())})
            return status, {**answer, "guest_token": f"guest-{answer['file_id']}"}
        case guests if guests.startswith("POST /r/TOKEN/files/ID/"):
            if body["guest_token"] != f"guest-{file_id}":
                return not_found
            action = guests.rpartition("/")[2]
            same = {
                "uploaded-parts": ("GET", "/parts"),
                "abort": ("DELETE", ""),
                "parts": ("POST", "/parts"),
                "complete": ("POST", "/complete"),
            }
            return _api(fake, same[action][0], f"/files/ID{same[action][1]}", path, body, headers)
    return 404, {"status": 404, "code": "not_found", "detail": f"{method} {route}"}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A running server."""
    fake = FakeServer()
    yield fake
    fake.close()


@pytest.fixture
def client(server: FakeServer) -> Iterator[Client]:
    """A client of the server."""
    with Client(server.url, api_key=API_KEY) as client:
        yield client


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small parts, and short waits between tries."""
    monkeypatch.setattr(retries, "FIRST_DELAY_SECONDS", 0.005)
    monkeypatch.setattr(uploads, "SINGLE_MAX_BYTES", 4 * PART_BYTES)
    monkeypatch.setattr(part_uploads, "PARTS_PER_GROUP", 4)
