"""What every object store must do, as one suite that runs against the fake and against S3."""

import hashlib
from collections.abc import Mapping
from typing import Protocol
from uuid import uuid4

from lambda_app.core import clock
from lambda_app.storage.keys import object_key
from lambda_app.storage.object_store import ObjectStore, PresignedRequest, StoredObject
from tests.support.object_store import StoreResponse

BODY = b"%PDF-1.7 not really\n\x00\xff"
CONTENT_TYPE = "application/pdf"


class World(Protocol):
    """A store, its clients and the passing of time."""

    def store(self, *, lifetime_seconds: int = 900) -> ObjectStore:
        """Return the store, whose URLs live so long."""
        ...

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> StoreResponse:
        """Send a client's request."""
        ...

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        ...


class ObjectStoreContract:
    """Subclass it as `Test…` beside a fixture `world`."""

    def test_exact_upload_is_stored_as_declared(self, world: World) -> None:
        key, upload = _start_upload(world)

        response = _put(world, upload)

        assert response.status == 200
        etag = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
        assert world.store().head(key) == StoredObject(len(BODY), CONTENT_TYPE, etag, hashlib.sha256(BODY).hexdigest())

    def test_upload_without_a_digest_is_stored_without_one(self, world: World) -> None:
        key, upload = _start_upload(world, with_digest=False)

        response = _put(world, upload)

        stored = world.store().head(key)
        assert response.status == 200
        assert stored is not None
        assert (stored.size_bytes, stored.sha256) == (len(BODY), None)

    def test_empty_file_can_be_uploaded(self, world: World) -> None:
        key = object_key(uuid4())
        upload = world.store().presign_upload(key=key, size_bytes=0, content_type="text/plain", sha256=hashlib.sha256(b"").hexdigest())

        response = _put(world, upload, b"")

        stored = world.store().head(key)
        assert response.status == 200
        assert stored is not None
        assert stored.size_bytes == 0

    def test_form_encoded_type_is_signed_like_any_other(self, world: World) -> None:
        key = object_key(uuid4())
        content_type = "application/x-www-form-urlencoded; charset=utf-8"
        upload = world.store().presign_upload(key=key, size_bytes=3, content_type=content_type, sha256=None)

        forged = _put(world, upload, b"a=b", {"Content-Type": "text/html"})
        honest = _put(world, upload, b"a=b")

        assert (forged.status, honest.status) == (403, 200)

    def test_longer_and_shorter_bodies_are_refused(self, world: World) -> None:
        key, upload = _start_upload(world, with_digest=False)

        statuses = [_put(world, upload, body).status for body in (BODY + b"x", BODY[:-1], b"")]

        assert statuses == [403, 403, 403]
        assert world.store().head(key) is None

    def test_other_content_type_is_refused(self, world: World) -> None:
        key, upload = _start_upload(world)

        statuses = [_put(world, upload, BODY, {"Content-Type": type_}).status for type_ in ("text/html", "application/pdf; a=b")]

        assert statuses == [403, 403]
        assert world.store().head(key) is None

    def test_flipped_byte_under_a_declared_digest_is_refused(self, world: World) -> None:
        key, upload = _start_upload(world)

        response = _put(world, upload, BODY[:-1] + b"\xfe")

        assert response.status == 400
        assert world.store().head(key) is None

    def test_digest_cannot_be_replaced_to_match_another_body(self, world: World) -> None:
        key, upload = _start_upload(world)
        other = BODY[:-1] + b"\xfe"
        digest = world.store().presign_upload(
            key=key, size_bytes=len(other), content_type=CONTENT_TYPE, sha256=hashlib.sha256(other).hexdigest()
        )

        response = _put(world, upload, other, {"x-amz-checksum-sha256": digest.headers["x-amz-checksum-sha256"]})

        assert response.status == 403
        assert world.store().head(key) is None

    def test_every_asked_header_must_be_sent(self, world: World) -> None:
        key, upload = _start_upload(world)

        statuses = {name: _put(world, upload, BODY, without=name).status for name in upload.headers if name != "Content-Length"}

        assert statuses == {"Content-Type": 403, "If-None-Match": 403, "x-amz-checksum-sha256": 403}
        assert world.store().head(key) is None

    def test_second_upload_to_the_same_url_is_refused_and_changes_nothing(self, world: World) -> None:
        key, upload = _start_upload(world, with_digest=False)
        _put(world, upload)
        before = world.store().head(key)

        response = _put(world, upload, BODY[::-1])

        assert response.status == 412
        assert world.store().head(key) == before

    def test_url_of_one_key_does_not_admit_another(self, world: World) -> None:
        key, upload = _start_upload(world)
        other = object_key(uuid4())

        response = world.send("PUT", upload.url.replace(key, other), upload.headers, BODY)

        assert response.status == 403
        assert world.store().head(other) is None

    def test_tampered_query_is_refused(self, world: World) -> None:
        key, upload = _start_upload(world)
        stamp = next(text for text in upload.url.replace("&", "?").split("?") if "xpires=" in text)
        tampered = (
            upload.url.replace(stamp, stamp + "0"),
            upload.url + "&x-amz-acl=public-read",
            upload.url[:-1] + ("0" if upload.url[-1] != "0" else "1"),
            upload.url.partition("?")[0],
        )

        statuses = [world.send("PUT", url, upload.headers, BODY).status for url in tampered]

        assert statuses == [403, 403, 403, 403]
        assert world.store().head(key) is None

    def test_upload_url_dies_at_the_second_it_names(self, world: World) -> None:
        key = object_key(uuid4())
        upload = world.store(lifetime_seconds=1).presign_upload(key=key, size_bytes=len(BODY), content_type=CONTENT_TYPE, sha256=None)
        world.wait((upload.expires_at - clock.now()).total_seconds() + 1.0)

        response = _put(world, upload)

        assert response.status == 403
        assert world.store().head(key) is None

    def test_download_url_dies_at_the_second_it_names(self, world: World) -> None:
        key = _stored(world)
        download = world.store(lifetime_seconds=1).presign_download(key=key, filename="a.pdf", content_type=CONTENT_TYPE)
        world.wait((download.expires_at - clock.now()).total_seconds() + 1.0)

        response = world.send("GET", download.url, download.headers, b"")

        assert response.status == 403

    def test_download_gives_the_same_bytes_under_the_given_name_and_type(self, world: World) -> None:
        key = _stored(world)
        download = world.store().presign_download(key=key, filename='"Müller" 📦; 100%.pdf', content_type=CONTENT_TYPE)

        response = world.send(download.method, download.url, download.headers, b"")

        assert (response.status, response.body) == (200, BODY)
        assert response.headers["content-type"] == CONTENT_TYPE
        assert response.headers["content-disposition"] == (
            "attachment; filename=\"_M_ller_ _; 100_.pdf\"; filename*=UTF-8''%22M%C3%BCller%22%20%F0%9F%93%A6%3B%20100%25.pdf"
        )

    def test_active_content_is_served_as_bytes(self, world: World) -> None:
        key = _stored(world)
        download = world.store().presign_download(key=key, filename="a.html", content_type="text/html")

        response = world.send("GET", download.url, download.headers, b"")

        assert (response.status, response.headers["content-type"]) == (200, "application/octet-stream")

    def test_name_of_a_download_cannot_be_changed(self, world: World) -> None:
        key = _stored(world)
        download = world.store().presign_download(key=key, filename="harmless.pdf", content_type=CONTENT_TYPE)

        response = world.send("GET", download.url.replace("harmless", "invoices"), download.headers, b"")

        assert response.status == 403

    def test_content_encoding_of_the_uploader_does_not_reach_downloads(self, world: World) -> None:
        key, upload = _start_upload(world)
        _put(world, upload, BODY, {"Content-Encoding": "gzip"})
        download = world.store().presign_download(key=key, filename="a.pdf", content_type=CONTENT_TYPE)

        response = world.send("GET", download.url, download.headers, b"")

        assert (response.status, response.body) == (200, BODY)
        assert response.headers.get("content-encoding", "identity") == "identity"

    def test_download_url_admits_no_upload_and_the_reverse(self, world: World) -> None:
        key, upload = _start_upload(world)
        download = world.store().presign_download(key=key, filename="a.pdf", content_type=CONTENT_TYPE)

        written = world.send("PUT", download.url, upload.headers, BODY)
        _put(world, upload)
        read = world.send("GET", upload.url, {}, b"")
        deleted = world.send("DELETE", upload.url, upload.headers, b"")

        assert (written.status, read.status, deleted.status) == (403, 403, 403)
        assert world.store().head(key) is not None

    def test_download_of_a_deleted_object_is_not_found(self, world: World) -> None:
        key = _stored(world)
        download = world.store().presign_download(key=key, filename="a.pdf", content_type=CONTENT_TYPE)
        world.store().delete(key)

        response = world.send("GET", download.url, download.headers, b"")

        assert response.status == 404
        assert world.store().head(key) is None

    def test_head_of_a_missing_object_is_none(self, world: World) -> None:
        assert world.store().head(object_key(uuid4())) is None

    def test_delete_can_be_repeated(self, world: World) -> None:
        key = _stored(world)

        world.store().delete(key)
        world.store().delete(key)

        assert world.store().head(key) is None


def _start_upload(world: World, *, with_digest: bool = True) -> tuple[str, PresignedRequest]:
    key = object_key(uuid4())
    sha256 = hashlib.sha256(BODY).hexdigest() if with_digest else None
    return key, world.store().presign_upload(key=key, size_bytes=len(BODY), content_type=CONTENT_TYPE, sha256=sha256)


def _put(
    world: World, upload: PresignedRequest, body: bytes = BODY, changed: Mapping[str, str] | None = None, *, without: str = ""
) -> StoreResponse:
    headers = {name: value for name, value in (upload.headers | dict(changed or {})).items() if name != without}
    return world.send(upload.method, upload.url, headers, body)


def _stored(world: World) -> str:
    key, upload = _start_upload(world)
    assert _put(world, upload).status == 200
    return key
