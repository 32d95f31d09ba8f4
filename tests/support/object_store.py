"""An object store in memory that keeps to the letter of its own presigned requests, as S3 does; for tests of the services.

`tests/support/object_store_contract.py` holds it and the real one to the same behaviour.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from lambda_app.core import clock
from lambda_app.core.errors import UnavailableError
from lambda_app.storage.admission import safe_key, upload_headers
from lambda_app.storage.content import content_disposition, served_content_type
from lambda_app.storage.object_store import ObjectStore, PresignedRequest, StoredObject


@dataclass(frozen=True, slots=True)
class StoreResponse:
    """What a client of the store gets back; header names are lower-case."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HeldObject:
    """An object as it lies in the store."""

    body: bytes
    content_type: str
    sha256: str | None


class FakeObjectStore(ObjectStore):
    """Keeps objects in `objects`; `send` and `put` are the client's side of it.

    `is_down = True` makes `head` and `delete` fail as a store that does not answer.
    """

    def __init__(self, *, lifetime_seconds: int = 900) -> None:
        self.objects: dict[str, HeldObject] = {}
        self.is_down = False
        self._lifetime_seconds = lifetime_seconds

    def presign_upload(self, *, key: str, size_bytes: int, content_type: str, sha256: str | None) -> PresignedRequest:
        """Sign a PUT of exactly this."""
        headers = upload_headers(size_bytes=size_bytes, content_type=content_type, sha256=sha256)
        return self._presign("PUT", key, {}, headers)

    def presign_download(self, *, key: str, filename: str, content_type: str) -> PresignedRequest:
        """Sign a GET that answers with this name and a harmless type."""
        query = {"disposition": content_disposition(filename), "type": served_content_type(content_type)}
        return self._presign("GET", key, query, {})

    def head(self, key: str) -> StoredObject | None:
        """Return what is held under `key`."""
        self._answer()
        held = self.objects.get(safe_key(key))
        if held is None:
            return None
        etag = hashlib.md5(held.body, usedforsecurity=False).hexdigest()
        return StoredObject(len(held.body), held.content_type, etag, held.sha256)

    def delete(self, key: str) -> None:
        """Forget what is held under `key`."""
        self._answer()
        self.objects.pop(safe_key(key), None)

    def put(self, presigned: PresignedRequest, body: bytes, headers: Mapping[str, str] | None = None) -> int:
        """Upload `body` as a client would and return the status; `headers` replace the ones that were asked for."""
        return self.send(presigned.method, presigned.url, presigned.headers if headers is None else headers, body).status

    def send(self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> StoreResponse:
        """Answer one request of a client, whose Content-Length is always that of its body."""
        sent = {name.lower(): value for name, value in (headers or {}).items()} | {"content-length": str(len(body))}
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        signature = query.pop("signature", "")
        signed = {name: sent.get(name, "") for name in query.get("signed", "").split(",") if name}
        if not hmac.compare_digest(signature, _signature(method, parts.path, query, signed)):
            return StoreResponse(403)
        if clock.now().timestamp() > int(query["expires"]) or any(name.startswith("x-amz-") and name not in signed for name in sent):
            return StoreResponse(403)
        key = unquote(parts.path).removeprefix("/")
        return self._receive(key, sent, body) if method == "PUT" else self._serve(key, query)

    def _receive(self, key: str, sent: dict[str, str], body: bytes) -> StoreResponse:
        digest = hashlib.sha256(body)
        declared = sent.get("x-amz-checksum-sha256")
        if declared is not None and base64.b64decode(declared) != digest.digest():
            return StoreResponse(400)
        if key in self.objects:
            return StoreResponse(412)
        self.objects[key] = HeldObject(body, sent["content-type"], digest.hexdigest() if declared else None)
        return StoreResponse(200)

    def _serve(self, key: str, query: dict[str, str]) -> StoreResponse:
        held = self.objects.get(key)
        if held is None:
            return StoreResponse(404)
        return StoreResponse(200, {"content-disposition": query["disposition"], "content-type": query["type"]}, held.body)

    def _presign(self, method: str, key: str, query: dict[str, str], headers: dict[str, str]) -> PresignedRequest:
        expires_at = clock.now().replace(microsecond=0) + timedelta(seconds=self._lifetime_seconds)
        path = f"/{safe_key(key)}"
        signed = {name.lower(): value for name, value in headers.items()}
        query = query | {"expires": str(int(expires_at.timestamp())), "signed": ",".join(signed)}
        query["signature"] = _signature(method, path, query, signed)
        return PresignedRequest(method, f"https://objects.test{path}?{urlencode(query)}", headers, expires_at)

    def _answer(self) -> None:
        if self.is_down:
            raise UnavailableError


def _signature(method: str, path: str, query: Mapping[str, str], signed: Mapping[str, str]) -> str:
    text = repr((method, path, sorted(query.items()), sorted(signed.items())))
    return hmac.new(b"the store's own key", text.encode(), hashlib.sha256).hexdigest()
