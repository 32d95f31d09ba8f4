"""Crashes at any point of each flow: after one sweep, rows, objects and quotas are consistent."""

from collections.abc import Callable

import httpx
import pytest

from lambda_app.application import create_app
from lambda_app.models import AuditEvent, File, User
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.schemas.files.files import FileCreate
from lambda_app.services.files.idempotency import KeyedRequest
from tests.support.accounts import make_account
from tests.support.crashes import Crash, CrashPoint, crashing
from tests.support.gateway import GatewayTransport
from tests.support.lifecycle import LONG_ENOUGH, Lifecycle, refused
from tests.support.object_store import FakeObject

TWO_PARTS = b"\0\0\0\x18ftypmp42".ljust(8 * 1024**2 + 7)


def upload(lifecycle: Lifecycle, user: User) -> File:
    file = lifecycle.start(user)
    lifecycle.put(file)
    return lifecycle.complete(user, file.id)


def upload_with_key(lifecycle: Lifecycle, user: User) -> None:
    declared = FileCreate(filename="a", content_type="a/b", size_bytes=5)
    keyed = KeyedRequest.of(user_id=user.id, route="POST /files/upload", key="k", body="{}")
    lifecycle.upload(lambda uploads: uploads.start_upload(user, declared, keyed=keyed))


def upload_in_parts(lifecycle: Lifecycle, user: User) -> File:
    file = lifecycle.start_parts(user, len(TWO_PARTS))
    lifecycle.send_parts(user, file, TWO_PARTS)
    return lifecycle.complete(user, file.id)


def upload_reported_by_s3(lifecycle: Lifecycle, user: User) -> None:
    file = lifecycle.start(user)
    lifecycle.put(file)
    lifecycle.deliver_event(file.id)


def upload_that_is_rejected(lifecycle: Lifecycle, user: User) -> None:
    file = lifecycle.start(user)
    lifecycle.objects.objects[file.s3_key] = FakeObject(b"another length", "text/plain", None)
    assert refused(lambda: lifecycle.complete(user, file.id)) == "upload_rejected"


def upload_in_parts_that_is_deleted(lifecycle: Lifecycle, user: User) -> None:
    file = lifecycle.start_parts(user, len(TWO_PARTS))
    lifecycle.send_parts(user, file, TWO_PARTS)
    lifecycle.delete(user, file.id)


def delete_at_once(lifecycle: Lifecycle, user: User) -> None:
    lifecycle.delete(user, upload(lifecycle, user).id, is_permanent=True)


def delete_restore_and_delete(lifecycle: Lifecycle, user: User) -> None:
    file = upload(lifecycle, user)
    lifecycle.delete(user, file.id)
    lifecycle.restore(user, file.id)
    lifecycle.delete(user, file.id)
    lifecycle.delete(user, file.id, is_permanent=True)


def sweep_abandoned_files(lifecycle: Lifecycle, user: User) -> None:
    finished, nothing, parts = lifecycle.start(user), lifecycle.start(user), lifecycle.start_parts(user, len(TWO_PARTS))
    lifecycle.put(finished)
    lifecycle.send_parts(user, parts, TWO_PARTS)
    trashed = upload(lifecycle, user)
    lifecycle.delete(user, trashed.id)
    lifecycle.objects.start_multipart(key=nothing.s3_key, content_type="a/b", with_digests=False)
    upload_that_is_rejected(lifecycle, user)
    lifecycle.traveller.shift(LONG_ENOUGH)
    lifecycle.sweep()


@pytest.mark.slow
@pytest.mark.parametrize(
    "flow",
    [
        upload,
        upload_with_key,
        upload_in_parts,
        upload_reported_by_s3,
        upload_that_is_rejected,
        upload_in_parts_that_is_deleted,
        delete_at_once,
        delete_restore_and_delete,
        sweep_abandoned_files,
    ],
    ids=lambda flow: flow.__name__,
)
def test_one_sweep_repairs_a_crash_at_any_point(lifecycle: Lifecycle, flow: Callable[[Lifecycle, User], object]) -> None:
    crashes = 0
    while True:
        user = lifecycle.new_user()
        crash_point = CrashPoint(at=crashes + 1)
        has_crashed = False
        try:
            with crashing(lifecycle, crash_point) as crashing_lifecycle:
                flow(crashing_lifecycle, user)
        except Crash:
            has_crashed = True
        lifecycle.traveller.shift(LONG_ENOUGH)

        report = lifecycle.sweep()

        assert (report.failures, report.lost_objects, report.is_finished) == (0, 0, True)
        lifecycle.assert_nothing_differs()
        if not has_crashed:
            break
        crashes += 1
    print(f"{flow.__name__}: {crashes} crashes")
    assert crashes >= 2


CHANGES = {"filename": "after.txt", "description": "after", "is_public": True}


@pytest.mark.slow
def test_crash_during_an_update_is_atomic_and_the_update_can_be_repeated(lifecycle: Lifecycle) -> None:
    """Sends a conditional PUT through the Lambda handler and crashes before or after the commit."""
    outcomes: list[bool] = []
    while True:
        account = make_account(lifecycle.services)
        user = User(id=account.id, is_superuser=False, token_epoch=0)
        path = f"/api/v1/files/{upload(lifecycle, user).id}"
        before = client_of(lifecycle).get(path, headers=account.headers)
        headers = {**account.headers, "If-Match": before.headers["etag"]}
        crash_point = CrashPoint(at=len(outcomes) + 1)
        with crashing(lifecycle, crash_point) as crashing_lifecycle:
            answer = client_of(crashing_lifecycle).put(path, json=CHANGES, headers=headers)
        has_crashed = crash_point.left <= 0
        assert answer.status_code == (500 if has_crashed else 200)

        after = client_of(lifecycle).get(path, headers=account.headers)
        again = client_of(lifecycle).put(path, json=CHANGES, headers=headers)

        derived = {"public_path": path.replace("/api/v1/files", "/p"), "updated_at": after.json()["updated_at"]}
        changed = {**before.json(), **CHANGES, **derived}
        is_changed = after.headers["etag"] != before.headers["etag"]
        assert after.json() == (changed if is_changed else before.json())
        assert count_visibility_events(lifecycle, path) == 1
        assert again.status_code == (412 if is_changed else 200)
        assert client_of(lifecycle).get(path, headers=account.headers).json() == changed
        if not has_crashed:
            break
        outcomes.append(is_changed)
    # Before each statement and after the commit.
    assert set(outcomes) == {False, True}
    assert outcomes == sorted(outcomes)


def client_of(lifecycle: Lifecycle) -> httpx.Client:
    """Return a client of an API with these services."""
    transport = GatewayTransport(GatewayHandler(create_app(lifecycle.services.settings, lifecycle.services)))
    return httpx.Client(transport=transport, base_url="https://api.test")


def count_visibility_events(lifecycle: Lifecycle, path: str) -> int:
    """Return the number of audit events about the file's visibility."""
    subject = f"file:{path.rpartition('/')[2]}"
    with lifecycle.services.unit_of_work() as session:
        logged = session.query(AuditEvent).filter(AuditEvent.subject == subject, AuditEvent.action == "file.visibility_changed")
        return logged.count()
