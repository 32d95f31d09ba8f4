"""Public files: their link works without credentials while the file is public."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx

from lambda_app.core import clock
from lambda_app.factory import Services
from lambda_app.models import File, FileStatus
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.services.files.files import READER_DOWNLOAD_URL_TTL_SECONDS
from tests.support.accounts import Account, make_file, start_upload
from tests.support.gateway import GatewayTransport, payload_v1
from tests.support.loopback import loopback_client
from tests.support.problems import assert_problem, assert_unauthenticated

FILES = "/api/v1/files"


def set_status(services: Services, file: dict[str, Any], status: FileStatus) -> None:
    with services.unit_of_work() as session:
        session.query(File).filter(File.id == file["id"]).update({"status": status})


def test_public_link_redirects_to_a_url_that_is_valid_for_a_minute(client: httpx.Client, owner: Account) -> None:
    file = make_file(client, owner, b"hello", is_public=True)
    assert file["public_path"] == f"/p/{file['id']}"

    response = client.get(file["public_path"])

    assert (response.status_code, response.content, response.headers["cache-control"]) == (302, b"", "no-store")
    query = parse_qs(urlsplit(response.headers["location"]).query)
    assert int(query["X-Amz-Expires"][0]) <= READER_DOWNLOAD_URL_TTL_SECONDS == 60
    with loopback_client() as s3:
        fetched = s3.get(response.headers["location"])
        assert s3.head(response.headers["location"]).status_code == 403
    assert fetched.content == b"hello"
    assert fetched.headers["content-disposition"].startswith("attachment;")


def test_head_of_a_public_link_redirects_to_a_url_for_head_only(client: httpx.Client, owner: Account) -> None:
    file = make_file(client, owner, b"hello", is_public=True)

    response = client.head(file["public_path"])

    assert response.status_code == 302
    with loopback_client() as s3:
        head = s3.head(response.headers["location"])
        assert (head.status_code, head.headers["content-length"]) == (200, "5")
        assert s3.get(response.headers["location"]).status_code == 403


def test_active_content_is_served_as_octet_stream(client: httpx.Client, owner: Account) -> None:
    file = make_file(client, owner, b"<svg onload='alert(1)'/>", is_public=True, content_type="image/svg+xml", filename="a.svg")

    with loopback_client() as s3:
        fetched = s3.get(client.get(file["public_path"]).headers["location"])

    assert fetched.headers["content-type"] == "application/octet-stream"


def test_public_link_works_only_while_the_file_is_public(client: httpx.Client, services: Services, owner: Account) -> None:
    file = make_file(client, owner, is_public=True)
    path = file["public_path"]

    private = client.put(f"{FILES}/{file['id']}", json={"is_public": False}, headers=owner.headers).json()
    assert private["public_path"] is None
    assert_problem(client.get(path), 404, "file_not_found")
    assert_unauthenticated(client.get(f"{FILES}/download/{file['id']}"))
    client.put(f"{FILES}/{file['id']}", json={"is_public": True}, headers=owner.headers)
    assert client.get(path).status_code == 302
    for status in FileStatus:
        if status is not FileStatus.AVAILABLE:
            set_status(services, file, status)
            assert_problem(client.get(path), 404, "file_not_found")
    set_status(services, file, FileStatus.AVAILABLE)
    client.delete(f"{FILES}/{file['id']}", headers=owner.headers)
    assert_problem(client.get(path), 404, "file_not_found")


def test_private_and_missing_files_return_the_same_response(client: httpx.Client, owner: Account) -> None:
    private = make_file(client, owner)["id"]
    pending = start_upload(client, owner, is_public=True)["file_id"]
    observed = []
    for name in (private, pending, str(uuid4()), "x", "%20", "x" * 3000, private.upper() + "0"):
        for headers in ({}, owner.headers):
            for method in ("GET", "HEAD"):
                response = client.request(method, f"/p/{name}", headers=headers)
                assert response.status_code == 404
                headers_without_id = {key: value for key, value in response.headers.items() if key != "x-request-id"}
                observed.append((headers_without_id, response.json() | {"request_id": None}))

    assert all(one == observed[0] for one in observed)


def test_host_header_does_not_change_the_redirect(client: httpx.Client, owner: Account) -> None:
    file = make_file(client, owner, is_public=True)

    response = client.get(file["public_path"], headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"})

    assert "evil" not in response.headers["location"]


def test_public_link_works_with_a_stage_path(handler: GatewayHandler, client: httpx.Client, owner: Account) -> None:
    file = make_file(client, owner, is_public=True)

    with httpx.Client(transport=GatewayTransport(handler, payload_v1), base_url="https://api.test") as staged:
        assert staged.get(file["public_path"]).status_code == 302


def test_other_users_can_download_public_files_but_not_change_them(
    client: httpx.Client, owner: Account, make_user: Callable[..., Account]
) -> None:
    file, other = make_file(client, owner, is_public=True), make_user()
    path = f"{FILES}/{file['id']}"

    assert client.get(f"{FILES}/download/{file['id']}", headers=other.headers).status_code == 200
    assert client.get(f"{FILES}/download/{file['id']}").status_code == 200
    expires_at = datetime.fromisoformat(client.get(f"{FILES}/download/{file['id']}").json()["expires_at"])
    assert expires_at > clock.now()
    assert_problem(client.put(path, json={"description": "x"}, headers=other.headers), 403, "file_forbidden")
    assert_problem(client.delete(path, headers=other.headers), 403, "file_forbidden")
    assert client.get(FILES, params={"shared": "with_me"}, headers=other.headers).json() == []
