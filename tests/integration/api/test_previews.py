"""Previews: from the upload of an image to the presigned URLs of its preview, with the worker of the local run."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import unescape
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # ships no type information

from infra.local.object_store import ObjectStoreServer
from infra.local.workers import consume_events, make_one_preview
from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.handlers.object_created import complete_uploads
from lambda_app.models import File, FilePreview, FileStatus
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.services.files.preview_requests import IMAGE_MAX_BYTES, is_previewable
from lambda_app.storage.keys import preview_keys, preview_request_key, preview_result_key
from tests.support import preview_samples as samples
from tests.support.accounts import Account, make_file
from tests.support.gateway import GatewayTransport
from tests.support.problems import assert_problem
from tests.support.s3_events import batch, s3_message
from tests.support.shares import BROWSER, make_share

FILES = "/api/v1/files"
PNG = {"filename": "photo.png", "content_type": "image/png"}
READY = b"""{"state": "ready", "width": 640, "height": 480, "small_size": [256, 192], "large_size": [640, 480],
    "duration_seconds": null, "page_count": null}"""


@pytest.fixture(scope="module")
def previewing(settings: Settings, services: Services) -> Services:
    """The services of an API with a preview worker."""
    return replace(services, settings=settings.model_copy(update={"previews_enabled": True}))


@pytest.fixture(scope="module")
def api(previewing: Services) -> Iterator[httpx.Client]:
    """A client of that API."""
    transport = GatewayTransport(GatewayHandler(create_app(previewing.settings, previewing)))
    with httpx.Client(transport=transport, base_url="https://api.test") as client:
        yield client


@pytest.fixture
def worker(s3_server: ObjectStoreServer) -> Callable[[], None]:
    """A function that makes the requested previews. The requests of other tests are removed first."""
    assert s3_server.previews is not None
    previews = s3_server.previews
    for queue in (previews.events, s3_server.events):
        assert queue is not None
        queue.sqs.purge_queue(QueueUrl=queue.url)

    def work() -> None:
        while make_one_preview(previews) == 0.0:
            pass

    return work


def preview_of(client: httpx.Client, file_id: str, account: Account | None) -> dict[str, Any]:
    response = client.get(f"{FILES}/{file_id}/preview", headers={} if account is None else account.headers)
    assert response.status_code == 200, response.text
    preview: dict[str, Any] = response.json()
    return preview


def report(services: Services, file_id: str, body: bytes = READY) -> None:
    """Store a result of the worker, and deliver its event."""
    key = preview_result_key(UUID(file_id))
    services.aws.call("s3", "put_object", Bucket=services.settings.s3_bucket_name, Key=key, Body=body)
    message = batch(s3_message(key, bucket=services.settings.s3_bucket_name))
    assert complete_uploads(services, message) == {"batchItemFailures": []}


def exists(services: Services, key: str) -> bool:
    return services.store.head(key) is not None


def put_images(services: Services, file_id: str) -> None:
    for key in preview_keys(UUID(file_id)):
        services.store.put_marker(key)


def test_uploaded_image_gets_a_preview(
    api: httpx.Client, previewing: Services, owner: Account, worker: Callable[[], None], s3_server: ObjectStoreServer
) -> None:
    assert s3_server.events is not None
    file = make_file(api, owner, samples.photo_with_location(), filename="photo.jpg", content_type="image/jpeg")
    assert preview_of(api, file["id"], owner) == {
        "state": "pending",
        "width": None,
        "height": None,
        "duration_seconds": None,
        "page_count": None,
        "small": None,
        "large": None,
        "expires_at": None,
    }

    worker()
    consume_events(previewing, s3_server.events)

    preview = preview_of(api, file["id"], owner)
    assert (preview["state"], preview["width"], preview["height"]) == ("ready", 480, 640)
    sizes = {name: (preview[name]["width"], preview[name]["height"]) for name in ("small", "large")}
    assert sizes == {"small": (192, 256), "large": (480, 640)}
    with httpx.Client(trust_env=False) as s3:
        small = s3.get(preview["small"]["url"])
    assert (small.status_code, small.headers["Content-Type"]) == (200, "image/webp")
    assert small.headers["Content-Disposition"].startswith("inline")
    assert b"SECRET" not in small.content
    assert not exists(previewing, preview_request_key(UUID(file["id"])))
    assert not exists(previewing, preview_result_key(UUID(file["id"])))
    (listed,) = api.post(f"{FILES}/previews", json={"file_ids": [file["id"]]}, headers=owner.headers).json()["results"]
    assert listed["preview"]["small"]["width"] == 192
    assert listed["preview"]["large"] is None


def test_broken_image_has_a_failed_preview_and_can_be_downloaded(
    api: httpx.Client, previewing: Services, owner: Account, worker: Callable[[], None], s3_server: ObjectStoreServer
) -> None:
    assert s3_server.events is not None
    file = make_file(api, owner, samples.png_header(100_000, 1), **PNG)

    worker()
    consume_events(previewing, s3_server.events)

    assert preview_of(api, file["id"], owner)["state"] == "failed"
    assert api.get(f"{FILES}/download/{file['id']}", headers=owner.headers).status_code == 200


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        pytest.param(b"hello", {"filename": "a.txt", "content_type": "text/plain"}, id="text"),
        pytest.param(b"<svg/>", {"filename": "a.svg", "content_type": "image/svg+xml"}, id="svg"),
        pytest.param(b"%PDF-1.7 hello", {"filename": "a.png", "content_type": "image/png"}, id="contradicting-type"),
        pytest.param(b"", {"filename": "a.png", "content_type": "image/png"}, id="empty"),
    ],
)
def test_other_file_has_no_preview(api: httpx.Client, owner: Account, body: bytes, fields: dict[str, str]) -> None:
    assert preview_of(api, make_file(api, owner, body, **fields)["id"], owner)["state"] == "none"


def test_server_without_a_worker_requests_no_preview(client: httpx.Client, services: Services, owner: Account) -> None:
    file = make_file(client, owner, samples.picture("PNG"), **PNG)

    assert preview_of(client, file["id"], owner)["state"] == "none"
    assert not exists(services, preview_request_key(UUID(file["id"])))


def test_preview_has_the_permissions_of_its_file(
    api: httpx.Client, previewing: Services, owner: Account, stranger: Account, admin: Account
) -> None:
    private = make_file(api, owner, samples.picture("PNG"), **PNG)["id"]
    public = make_file(api, owner, samples.picture("PNG"), is_public=True, **PNG)["id"]
    for file_id in (private, public):
        report(previewing, file_id)

    assert_problem(api.get(f"{FILES}/{private}/preview"), 401, "not_authenticated")
    assert_problem(api.get(f"{FILES}/{private}/preview", headers=stranger.headers), 403, "file_forbidden")
    assert_problem(api.get(f"{FILES}/{uuid4()}/preview", headers=stranger.headers), 404, "file_not_found")
    assert preview_of(api, private, admin)["state"] == "ready"
    assert preview_of(api, public, None)["state"] == "ready"
    results = api.post(f"{FILES}/previews", json={"file_ids": [private, public]}, headers=stranger.headers).json()["results"]
    assert [(result["error"] or {}).get("code") for result in results] == ["file_forbidden", None]
    # The URLs of readers are as short-lived as those of their downloads.
    assert "X-Amz-Expires=60&" in results[1]["preview"]["small"]["url"]
    assert "X-Amz-Expires=900&" in preview_of(api, private, owner)["small"]["url"]


def test_trashed_file_shows_its_preview_to_its_owner_only(api: httpx.Client, previewing: Services, owner: Account) -> None:
    file = make_file(api, owner, samples.picture("PNG"), is_public=True, **PNG)
    report(previewing, file["id"])
    with previewing.unit_of_work() as session:
        session.get_one(File, UUID(file["id"])).status = FileStatus.TRASHED

    assert preview_of(api, file["id"], owner)["state"] == "ready"
    assert_problem(api.get(f"{FILES}/{file['id']}/preview"), 401, "not_authenticated")


def shared_page(api: httpx.Client, previewing: Services, owner: Account, headers: dict[str, str] = BROWSER, **rules: Any) -> httpx.Response:
    """Open the page of a new link to an image with a preview and a text."""
    picture = make_file(api, owner, samples.picture("PNG"), **PNG)["id"]
    report(previewing, picture)
    share = make_share(api, owner, picture, make_file(api, owner)["id"], **rules)
    return api.get(share["url"], headers=headers)


def test_page_of_a_link_shows_small_previews_from_the_bucket_only(api: httpx.Client, previewing: Services, owner: Account) -> None:
    response = shared_page(api, previewing, owner)

    (image,) = re.findall('<img src="([^"]+)"', response.text)
    assert 'id="view-tiles" checked' in response.text
    assert "/small?" in image
    assert "X-Amz-Expires=300&" in unescape(image)
    assert "/large" not in response.text
    bucket = f"{previewing.settings.aws_endpoint_url}/{previewing.settings.s3_bucket_name}/"
    assert f" img-src {bucket};" in response.headers["Content-Security-Policy"]
    assert "script" not in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("rules", "agent"),
    [
        pytest.param({"allows_download": False}, None, id="listing-only"),
        pytest.param({"password": "a good password"}, None, id="password"),
        pytest.param({}, "Slackbot-LinkExpanding 1.0", id="robot"),
    ],
)
def test_page_shows_no_content_to_visitors_who_cannot_download(
    api: httpx.Client, previewing: Services, owner: Account, rules: dict[str, Any], agent: str | None
) -> None:
    headers = BROWSER if agent is None else {**BROWSER, "User-Agent": agent}

    response = shared_page(api, previewing, owner, headers, **rules)

    assert "<img" not in response.text
    assert "previews/" not in response.text


@pytest.mark.parametrize("in_batch", [False, True])
def test_deletion_of_a_file_deletes_its_preview(api: httpx.Client, previewing: Services, owner: Account, in_batch: bool) -> None:
    file = make_file(api, owner, samples.picture("PNG"), **PNG)
    put_images(previewing, file["id"])
    report(previewing, file["id"])

    if in_batch:
        response = api.post(f"{FILES}/purge", json={"file_ids": [file["id"]]}, headers=owner.headers)
        assert response.json()["results"][0]["status"] == "deleted"
    else:
        assert api.delete(f"{FILES}/{file['id']}?permanent=true", headers=owner.headers).status_code == 204

    assert not any(exists(previewing, key) for key in preview_keys(UUID(file["id"])))


def test_result_for_a_deleted_file_deletes_its_images(api: httpx.Client, previewing: Services, owner: Account) -> None:
    file = make_file(api, owner, samples.picture("PNG"), **PNG)
    assert api.delete(f"{FILES}/{file['id']}?permanent=true", headers=owner.headers).status_code == 204
    put_images(previewing, file["id"])

    report(previewing, file["id"])

    assert not any(exists(previewing, key) for key in preview_keys(UUID(file["id"])))


def test_repeated_result_changes_nothing(api: httpx.Client, previewing: Services, owner: Account) -> None:
    file = make_file(api, owner, samples.picture("PNG"), **PNG)
    put_images(previewing, file["id"])
    report(previewing, file["id"])

    report(previewing, file["id"], READY.replace(b"640", b"999"))

    assert preview_of(api, file["id"], owner)["width"] == 640
    assert all(exists(previewing, key) for key in preview_keys(UUID(file["id"])))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"nonsense", id="no-json"),
        pytest.param(READY.replace(b"640", b"-1"), id="negative"),
        pytest.param(READY.replace(b"640", b"1e400"), id="infinite"),
        pytest.param(READY.replace(b"256", b'"256"'), id="text"),
        pytest.param(READY.replace(b'"width"', b'"owner_id"'), id="other-column"),
        pytest.param(b'{"state": "failed", "reason": "DROP TABLE"}', id="reason"),
    ],
)
def test_invalid_result_is_a_failure(api: httpx.Client, previewing: Services, owner: Account, body: bytes) -> None:
    file = make_file(api, owner, samples.picture("PNG"), **PNG)

    report(previewing, file["id"], body)

    assert preview_of(api, file["id"], owner)["state"] == "failed"
    with previewing.unit_of_work() as session:
        assert session.get_one(FilePreview, UUID(file["id"])).reason == "invalid"


@pytest.mark.parametrize(
    ("fields", "shown_as"),
    [
        pytest.param({"filename": "a.png", "content_type": "image/png"}, "image/png", id="image"),
        pytest.param({"filename": "a.pdf", "content_type": "application/pdf"}, "application/pdf", id="pdf"),
        pytest.param({"filename": "a.mp4", "content_type": "video/mp4"}, "video/mp4", id="video"),
        pytest.param({"filename": "a.html", "content_type": "text/html"}, "text/plain; charset=utf-8", id="html"),
        pytest.param({"filename": "a.svg", "content_type": "image/svg+xml"}, "text/plain; charset=utf-8", id="svg"),
        pytest.param({"filename": "a.js", "content_type": "application/javascript"}, "text/plain; charset=utf-8", id="script"),
        pytest.param({"filename": "a.xhtml", "content_type": "application/xhtml+xml"}, "text/plain; charset=utf-8", id="xhtml"),
        pytest.param({"filename": "a.zip", "content_type": "application/zip"}, None, id="zip"),
        pytest.param({"filename": "a.bin", "content_type": "application/octet-stream"}, None, id="bytes"),
        pytest.param({"filename": "a.html", "content_type": "Text/HTML;charset=utf-7"}, "text/plain; charset=utf-8", id="parameters"),
    ],
)
def test_inline_download_has_a_type_that_is_never_executed(
    client: httpx.Client, owner: Account, fields: dict[str, str], shown_as: str | None
) -> None:
    file = make_file(client, owner, b"\0\1\2\3 some bytes", **fields)

    signed = client.get(f"{FILES}/download/{file['id']}", params={"disposition": "inline"}, headers=owner.headers).json()
    with httpx.Client(trust_env=False) as s3:
        response = s3.get(signed["download_url"])

    disposition = "attachment" if shown_as is None else "inline"
    assert (signed["disposition"], response.headers["Content-Disposition"].partition(";")[0]) == (disposition, disposition)
    assert response.headers["Content-Type"] == signed["content_type"] == (shown_as or signed["content_type"])


def test_bytes_that_contradict_their_type_are_not_shown_inline(client: httpx.Client, owner: Account) -> None:
    file = make_file(client, owner, samples.picture("PNG"), filename="a.pdf", content_type="application/pdf")

    signed = client.get(f"{FILES}/download/{file['id']}", params={"disposition": "inline"}, headers=owner.headers).json()

    assert (signed["disposition"], signed["content_type"]) == ("attachment", "application/octet-stream")


def test_inline_video_of_another_user_can_be_played_for_longer_than_a_download(
    client: httpx.Client, owner: Account, stranger: Account
) -> None:
    video = make_file(client, owner, b"video", filename="a.mp4", content_type="video/mp4", is_public=True)["id"]
    text = make_file(client, owner, b"text", is_public=True)["id"]

    urls = [
        client.get(f"{FILES}/download/{file_id}", params={"disposition": "inline"}, headers=stranger.headers).json()["download_url"]
        for file_id in (video, text)
    ]

    assert ["X-Amz-Expires=900&" in url for url in urls] == [True, False]


def test_file_that_a_scan_withholds_is_neither_shown_nor_previewed(api: httpx.Client, previewing: Services, owner: Account) -> None:
    file = make_file(api, owner, samples.picture("PNG"), **PNG)
    report(previewing, file["id"])
    share = make_share(api, owner, file["id"])
    with previewing.unit_of_work() as session:
        row = session.get_one(File, UUID(file["id"]))
        row.scan_status, row.is_withheld = "infected", True

    inline = api.get(f"{FILES}/download/{file['id']}", params={"disposition": "inline"}, headers=owner.headers)

    assert_problem(inline, 403, "file_infected")
    assert preview_of(api, file["id"], owner)["small"] is None
    assert "<img" not in api.get(share["url"], headers=BROWSER).text


def test_mode_of_the_download_is_checked(client: httpx.Client, owner: Account) -> None:
    assert_problem(
        client.get(f"{FILES}/download/{uuid4()}", params={"disposition": "execute"}, headers=owner.headers), 422, "malformed_request"
    )


def test_image_larger_than_the_worker_reads_is_not_requested(previewing: Services) -> None:
    def file(**fields: Any) -> File:
        return File(**{"filename": "a.png", "content_type": "image/png", "size_bytes": 1, "detected_content_type": None, **fields})

    assert is_previewable(file())
    assert is_previewable(file(filename="a.HEIC", content_type="application/octet-stream"))
    assert is_previewable(file(content_type="video/mp4", size_bytes=10 * IMAGE_MAX_BYTES))
    assert not is_previewable(file(size_bytes=IMAGE_MAX_BYTES + 1))


def test_key_of_the_worker_allows_only_what_it_needs(s3_server: ObjectStoreServer, client: httpx.Client, owner: Account) -> None:
    assert s3_server.previews is not None
    s3, bucket = s3_server.previews.store.s3, s3_server.bucket
    key = f"uploads/{make_file(client, owner)['id']}"

    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"hello"
    attempts: tuple[Callable[[], Any], ...] = (
        lambda: s3.list_objects_v2(Bucket=bucket),
        lambda: s3.put_object(Bucket=bucket, Key=key, Body=b"x"),
        lambda: s3.delete_object(Bucket=bucket, Key=key),
        lambda: s3.get_object(Bucket=bucket, Key=f"archives/{uuid4()}"),
    )
    for attempt in attempts:
        with pytest.raises(ClientError, match="AccessDenied"):
            attempt()
