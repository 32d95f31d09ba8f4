"""The running API, the event handler and the sweep, on an S3 that fails one call in five: nothing that was acknowledged is lost."""

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
from lambda_app.handlers.object_created import take_batch
from lambda_app.models import File
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.services.files.sweep import SweepReport
from lambda_app.storage.keys import object_key
from tests.support.accounts import Account, make_account
from tests.support.faulty_s3 import Fault, FaultyS3
from tests.support.gateway import GatewayTransport
from tests.support.lifecycle import Answer
from tests.support.problems import assert_problem
from tests.support.quota_assertions import assert_nothing_differs, assert_quota_is_exact
from tests.support.s3 import running_object_store
from tests.support.s3_events import batch, notification

pytestmark = pytest.mark.slow

LIVES = int(os.environ.get("LIFECYCLE_FAULTS", "40"))
"""`make test-slow SIZE=full` takes 600."""
READ_TIMEOUT_SECONDS = 0.2
LATE_SECONDS = 0.3
PATIENCE = 100
"""Attempts after which a caller who does not give up says that an action never ends."""
FILES = "/api/v1/files"
GONE = "gone"


@pytest.fixture(scope="module")
def own_s3() -> Iterator[ObjectStoreServer]:
    """An emulator of this module's own: the sweep goes through its whole bucket."""
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
    """An API whose S3 fails, and the same services on the S3 behind it."""

    proxy: FaultyS3
    shaky: Services
    sound: Services
    client: httpx.Client
    s3: httpx.Client
    """What callers reach S3 with."""
    dice: random.Random
    owner: Account
    expected: dict[UUID, set[str]] = field(default_factory=dict)
    """What each file may be in the end."""
    bodies: dict[UUID, bytes] = field(default_factory=dict)
    refused: int = 0
    """Answers of 503."""

    def sweep(self, services: Services) -> SweepReport:
        with services.unit_of_work() as session:
            return services.sweep(session).run(budget_seconds=600, stray_min_age=timedelta(0))


@pytest.fixture(params=[1, aws.ATTEMPTS], ids=lambda attempts: f"{attempts}-attempts")
def world(
    request: pytest.FixtureRequest, settings: Settings, own_s3: ObjectStoreServer, own_database: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    seed = int(os.environ.get("LIFECYCLE_SEED", random.randrange(2**32)))
    print(f"LIFECYCLE_SEED={seed}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", own_s3.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", own_s3.secret_access_key)
    common = {"database_url": SecretStr(own_database), "s3_bucket_name": own_s3.bucket, "trash_retention_days": 7}
    sound = Services.build(settings.model_copy(update={**common, "aws_endpoint_url": own_s3.endpoint_url}))
    sound.aws.client("s3")
    monkeypatch.setattr(aws, "ATTEMPTS", request.param)
    monkeypatch.setattr(aws, "READ_TIMEOUT_SECONDS", READ_TIMEOUT_SECONDS)
    # Between two attempts botocore sleeps up to a second.
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _seconds: None))
    with FaultyS3(own_s3.endpoint_url, seed=seed, late_seconds=LATE_SECONDS) as proxy:
        own = settings.model_copy(update={**common, "aws_endpoint_url": proxy.endpoint_url})
        shaky = Services.build(own)
        assert shaky.aws.client("s3").meta.config.read_timeout == READ_TIMEOUT_SECONDS < LATE_SECONDS
        transport = GatewayTransport(GatewayHandler(create_app(own, shaky)))
        with httpx.Client(transport=transport, base_url="https://api.test") as client, httpx.Client(trust_env=False, timeout=5) as s3:
            yield World(proxy, shaky, sound, client, s3, random.Random(seed), make_account(client, shaky))
        for services in (shaky, sound):
            services.aws.client("s3").close()
            services.engine.dispose()


@dataclass
class Errand:
    """One file and its caller, who tries again until it is done, or gives up at the first failure."""

    world: World
    is_patient: bool
    file_id: UUID = field(default_factory=lambda: UUID(int=0))

    class GivenUpError(Exception):
        """The caller went away."""

    def ask(self, method: str, path: str, *, statuses: tuple[int, ...] = (200, 201, 204), **parameters: Any) -> httpx.Response:
        """Ask the API. Whatever S3 does, the answer is a proper one."""
        headers = {**self.world.owner.headers, **parameters.pop("headers", {})}

        def once() -> httpx.Response | None:
            answer = self.world.client.request(method, f"{FILES}{path}", headers=headers, **parameters)
            if answer.status_code == 503:
                self.world.refused += 1
                assert_problem(answer, 503, "unavailable")
                return None
            assert answer.status_code in statuses, answer.text
            return answer

        return self.insist(once)

    def insist(self, once: Callable[[], Answer | None]) -> Answer:
        """Do it until it is done."""
        for _ in range(PATIENCE):
            if (outcome := once()) is not None:
                return outcome
            if not self.is_patient:
                raise self.GivenUpError
        raise AssertionError("an interrupted action does not end")

    def start(self, kind: str, body: bytes, **declared: Any) -> dict[str, Any]:
        """Start an upload. Its key makes one file of all attempts."""
        fields = {"filename": "a.txt", "content_type": "text/plain", "size_bytes": len(body), **declared}
        answer = self.ask("POST", kind, json=fields, headers={"Idempotency-Key": str(uuid4())}).json()
        self.file_id = UUID(answer["file_id"])
        self.world.expected[self.file_id] = {GONE}
        self.world.bodies[self.file_id] = body
        return answer  # type: ignore[no-any-return]

    def lead_to(self, state: str, act: Callable[[], Any]) -> None:
        """Do what leads to a state: certainly once it is answered, perhaps when it is not."""
        self.world.expected[self.file_id] |= {state}
        act()
        self.world.expected[self.file_id] = {state}

    def put(self, request: dict[str, Any], body: bytes) -> None:
        """Send bytes to S3. Once they are there, S3 says that the key is taken."""

        def once() -> int | None:
            try:
                answer = self.world.s3.request(request["method"], request["upload_url"], headers=request["headers"], content=body)
            except httpx.TransportError:
                return None
            if answer.status_code >= 500:
                return None
            assert answer.status_code in (200, 412), answer.text
            return answer.status_code

        self.insist(once)

    def complete(self, *statuses: int) -> None:
        self.ask("POST", f"/{self.file_id}/complete", statuses=statuses or (200,))

    def delete(self, *, is_permanent: bool) -> None:
        query = "?permanent=true" if is_permanent else ""
        # Repeated after it was done without an answer, there is no such file.
        self.ask("DELETE", f"/{self.file_id}{query}", statuses=(204, 404) if is_permanent else (204,))


def single_upload(errand: Errand) -> None:
    body = errand.world.dice.randbytes(errand.world.dice.randrange(1, 3000))
    started = errand.start("/upload", body, content_type="application/octet-stream")
    errand.lead_to("available", lambda: errand.put(started, body))
    errand.complete()


def upload_in_parts(errand: Errand) -> None:
    # Every fifth has two parts; the others are quicker.
    length = 8 * 1024**2 + 7 if errand.world.dice.random() < 0.2 else 1000
    body = errand.world.dice.randbytes(length)
    started = errand.start("/multipart", body, content_type="application/octet-stream")
    send_parts(errand, started, body)
    errand.lead_to("available", errand.complete)


def send_parts(errand: Errand, started: dict[str, Any], body: bytes) -> None:
    for number in range(1, started["part_count"] + 1):
        (part,) = errand.ask("POST", f"/{errand.file_id}/parts", json={"parts": [{"number": number}]}).json()["parts"]
        at = (number - 1) * started["part_size_bytes"]
        errand.put(part, body[at : at + started["part_size_bytes"]])
    held = errand.ask("GET", f"/{errand.file_id}/parts").json()["parts"]
    assert [part["number"] for part in held] == list(range(1, started["part_count"] + 1))


def upload_that_s3_announces(errand: Errand) -> None:
    started = errand.start("/upload", b"hello")
    errand.lead_to("available", lambda: errand.put(started, b"hello"))
    event = batch(notification(object_key(errand.file_id), bucket=errand.world.shaky.settings.s3_bucket_name))
    errand.insist(lambda: True if take_batch(errand.world.shaky, event) == {"batchItemFailures": []} else None)
    assert errand.ask("GET", f"/{errand.file_id}").json()["status"] == "available"


def upload_that_is_rejected(errand: Errand) -> None:
    """Only whoever has keys of their own can put something else under the key."""
    errand.start("/upload", b"hello")
    bucket = errand.world.sound.settings.s3_bucket_name
    errand.world.sound.aws.call("s3", "put_object", Bucket=bucket, Key=object_key(errand.file_id), Body=b"another length")
    # Whoever gave up before S3 was asked leaves it to the sweep.
    errand.world.expected[errand.file_id] = {"rejected"}
    errand.complete(409)


def aborted_upload_in_parts(errand: Errand) -> None:
    body = errand.world.dice.randbytes(500)
    send_parts(errand, errand.start("/multipart", body), body)
    errand.delete(is_permanent=True)


def deletion(errand: Errand) -> None:
    single_upload(errand)
    # Without an answer it may have been begun, and is then ended by the sweep.
    errand.lead_to(GONE, lambda: errand.delete(is_permanent=True))


def trash_and_restore(errand: Errand) -> None:
    single_upload(errand)
    errand.lead_to("trashed", lambda: errand.delete(is_permanent=False))
    errand.lead_to("available", lambda: errand.ask("POST", f"/{errand.file_id}/restore"))
    if errand.world.dice.random() < 0.5:
        errand.lead_to("trashed", lambda: errand.delete(is_permanent=False))
        errand.lead_to(GONE, lambda: errand.delete(is_permanent=True))


ERRANDS = (
    single_upload,
    upload_in_parts,
    upload_that_s3_announces,
    upload_that_is_rejected,
    aborted_upload_in_parts,
    deletion,
    trash_and_restore,
)


def test_s3_that_fails_one_call_in_five_loses_nothing(world: World) -> None:
    given_up = 0
    for number in range(LIVES // 2):
        errand = Errand(world, is_patient=world.dice.random() < 0.7)
        try:
            ERRANDS[number % len(ERRANDS)](errand)
        except Errand.GivenUpError:
            given_up += 1
        if number % 10 == 9:
            world.sweep(world.shaky)
            assert_quota_is_exact(world.sound, [world.owner.id])
    # What still arrives after the sweep is for the next one.
    world.proxy.wait_for_stragglers()
    with world.sound.unit_of_work() as session:
        # As if a week had passed: the emulator holds signatures to its own clock, which cannot be moved.
        session.execute(text("UPDATE file SET upload_expires_at = now() - interval '1 second' WHERE status = 'pending'"))
    shaken = world.sweep(world.shaky)
    world.proxy.wait_for_stragglers()
    world.proxy.is_healed = True

    report = world.sweep(world.sound)

    faults = world.proxy.faults
    print(f"{world.proxy.calls} calls, {faults.total()} failed, {world.refused} answers of 503, {given_up} gave up; {shaken}; {report}")
    print({fault.name: count for fault, count in faults.items()})
    assert (report.failures, report.lost_objects, report.is_finished) == (0, 0, True)
    assert_nothing_differs(world.sound, world.sound.store, [world.owner.id])
    assert_nothing_acknowledged_is_lost(world)
    assert faults.total() >= 3


def test_completion_that_meets_any_fault_is_503_and_can_be_repeated(world: World) -> None:
    world.proxy.is_healed = True
    for fault in Fault:
        errand = Errand(world, is_patient=True)
        send_parts(errand, errand.start("/multipart", b"hello"), b"hello")

        world.proxy.joins_fail_by = fault
        failed = world.client.post(f"{FILES}/{errand.file_id}/complete", headers=world.owner.headers)
        world.proxy.joins_fail_by = None

        assert_problem(failed, 503, "unavailable")
        errand.complete()
        assert errand.ask("GET", f"/{errand.file_id}").json()["status"] == "available"


def assert_nothing_acknowledged_is_lost(world: World) -> None:
    with world.sound.unit_of_work() as session:
        rows = {row.id: row for row in session.query(File).filter(File.owner_id == world.owner.id)}
    for file_id, states in world.expected.items():
        state = rows[file_id].status if file_id in rows else GONE
        assert state in states, file_id
        if state in ("available", "trashed"):
            body = world.bodies[file_id]
            assert world.sound.store.read_start(object_key(file_id), len(body) + 1) == body
    assert set(rows) <= set(world.expected)
