"""Two cells, each with a database, a bucket and keys of its own, behind a directory: the walk passes, and a cell fails alone."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest
from pydantic import SecretStr

from lambda_app.application import create_app
from lambda_app.core.aws import AwsAccess, AwsCredentials
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.routers.http.gateway import GatewayHandler
from tests.e2e.deploy.walk import sign_in, walk
from tests.support.cells import DirectoryTransport
from tests.support.gateway import GatewayTransport
from tests.support.problems import assert_problem
from tests.support.s3 import running_object_store

pytestmark = pytest.mark.slow
NAMES = ("a", "b")


@pytest.fixture(scope="module")
def buckets() -> dict[str, str]:
    """The S3 endpoint of each cell, which its presigned URLs contain."""
    return {}


@pytest.fixture(scope="module")
def front(settings: Settings, make_migrated_database: Callable[[], str], buckets: dict[str, str]) -> Iterator[DirectoryTransport]:
    """The directory, and two cells behind it."""
    with ExitStack() as running:
        cells: dict[str, httpx.BaseTransport] = {}
        for name in NAMES:
            store = running.enter_context(running_object_store())
            changed = settings.model_copy(
                update={
                    "database_url": SecretStr(make_migrated_database()),
                    "secret_key": SecretStr(secrets.token_urlsafe(48)),
                    "s3_bucket_name": store.bucket,
                    "aws_endpoint_url": store.endpoint_url,
                }
            )
            credentials = AwsCredentials(store.access_key_id, store.secret_access_key)
            services = Services.build(changed, AwsAccess(changed, credentials))
            running.callback(services.engine.dispose)
            cells[name] = GatewayTransport(GatewayHandler(create_app(changed, services)))
            buckets[name] = store.endpoint_url
        yield DirectoryTransport(cells)


@pytest.fixture
def clients(front: DirectoryTransport) -> Iterator[dict[str, httpx.Client]]:
    """A signed-in owner in each cell. New owners are spread over the cells."""
    with ExitStack() as opened:
        made: dict[str, httpx.Client] = {}
        while len(made) < len(NAMES):
            client = opened.enter_context(httpx.Client(transport=front, base_url="https://files.test"))
            sign_in(client, f"owner-{secrets.token_hex(4)}@example.com")
            made[front.served[-1]] = client
        yield made


def upload(client: httpx.Client, content: bytes, **fields: object) -> str:
    declared = {"filename": "a.txt", "content_type": "text/plain", "size_bytes": len(content), **fields}
    signed = client.post("/api/v1/files/upload", json=declared).json()
    with httpx.Client(trust_env=False) as s3:
        assert s3.request(signed["method"], signed["upload_url"], headers=signed["headers"], content=content).is_success
    assert client.post(f"/api/v1/files/{signed['file_id']}/complete").is_success
    return str(signed["file_id"])


def test_walk_passes_for_owners_of_both_cells(front: DirectoryTransport, buckets: dict[str, str]) -> None:
    seen: set[str] = set()
    while seen != set(NAMES):
        with httpx.Client(transport=front, base_url="https://files.test") as client:
            # The walk registers an owner, whose cell it does not know.
            walk(client, bucket="we-upload")
            seen.add(front.served[-1])
            assert len(set(front.served[-4:])) == 1
    assert len(set(buckets.values())) == len(NAMES)


def test_each_cell_has_only_its_own_files(clients: dict[str, httpx.Client], buckets: dict[str, str]) -> None:
    files = {name: upload(client, name.encode()) for name, client in clients.items()}

    for name, other in (("a", "b"), ("b", "a")):
        assert [file["id"] for file in clients[name].get("/api/v1/files").json()] == [files[name]]
        assert_problem(clients[name].get(f"/api/v1/files/{files[other]}"), 404, "file_not_found")
        url = clients[name].get(f"/api/v1/files/download/{files[name]}").json()["download_url"]
        assert url.startswith(buckets[name])


def test_links_and_public_files_of_both_cells_open_at_one_address(front: DirectoryTransport, clients: dict[str, httpx.Client]) -> None:
    with httpx.Client(transport=front, base_url="https://files.test") as visitor:
        for name, client in clients.items():
            file_id = upload(client, name.encode(), is_public=True)
            link = client.post("/api/v1/shares", json={"file_ids": [file_id]}).json()["url"]

            assert [file["id"] for file in visitor.get(link).json()["files"]] == [file_id]
            location = visitor.get(f"/p/{file_id}").headers["location"]
            assert httpx.get(location, trust_env=False).text == name
        assert_problem(visitor.get("/s/unknown"), 404, "link_not_found")


def test_token_of_one_cell_is_refused_by_the_other(front: DirectoryTransport, clients: dict[str, httpx.Client]) -> None:
    request = httpx.Request("GET", "https://files.test/api/v1/users/me", headers=clients["a"].headers)

    response = front.cells["b"].handle_request(request)

    response.read()
    assert_problem(response, 401, "not_authenticated")


def test_cell_that_fails_does_not_affect_the_owners_of_the_other(front: DirectoryTransport, clients: dict[str, httpx.Client]) -> None:
    front.unavailable = {"b"}
    try:
        assert clients["b"].get("/api/v1/files").status_code == 503
        assert upload(clients["a"], b"still here")
    finally:
        front.unavailable = set()
    assert clients["b"].get("/api/v1/files").status_code == 200


def test_address_belongs_to_one_cell(front: DirectoryTransport) -> None:
    body = {"email": f"twice-{secrets.token_hex(4)}@example.com", "password": "a long enough password"}
    with httpx.Client(transport=front, base_url="https://files.test") as client:
        first, second = (client.post("/api/v1/users/", json=body) for _ in range(2))

    assert (first.status_code, second.status_code) == (201, 409)
    assert front.served[-1] == front.served[-2]
