"""The API, the event handler and the sweep with an S3 that fails every fifth call: no acknowledged change is lost."""

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from infra.local.object_store import ObjectStoreServer
from lambda_app.application import create_app
from lambda_app.core import aws
from lambda_app.core.settings import Settings
from lambda_app.db import migrations
from lambda_app.factory import Services
from lambda_app.handlers.object_created import complete_uploads
from lambda_app.models import File
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.services.files.sweep import SweepReport
from lambda_app.storage.keys import object_key
from tests.support.accounts import Account, make_account
from tests.support.faulty_s3 import Fault, FaultyS3
from tests.support.gateway import GatewayTransport
from tests.support.lifecycle import Result
from tests.support.problems import assert_problem
from tests.support.quota_assertions import assert_nothing_differs, assert_quota_is_exact
from tests.support.s3 import running_object_store
from tests.support.s3_events import batch, s3_message

pytestmark = pytest.mark.slow

FLOW_COUNT = int(os.environ.get("LIFECYCLE_FAULTS", "40"))
"""`make test-slow SIZE=full` takes 600."""
READ_TIMEOUT_SECONDS = 0.2
LATE_SECONDS = 0.3
ATTEMPTS_MAX_COUNT = 100
"""Attempts after which the test fails because an action does not succeed."""
FILES = "/api/v1/files"
GONE = "gone"


@pytest.fixture(scope="module")
def own_s3() -> Iterator[ObjectStoreServer]:
    """A separate emulator for this module, because the sweep lists the whole bucket."""
    with running_object_store() as store:
        yield store


@pytest.fixture(scope="module")
def own_database(settings: Settings, fresh_database: Callable[[], str]) -> str:
    url = fresh_database()
    built = Services.build(settings.model_copy(update={"database_url": SecretStr(url)}))
    migrations.upgrade(built.engine)
    built.engine.dispose()
    return url


@dataclass
class World:
    """An API with a faulty S3, and the same services with direct access to S3."""

    proxy: FaultyS3
    faulty: Services
    healthy: Services
    client: httpx.Client
    s3: httpx.Client
    """The clients' connection to S3."""
    rng: random.Random
    owner: Account
    expected: dict[UUID, set[str]] = field(default_factory=dict)
    """The possible final states of each file."""
    bodies: dict[UUID, bytes] = field(default_factory=dict)
    refused: int = 0
    """Number of 503 responses."""

    def sweep(self, services: Services) -> SweepReport:
        with services.unit_of_work() as session:
            return services.sweep(session).run(budget_seconds=600, orphan_min_age=timedelta(0))


@pytest.fixture(params=[1, aws.MAX_ATTEMPTS], ids=lambda attempts: f"{attempts}-attempts")
def world(
    request: pytest.FixtureRequest, settings: Settings, own_s3: ObjectStoreServer, own_database: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    seed = int(os.environ.get("LIFECYCLE_SEED", random.randrange(2**32)))
    print(f"LIFECYCLE_SEED={seed}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", own_s3.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", own_s3.secret_access_key)
    common = {"database_url": SecretStr(own_database), "s3_bucket_name": own_s3.bucket, "trash_retention_days": 7}
    healthy = Services.build(settings.model_copy(update={**common, "aws_endpoint_url": own_s3.endpoint_url}))
    healthy.aws.client("s3")
    monkeypatch.setattr(aws, "MAX_ATTEMPTS", request.param)
    monkeypatch.setattr(aws, "READ_TIMEOUT_SECONDS", READ_TIMEOUT_SECONDS)
    # botocore sleeps up to a second between attempts.
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _seconds: None))
    with FaultyS3(own_s3.endpoint_url, seed=seed, late_seconds=LATE_SECONDS) as proxy:
        own = settings.model_copy(update={**common, "aws_endpoint_url": proxy.endpoint_url})
        faulty = Services.build(own)
        assert faulty.aws.client("s3").meta.config.read_timeout == READ_TIMEOUT_SECONDS < LATE_SECONDS
        transport = GatewayTransport(GatewayHandler(create_app(own, faulty)))
        with httpx.Client(transport=transport, base_url="https://api.test") as client, httpx.Client(trust_env=False, timeout=5) as s3:
            yield World(proxy, faulty, healthy, client, s3, random.Random(seed), make_account(faulty))
        for services in (faulty, healthy):
            services.aws.client("s3").close()
            services.engine.dispose()


@dataclass
class Flow:
    """The actions of a client on one file. The client retries until an action succeeds, or gives up at the first failure."""

    world: World
    retries: bool
    file_id: UUID = field(default_factory=lambda: UUID(int=0))

    class GivenUpError(Exception):
        """The client has given up."""

    def request(self, method: str, path: str, *, statuses: tuple[int, ...] = (200, 201, 204), **parameters: Any) -> httpx.Response:
        """Send a request to the API. Every fault of S3 must result in a valid response."""
        headers = {**self.world.owner.headers, **parameters.pop("headers", {})}

        def once() -> httpx.Response | None:
            answer = self.world.client.request(method, f"{FILES}{path}", headers=headers, **parameters)
            if answer.status_code == 503:
                self.world.refused += 1
                assert_problem(answer, 503, "store_unavailable")
                return None
            assert answer.status_code in statuses, answer.text
            return answer

        return self.retry(once)

    def retry(self, once: Callable[[], Result | None]) -> Result:
        """Repeat `once` until it returns a result."""
        for _ in range(ATTEMPTS_MAX_COUNT):
            if (outcome := once()) is not None:
                return outcome
            if not self.retries:
                raise self.GivenUpError
        raise AssertionError("the action did not succeed")

    def start(self, kind: str, body: bytes, **declared: Any) -> dict[str, Any]:
        """Start an upload. With the idempotency key, all attempts create one file."""
        fields = {"filename": "a.txt", "content_type": "text/plain", "size_bytes": len(body), **declared}
        answer = self.request("POST", kind, json=fields, headers={"Idempotency-Key": str(uuid4())}).json()
        self.file_id = UUID(answer["file_id"])
        self.world.expected[self.file_id] = {GONE}
        self.world.bodies[self.file_id] = body
        return answer  # type: ignore[no-any-return]

    def change_to(self, state: str, act: Callable[[], Any]) -> None:
        """Perform an action that leads to `state`. Without a response, the previous states remain possible too."""
        self.world.expected[self.file_id] |= {state}
        act()
        self.world.expected[self.file_id] = {state}

    def put(self, request: dict[str, Any], body: bytes) -> None:
        """Send bytes to S3. When an earlier attempt has stored them, S3 responds with 412."""

        def once() -> int | None:
            try:
                answer = self.world.s3.request(request["method"], request["upload_url"], headers=request["headers"], content=body)
            except httpx.TransportError:
                return None
            if answer.status_code >= 500:
                return None
            assert answer.status_code in (200, 412), answer.text
            return answer.status_code

        self.retry(once)

    def complete(self, *statuses: int) -> None:
        self.request("POST", f"/{self.file_id}/complete", statuses=statuses or (200,))

    def delete(self, *, is_permanent: bool) -> None:
        query = "?permanent=true" if is_permanent else ""
        # When an earlier attempt has deleted the file without a response, the repeated request returns 404.
        self.request("DELETE", f"/{self.file_id}{query}", statuses=(204, 404) if is_permanent else (204,))


def single_upload(flow: Flow) -> None:
    body = flow.world.rng.randbytes(flow.world.rng.randrange(1, 3000))
    started = flow.start("/upload", body, content_type="application/octet-stream")
    flow.change_to("available", lambda: flow.put(started, body))
    flow.complete()


def upload_in_parts(flow: Flow) -> None:
    # One in five has two parts; one part is faster.
    length = 8 * 1024**2 + 7 if flow.world.rng.random() < 0.2 else 1000
    body = flow.world.rng.randbytes(length)
    started = flow.start("/multipart", body, content_type="application/octet-stream")
    send_parts(flow, started, body)
    flow.change_to("available", flow.complete)


def send_parts(flow: Flow, started: dict[str, Any], body: bytes) -> None:
    for number in range(1, started["part_count"] + 1):
        (part,) = flow.request("POST", f"/{flow.file_id}/parts", json={"parts": [{"number": number}]}).json()["parts"]
        at = (number - 1) * started["part_size_bytes"]
        flow.put(part, body[at : at + started["part_size_bytes"]])
    held = flow.request("GET", f"/{flow.file_id}/parts").json()["parts"]
    assert [part["number"] for part in held] == list(range(1, started["part_count"] + 1))


def upload_reported_by_s3(flow: Flow) -> None:
    started = flow.start("/upload", b"hello")
    flow.change_to("available", lambda: flow.put(started, b"hello"))
    event = batch(s3_message(object_key(flow.file_id), bucket=flow.world.faulty.settings.s3_bucket_name))
    flow.retry(lambda: True if complete_uploads(flow.world.faulty, event) == {"batchItemFailures": []} else None)
    assert flow.request("GET", f"/{flow.file_id}").json()["status"] == "available"


def upload_that_is_rejected(flow: Flow) -> None:
    """Presigned URLs do not allow this; the test writes the object with its own credentials."""
    flow.start("/upload", b"hello")
    bucket = flow.world.healthy.settings.s3_bucket_name
    flow.world.healthy.aws.call("s3", "put_object", Bucket=bucket, Key=object_key(flow.file_id), Body=b"another length")
    # If the client gives up before the verification, the sweep rejects the file.
    flow.world.expected[flow.file_id] = {"rejected"}
    flow.complete(409)


def aborted_upload_in_parts(flow: Flow) -> None:
    body = flow.world.rng.randbytes(500)
    send_parts(flow, flow.start("/multipart", body), body)
    flow.delete(is_permanent=True)


def deletion(flow: Flow) -> None:
    single_upload(flow)
    # Without a response, the deletion may have started; the sweep completes it.
    flow.change_to(GONE, lambda: flow.delete(is_permanent=True))


def trash_and_restore(flow: Flow) -> None:
    single_upload(flow)
    flow.change_to("trashed", lambda: flow.delete(is_permanent=False))
    flow.change_to("available", lambda: flow.request("POST", f"/{flow.file_id}/restore"))
    if flow.world.rng.random() < 0.5:
        flow.change_to("trashed", lambda: flow.delete(is_permanent=False))
        flow.change_to(GONE, lambda: flow.delete(is_permanent=True))


FLOWS = (
    single_upload,
    upload_in_parts,
    upload_reported_by_s3,
    upload_that_is_rejected,
    aborted_upload_in_parts,
    deletion,
    trash_and_restore,
)


def test_no_acknowledged_change_is_lost_when_s3_fails_every_fifth_call(world: World) -> None:
    given_up = 0
    for number in range(FLOW_COUNT // 2):
        flow = Flow(world, retries=world.rng.random() < 0.7)
        try:
            FLOWS[number % len(FLOWS)](flow)
        except Flow.GivenUpError:
            given_up += 1
        if number % 10 == 9:
            world.sweep(world.faulty)
            assert_quota_is_exact(world.healthy, [world.owner.id])
    # Delayed calls must end before the sweep starts.
    world.proxy.wait_for_delayed_calls()
    with world.healthy.unit_of_work() as session:
        # Simulates that a week has passed. The clock cannot be moved, because the emulator checks signatures with its own.
        session.execute(text("UPDATE file SET upload_expires_at = now() - interval '1 second' WHERE status = 'pending'"))
    first_report = world.sweep(world.faulty)
    world.proxy.wait_for_delayed_calls()
    world.proxy.is_healthy = True

    report = world.sweep(world.healthy)

    faults = world.proxy.faults
    print(
        f"{world.proxy.calls} calls, {faults.total()} failed, {world.refused} answers of 503, {given_up} gave up; {first_report}; {report}"
    )
    print({fault.name: count for fault, count in faults.items()})
    assert (report.failures, report.lost_objects, report.is_finished) == (0, 0, True)
    assert_nothing_differs(world.healthy, world.healthy.store, [world.owner.id])
    assert_nothing_acknowledged_is_lost(world)
    assert faults.total() >= 3


def test_completion_returns_503_on_any_fault_and_can_be_repeated(world: World) -> None:
    world.proxy.is_healthy = True
    for fault in Fault:
        flow = Flow(world, retries=True)
        send_parts(flow, flow.start("/multipart", b"hello"), b"hello")

        world.proxy.completion_fault = fault
        failed = world.client.post(f"{FILES}/{flow.file_id}/complete", headers=world.owner.headers)
        world.proxy.completion_fault = None

        assert_problem(failed, 503, "store_unavailable")
        flow.complete()
        assert flow.request("GET", f"/{flow.file_id}").json()["status"] == "available"


def assert_nothing_acknowledged_is_lost(world: World) -> None:
    with world.healthy.unit_of_work() as session:
        rows = {row.id: row for row in session.query(File).filter(File.owner_id == world.owner.id)}
    for file_id, states in world.expected.items():
        state = rows[file_id].status if file_id in rows else GONE
        assert state in states, file_id
        if state in ("available", "trashed"):
            body = world.bodies[file_id]
            assert world.healthy.store.read_start(object_key(file_id), len(body) + 1) == body
    assert set(rows) <= set(world.expected)
