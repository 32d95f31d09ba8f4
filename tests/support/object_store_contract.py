"""The contract of object stores: one suite that runs against the fake and against S3 implementations."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol
from uuid import uuid4

import pytest

from lambda_app.core import clock
from lambda_app.core.errors import UnavailableError
from lambda_app.storage.keys import ARCHIVE_PREFIX, KEY_PREFIX, REQUEST_PREFIX, archive_key, archive_request_key, object_key
from lambda_app.storage.object_store import MultipartResult, ObjectStore, PresignedRequest, StoredObject, StoredPart
from tests.support.object_store import StoreResponse

BODY = b"%PDF-1.7 not really\n\x00\xff"
CONTENT_TYPE = "application/pdf"
PARTS = (b"\0\0\0\x18ftypmp42" + b"v" * (5 * 1024**2), b"the rest")
UNSIGNED_AMZ_HEADERS = {
    "x-amz-acl": "public-read",
    "x-amz-copy-source": "/bucket/key",
    "x-amz-meta-a": "b",
    "x-amz-object-lock-legal-hold": "ON",
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-storage-class": "GLACIER",
    "x-amz-tagging": "GuardDutyMalwareScanStatus=NO_THREATS_FOUND",
    "x-amz-website-redirect-location": "https://example.org/",
}
"""Headers of an upload that change how S3 stores or serves the object."""


class World(Protocol):
    """A store, its clients and its clock."""

    demands_signatures: bool
    """Whether the store refuses requests without a signature; all stores refuse wrong signatures."""
    checks_parts: bool
    """Whether the store enforces S3's rules for parts: order, entity tags, and at least 5 MiB except for the last part."""
    pages_uploads: bool
    """Whether a listing of multipart uploads starts after the given key."""
    checks_size: bool
    """Whether the store compares the size of the object with the one in the completion request."""

    def store(self, *, lifetime_seconds: int = 900) -> ObjectStore:
        """Return the store, with this lifetime of its presigned URLs."""
        ...

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> StoreResponse:
        """Send a request as a client."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait, or advance the clock."""
        ...


class ObjectStoreContract:
    """Subclass it as `Test…` in a module with a fixture `world`."""

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

    def test_every_signed_header_must_be_sent(self, world: World) -> None:
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

    def test_url_for_one_key_does_not_allow_another(self, world: World) -> None:
        key, upload = _start_upload(world)
        other = object_key(uuid4())

        response = world.send("PUT", upload.url.replace(key, other), upload.headers, BODY)

        assert response.status == 403
        assert world.store().head(other) is None

    def test_tampered_query_is_refused(self, world: World) -> None:
        key, upload = _start_upload(world)
        stamp = next(text for text in upload.url.replace("&", "?").split("?") if "xpires=" in text)
        tampered = [
            upload.url.replace(stamp, stamp + "0"),
            upload.url + "&x-amz-acl=public-read",
            upload.url[:-1] + ("0" if upload.url[-1] != "0" else "1"),
        ]
        if world.demands_signatures:
            tampered.append(upload.url.partition("?")[0])

        statuses = {url: world.send("PUT", url, upload.headers, BODY).status for url in tampered}

        assert statuses == dict.fromkeys(tampered, 403)
        assert world.store().head(key) is None

    def test_upload_url_expires_at_its_stated_time(self, world: World) -> None:
        key = object_key(uuid4())
        upload = world.store(lifetime_seconds=1).presign_upload(key=key, size_bytes=len(BODY), content_type=CONTENT_TYPE, sha256=None)
        world.wait((upload.expires_at - clock.now()).total_seconds() + 1.0)

        response = _put(world, upload)

        assert response.status == 403
        assert world.store().head(key) is None

    def test_download_url_expires_at_its_stated_time(self, world: World) -> None:
        key = _stored(world)
        download = world.store(lifetime_seconds=1).presign_download(key=key, filename="a.pdf", content_type=CONTENT_TYPE)
        world.wait((download.expires_at - clock.now()).total_seconds() + 1.0)

        response = world.send("GET", download.url, download.headers, b"")

        assert response.status == 403

    def test_download_returns_the_bytes_with_file_name_and_content_type(self, world: World) -> None:
        key = _stored(world)
        download = world.store().presign_download(key=key, filename='"Müller" 📦; 100%.pdf', content_type=CONTENT_TYPE)

        response = world.send(download.method, download.url, download.headers, b"")

        assert (response.status, response.body) == (200, BODY)
        assert response.headers["content-type"] == CONTENT_TYPE
        assert response.headers["content-disposition"] == (
            "attachment; filename=\"_M_ller_ _; 100_.pdf\"; filename*=UTF-8''%22M%C3%BCller%22%20%F0%9F%93%A6%3B%20100%25.pdf"
        )

    def test_inline_request_is_shown_with_exactly_the_signed_type(self, world: World) -> None:
        shown = world.store().presign_inline(key=_stored(world), filename="a.html", content_type="text/plain; charset=utf-8")

        response = world.send(shown.method, shown.url, shown.headers, b"")
        as_markup = world.send(shown.method, shown.url.replace("text%2Fplain", "text%2Fhtml"), shown.headers, b"")

        assert (response.status, response.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        assert response.headers["content-disposition"].startswith("inline; ")
        assert as_markup.status == 403

    def test_active_content_is_served_as_bytes(self, world: World) -> None:
        key = _stored(world)
        download = world.store().presign_download(key=key, filename="a.html", content_type="text/html")

        response = world.send("GET", download.url, download.headers, b"")

        assert (response.status, response.headers["content-type"]) == (200, "application/octet-stream")

    def test_url_signed_for_head_returns_no_bytes(self, world: World) -> None:
        key = _stored(world)
        look = world.store().presign_download(key=key, filename="a.pdf", content_type=CONTENT_TYPE, method="HEAD")

        looked = world.send(look.method, look.url, look.headers, b"")
        read = world.send("GET", look.url, look.headers, b"")

        assert (looked.status, looked.body) == (200, b"")
        assert looked.headers["content-type"] == CONTENT_TYPE
        assert read.status == 403
        assert BODY not in read.body

    @pytest.mark.parametrize(("requested", "expected"), [(60, 60), (None, 900), (100_000, 900)])
    def test_download_url_lifetime_is_the_requested_one_up_to_the_default(self, world: World, requested: int | None, expected: int) -> None:
        before = clock.now().replace(microsecond=0)
        download = world.store().presign_download(
            key=object_key(uuid4()), filename="a.pdf", content_type=CONTENT_TYPE, lifetime_seconds=requested
        )

        assert expected <= (download.expires_at - before).total_seconds() <= expected + 2

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

    def test_unsigned_metadata_of_the_uploader_does_not_reach_downloads(self, world: World) -> None:
        key, upload = _start_upload(world)
        unsigned = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "Expires": "Fri, 01 Jan 2100 00:00:00 GMT",
            "Content-Language": "tlh",
            "Content-Encoding": "gzip",
            "Content-Disposition": "inline",
        }
        assert _put(world, upload, BODY, unsigned).status == 200

        download = world.store().presign_download(key=key, filename="a.pdf", content_type=CONTENT_TYPE)
        headers = world.send("GET", download.url, download.headers, b"").headers

        assert headers["cache-control"] == "private, no-store"
        assert headers["expires"] == "Thu, 01 Jan 1970 00:00:00 GMT"
        assert headers["content-language"] == "und"
        assert headers.get("content-encoding", "identity") == "identity"
        assert headers["content-disposition"].startswith("attachment;")

    def test_caching_of_a_download_cannot_be_changed(self, world: World) -> None:
        key = _stored(world)
        download = world.store().presign_download(key=key, filename="a.pdf", content_type=CONTENT_TYPE)

        response = world.send("GET", download.url.replace("no-store", "immutable"), download.headers, b"")

        assert "immutable" in download.url.replace("no-store", "immutable")
        assert response.status == 403

    @pytest.mark.parametrize("header", UNSIGNED_AMZ_HEADERS)
    def test_unsigned_amz_header_is_refused(self, world: World, header: str) -> None:
        """S3: "There were headers present in the request which were not signed"."""
        key, upload = _start_upload(world)
        upload_key, upload_id = _start_parts(world)
        part = world.store().presign_part(key=upload_key, upload_id=upload_id, number=1, size_bytes=3, sha256=None)
        extra = {header: UNSIGNED_AMZ_HEADERS[header]}

        statuses = [_put(world, upload, BODY, extra).status, world.send("PUT", part.url, extra, b"123").status]

        assert statuses == [403, 403]
        assert world.store().head(key) is None
        assert world.store().list_parts(upload_key, upload_id) == []

    def test_download_url_allows_no_upload_and_upload_url_no_download(self, world: World) -> None:
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

    def test_many_objects_are_deleted_by_one_request(self, world: World) -> None:
        kept, keys = _stored(world), [_stored(world), _stored(world), object_key(uuid4())]

        refused = [world.store().delete_many(keys) for _ in range(2)]

        assert refused == [set(), set()]
        assert [world.store().head(key) is None for key in (kept, *keys)] == [False, True, True, True]

    def test_delete_can_be_repeated(self, world: World) -> None:
        key = _stored(world)

        world.store().delete(key)
        world.store().delete(key)

        assert world.store().head(key) is None

    # --- parts -------------------------------------------------------------------------------------------------------

    def test_multipart_upload_creates_the_whole_object(self, world: World) -> None:
        key, upload_id = _start_parts(world)
        for number, body in enumerate(PARTS, 1):
            assert _send_part(world, key, upload_id, number, body).status == 200

        parts = world.store().list_parts(key, upload_id)

        assert parts is not None
        assert [(part.number, part.size_bytes) for part in parts] == [(1, len(PARTS[0])), (2, len(PARTS[1]))]
        assert _join(world, key, upload_id, parts) is MultipartResult.COMPLETED
        stored = world.store().head(key)
        assert stored is not None
        assert (stored.size_bytes, stored.content_type, stored.sha256) == (sum(map(len, PARTS)), "video/mp4", None)
        download = world.store().presign_download(key=key, filename="a.mp4", content_type="video/mp4")
        assert world.send("GET", download.url, download.headers, b"").body == b"".join(PARTS)

    def test_completed_multipart_upload_is_unknown(self, world: World) -> None:
        key, upload_id, parts = _sent(world)
        _join(world, key, upload_id, parts)

        # S3 stores the result of a completion for a while and repeats it.
        assert _join(world, key, upload_id, parts) is not MultipartResult.PARTS_MISMATCH
        assert not world.store().list_parts(key, upload_id)
        world.store().abort_multipart(key, upload_id)
        assert world.store().head(key) is not None

    def test_aborted_upload_is_unknown_and_accepts_no_parts(self, world: World) -> None:
        key, upload_id, parts = _sent(world)
        assert world.store().has_multipart(key, upload_id)

        for _ in range(2):
            world.store().abort_multipart(key, upload_id)

        assert world.store().list_parts(key, upload_id) is None
        assert not world.store().has_multipart(key, upload_id)
        # The body fits into socket buffers, because a store may respond without reading a part that it refuses.
        assert _send_part(world, key, upload_id, 1, b"late").status == 404
        assert _join(world, key, upload_id, parts) is MultipartResult.UPLOAD_NOT_FOUND
        assert world.store().head(key) is None

    def test_multipart_upload_does_not_replace_an_existing_object(self, world: World) -> None:
        key, upload_id, parts = _sent(world)
        single = world.store().presign_upload(key=key, size_bytes=len(BODY), content_type=CONTENT_TYPE, sha256=None)
        _put(world, single)

        assert _join(world, key, upload_id, parts) is MultipartResult.KEY_EXISTS
        stored = world.store().head(key)
        assert stored is not None
        assert stored.size_bytes == len(BODY)

    def test_part_of_another_length_number_or_upload_is_refused(self, world: World) -> None:
        key, upload_id = _start_parts(world)
        signed = world.store().presign_part(key=key, upload_id=upload_id, number=1, size_bytes=3, sha256=None)

        statuses = [
            world.send("PUT", signed.url, {}, b"1234").status,
            world.send("PUT", signed.url, {}, b"12").status,
            world.send("PUT", signed.url.replace("partNumber=1", "partNumber=2"), {}, b"123").status,
            world.send("PUT", signed.url.replace("uploadId=", "uploadId=x"), {}, b"123").status,
        ]
        if world.demands_signatures:
            statuses.append(world.send("PUT", signed.url.partition("?")[0], {}, b"123").status)

        assert set(statuses) == {403}
        assert world.store().list_parts(key, upload_id) == []

    @pytest.mark.parametrize("content_type", [None, "application/x-www-form-urlencoded"])
    def test_content_type_of_a_part_is_advised_and_not_signed(self, world: World, content_type: str | None) -> None:
        key, upload_id = _start_parts(world)
        signed = world.store().presign_part(key=key, upload_id=upload_id, number=1, size_bytes=3, sha256=None)
        others = {name: value for name, value in signed.headers.items() if name != "Content-Type"}
        sent = others if content_type is None else {**others, "Content-Type": content_type}

        stored = world.send("PUT", signed.url, sent, b"abc").status

        assert signed.headers["Content-Type"] == "application/octet-stream"
        assert "content-type" not in signed.url.lower()
        assert stored == 200

    def test_part_uploaded_again_replaces_the_first(self, world: World) -> None:
        key, upload_id = _start_parts(world)
        for body in (b"abc", b"xyz"):
            assert _send_part(world, key, upload_id, 1, body).status == 200

        parts = world.store().list_parts(key, upload_id)

        assert parts is not None
        assert [part.size_bytes for part in parts] == [3]
        assert _join(world, key, upload_id, parts) is MultipartResult.COMPLETED
        assert world.store().read_start(key, 10) == b"xyz"

    def test_part_with_another_digest_is_refused(self, world: World) -> None:
        key, upload_id = _start_parts(world, with_digests=True)
        digest = hashlib.sha256(b"abc").hexdigest()
        signed = world.store().presign_part(key=key, upload_id=upload_id, number=1, size_bytes=3, sha256=digest)

        refused = world.send("PUT", signed.url, signed.headers, b"abd").status
        taken = world.send("PUT", signed.url, signed.headers, b"abc").status

        assert (refused, taken) == (400, 200)
        parts = world.store().list_parts(key, upload_id)
        assert parts is not None
        assert [part.sha256 for part in parts] == [digest]
        assert _join(world, key, upload_id, parts) is MultipartResult.COMPLETED
        stored = world.store().head(key)
        assert stored is not None
        assert stored.sha256 is None

    def test_upload_with_different_parts_is_not_completed(self, world: World) -> None:
        if not world.checks_parts:
            pytest.skip("this emulator does not validate the list of parts")
        key, upload_id, parts = _sent(world)

        ends = [
            _join(world, key, upload_id, parts[::-1]),
            _join(world, key, upload_id, [replace(parts[0], etag="0" * 32), parts[1]]),
            _join(world, key, upload_id, [*parts, StoredPart(3, 1, "0" * 32)]),
        ]

        assert ends == [MultipartResult.PARTS_MISMATCH] * 3
        assert world.store().head(key) is None

    def test_upload_with_another_total_size_is_not_completed(self, world: World) -> None:
        if not world.checks_size:
            pytest.skip("this emulator does not validate the total size")
        key, upload_id, parts = _sent(world)

        assert world.store().complete_multipart(key=key, upload_id=upload_id, parts=parts, size_bytes=1) is MultipartResult.PARTS_MISMATCH

    def test_upload_with_a_small_part_before_the_last_is_not_completed(self, world: World) -> None:
        if not world.checks_parts:
            pytest.skip("this emulator does not validate the size of parts")
        key, upload_id = _start_parts(world)
        for number in (1, 2):
            _send_part(world, key, upload_id, number, b"small")

        parts = world.store().list_parts(key, upload_id)

        assert parts is not None
        assert world.store().complete_multipart(key=key, upload_id=upload_id, parts=parts, size_bytes=10) is MultipartResult.PARTS_MISMATCH

    # --- listings and reads ------------------------------------------------------------------------------------------

    def test_objects_are_listed_in_key_order_after_a_key(self, world: World) -> None:
        keys = sorted(_stored(world) for _ in range(3))
        listed = []
        after = ""
        is_last = False
        while not is_last:
            page = world.store().list_objects(after_key=after, limit=2)
            assert len(page.objects) <= 2
            listed += [found for found in page.objects if found.key in keys]
            after, is_last = page.objects[-1].key, page.is_last

        assert [found.key for found in listed] == keys
        assert {found.size_bytes for found in listed} == {len(BODY)}
        assert all(abs((clock.now() - found.modified_at).total_seconds()) < 3600 for found in listed)
        assert [found.key for found in world.store().list_objects(after_key=keys[0], limit=1000).objects if found.key in keys] == keys[1:]

    def test_multipart_uploads_are_listed_until_they_end(self, world: World) -> None:
        started = sorted(_start_parts(world) for _ in range(3))
        ended_key, ended_id = started.pop()
        world.store().abort_multipart(ended_key, ended_id)

        listed = world.store().list_uploads(after_key="", limit=1000).uploads

        ours = [(upload.key, upload.upload_id) for upload in listed if upload.key in {ended_key, *(key for key, _ in started)}]
        assert ours == started
        if not world.pages_uploads:
            pytest.skip("this emulator always lists all uploads")
        behind = world.store().list_uploads(after_key=started[0][0], limit=1000).uploads
        assert started[0][0] not in {upload.key for upload in behind}
        assert started[1][0] in {upload.key for upload in behind}

    def test_start_of_an_object_can_be_read(self, world: World) -> None:
        key = _stored(world)
        empty = object_key(uuid4())
        _put(world, world.store().presign_upload(key=empty, size_bytes=0, content_type="text/plain", sha256=None), b"")

        assert world.store().read_start(key, 5) == BODY[:5]
        assert world.store().read_start(key, 10_000) == BODY
        assert world.store().read_start(empty, 10) == b""
        assert world.store().read_start(object_key(uuid4()), 10) == b""

    def test_small_object_is_read_with_its_metadata(self, world: World) -> None:
        key, upload = _start_upload(world)
        _put(world, upload)
        empty = object_key(uuid4())
        _put(world, world.store().presign_upload(key=empty, size_bytes=0, content_type="text/plain", sha256=None), b"")
        store = world.store()

        assert store.read_small(key, len(BODY)) == (store.head(key), BODY)
        assert store.read_small(key, len(BODY) - 1) == (store.head(key), b"")
        assert store.read_small(empty, 10) == (store.head(empty), b"")
        assert store.read_small(object_key(uuid4()), 10) is None

    # --- reads and writes of the server ------------------------------------------------------------------------------

    def test_parts_sent_by_the_server_create_the_object(self, world: World) -> None:
        key = archive_key(uuid4())
        store = world.store()
        upload_id = store.start_multipart(key=key, content_type="application/zip", with_digests=True)

        sent = [store.send_part(key=key, upload_id=upload_id, number=n, body=bytearray(body)) for n, body in enumerate(PARTS, 1)]
        again = store.send_part(key=key, upload_id=upload_id, number=2, body=PARTS[1])
        parts = store.list_parts(key, upload_id)

        assert [*sent, again] == [True, True, True]
        assert parts is not None
        assert [part.sha256 for part in parts] == [hashlib.sha256(body).hexdigest() for body in PARTS]
        assert _join(world, key, upload_id, parts) is MultipartResult.COMPLETED
        assert store.read_start(key, 10_000_000) == b"".join(PARTS)
        assert not store.send_part(key=key, upload_id=upload_id, number=1, body=b"x")

    def test_object_is_read_in_pieces_from_any_offset(self, world: World) -> None:
        key = _stored(world)
        store = world.store()

        for offset in (0, 7):
            source = store.open(key, offset=offset)
            assert source is not None
            first, rest = bytearray(5), bytearray(len(BODY) - offset - 5)
            source.read_into(memoryview(first))
            source.read_into(memoryview(rest))
            assert bytes(first + rest) == BODY[offset:]
            with pytest.raises(UnavailableError):
                source.read_into(memoryview(bytearray(1)))
            source.close()

        assert store.open(object_key(uuid4()), offset=0) is None

    def test_marker_can_be_put_repeatedly(self, world: World) -> None:
        key = archive_request_key(uuid4())

        for _ in range(2):
            world.store().put_marker(key)

        stored = world.store().head(key)
        assert stored is not None
        assert stored.size_bytes == 0

    def test_listings_return_only_their_prefix(self, world: World) -> None:
        file, archive, request = _stored(world), archive_key(uuid4()), archive_request_key(uuid4())
        store = world.store()
        store.put_marker(archive)
        store.put_marker(request)
        of_archive = store.start_multipart(key=archive, content_type="application/zip", with_digests=True)
        _, of_file = _start_parts(world)

        for prefix, key in ((KEY_PREFIX, file), (ARCHIVE_PREFIX, archive), (REQUEST_PREFIX, request)):
            keys = {found.key for found in store.list_objects(after_key="", limit=1000, prefix=prefix).objects}
            assert key in keys
            assert all(found.startswith(prefix) for found in keys)
        for prefix, upload_id in ((KEY_PREFIX, of_file), (ARCHIVE_PREFIX, of_archive)):
            uploads = store.list_uploads(after_key="", limit=1000, prefix=prefix).uploads
            assert upload_id in {upload.upload_id for upload in uploads}
            assert all(upload.key.startswith(prefix) for upload in uploads)


def _start_parts(world: World, *, with_digests: bool = False) -> tuple[str, str]:
    key = object_key(uuid4())
    return key, world.store().start_multipart(key=key, content_type="video/mp4", with_digests=with_digests)


def _send_part(world: World, key: str, upload_id: str, number: int, body: bytes) -> StoreResponse:
    signed = world.store().presign_part(key=key, upload_id=upload_id, number=number, size_bytes=len(body), sha256=None)
    return world.send(signed.method, signed.url, signed.headers, body)


def _sent(world: World) -> tuple[str, str, list[StoredPart]]:
    key, upload_id = _start_parts(world)
    for number, body in enumerate(PARTS, 1):
        _send_part(world, key, upload_id, number, body)
    parts = world.store().list_parts(key, upload_id)
    assert parts is not None
    return key, upload_id, parts


def _join(world: World, key: str, upload_id: str, parts: list[StoredPart]) -> MultipartResult:
    size_bytes = sum(part.size_bytes for part in parts)
    return world.store().complete_multipart(key=key, upload_id=upload_id, parts=parts, size_bytes=size_bytes)


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
