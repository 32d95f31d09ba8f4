"""A process that dies after any one of its effects: one sweep later nothing differs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from lambda_app.application import create_app
from lambda_app.models import AuditEvent, File, User
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.schemas.files.files import FileCreate
from lambda_app.services.files.idempotency import KeyedRequest
from lambda_app.storage.object_store import ObjectStore
from tests.support.accounts import make_account
from tests.support.gateway import GatewayTransport
from tests.support.lifecycle import LONG_ENOUGH, Lifecycle, refused
from tests.support.object_store import FakeObjectStore, HeldObject

TWO_PARTS = b"\0\0\0\x18ftypmp42".ljust(8 * 1024**2 + 7)
STORE_CALLS = frozenset(name for name in vars(ObjectStore) if not name.startswith(("_", "presign")))


class Crash(BaseException):
    """The process is gone; nothing of ours catches it."""


class Fuse:
    """Blows at the effect with the given number."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.effects = 0

    def burn(self) -> None:
        self.effects += 1
        self.left -= 1
        if self.left == 0:
            raise Crash


class WatchedStore:
    """The store, with something that happens around each call."""

    def __init__(self, store: FakeObjectStore, around: Callable[[Callable[[], Any]], Any]) -> None:
        self._store = store
        self._around = around

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in STORE_CALLS:
            return found
        return lambda *args, **kwargs: self._around(lambda: found(*args, **kwargs))


@contextmanager
def crashing(life: Lifecycle, fuse: Fuse) -> Iterator[Lifecycle]:
    """The same life, in processes that die when the fuse blows.

    Ours after a call of S3, between a statement and its commit, or after the commit; the client's after it has sent something to S3.
    """
    is_open = False

    def around(call: Callable[[], Any]) -> Any:
        answer = call()
        fuse.burn()
        return answer

    def after_statement(*args: Any) -> None:
        nonlocal is_open
        context = args[4]
        if context.execution_options.get("own_transaction"):
            fuse.burn()
        elif not context.execution_options.get("plain_read", context.compiled.is_plain_read):
            is_open = True
            fuse.burn()

    def after_commit(_session: Session) -> None:
        nonlocal is_open
        if is_open:
            is_open = False
            fuse.burn()

    doomed = life.through(WatchedStore(life.objects, around))
    doomed.after_put = fuse.burn
    event.listen(life.services.engine, "after_cursor_execute", after_statement)
    event.listen(life.services.session_factory, "after_commit", after_commit)
    try:
        yield doomed
    finally:
        event.remove(life.services.engine, "after_cursor_execute", after_statement)
        event.remove(life.services.session_factory, "after_commit", after_commit)


def upload(life: Lifecycle, user: User) -> File:
    file = life.start(user)
    life.put(file)
    return life.complete(user, file.id)


def upload_with_key(life: Lifecycle, user: User) -> None:
    declared = FileCreate(filename="a", content_type="a/b", size_bytes=5)
    keyed = KeyedRequest.of(user_id=user.id, route="POST /files/upload", key="k", body="{}")
    life.upload(lambda uploads: uploads.start_upload(user, declared, keyed=keyed))


def upload_in_parts(life: Lifecycle, user: User) -> File:
    file = life.start_parts(user, len(TWO_PARTS))
    life.send_parts(user, file, TWO_PARTS)
    return life.complete(user, file.id)


def upload_noted_by_s3(life: Lifecycle, user: User) -> None:
    file = life.start(user)
    life.put(file)
    life.note(file.id)


def upload_that_is_rejected(life: Lifecycle, user: User) -> None:
    file = life.start(user)
    life.objects.objects[file.s3_key] = HeldObject(b"another length", "text/plain", None)
    assert refused(lambda: life.complete(user, file.id)) == "upload_rejected"


def upload_in_parts_that_is_deleted(life: Lifecycle, user: User) -> None:
    file = life.start_parts(user, len(TWO_PARTS))
    life.send_parts(user, file, TWO_PARTS)
    life.delete(user, file.id)


def delete_at_once(life: Lifecycle, user: User) -> None:
    life.delete(user, upload(life, user).id, is_permanent=True)


def delete_restore_and_delete(life: Lifecycle, user: User) -> None:
    file = upload(life, user)
    life.delete(user, file.id)
    life.restore(user, file.id)
    life.delete(user, file.id)
    life.delete(user, file.id, is_permanent=True)


def sweep_what_was_left(life: Lifecycle, user: User) -> None:
    finished, nothing, parts = life.start(user), life.start(user), life.start_parts(user, len(TWO_PARTS))
    life.put(finished)
    life.send_parts(user, parts, TWO_PARTS)
    trashed = upload(life, user)
    life.delete(user, trashed.id)
    life.objects.start_multipart(key=nothing.s3_key, content_type="a/b", with_digests=False)
    upload_that_is_rejected(life, user)
    life.traveller.shift(LONG_ENOUGH)
    life.sweep()


@pytest.mark.slow
@pytest.mark.parametrize(
    "flow",
    [
        upload,
        upload_with_key,
        upload_in_parts,
        upload_noted_by_s3,
        upload_that_is_rejected,
        upload_in_parts_that_is_deleted,
        delete_at_once,
        delete_restore_and_delete,
        sweep_what_was_left,
    ],
    ids=lambda flow: flow.__name__,
)
def test_crash_after_any_effect_is_mended_by_one_sweep(life: Lifecycle, flow: Callable[[Lifecycle, User], object]) -> None:
    crashes = 0
    while True:
        user = life.new_user()
        fuse = Fuse(at=crashes + 1)
        has_crashed = False
        try:
            with crashing(life, fuse) as doomed:
                flow(doomed, user)
        except Crash:
            has_crashed = True
        life.traveller.shift(LONG_ENOUGH)

        report = life.sweep()

        assert (report.failures, report.lost_objects, report.is_finished) == (0, 0, True)
        life.assert_nothing_differs()
        if not has_crashed:
            break
        crashes += 1
    print(f"{flow.__name__}: {crashes} crashes")
    assert crashes >= 2


CHANGES = {"filename": "after.txt", "description": "after", "is_public": True}


def test_change_that_dies_anywhere_is_whole_or_nothing_and_can_be_repeated(life: Lifecycle) -> None:
    """The whole route, from the event to the commit, with the client's condition on what it had read."""
    outcomes: list[bool] = []
    while True:
        account = make_account(caller_of(life), life.services)
        user = User(id=account.id, is_superuser=False)
        path = f"/api/v1/files/{upload(life, user).id}"
        before = caller_of(life).get(path, headers=account.headers)
        headers = {**account.headers, "If-Match": before.headers["etag"]}
        fuse = Fuse(at=len(outcomes) + 1)
        with crashing(life, fuse) as doomed:
            answer = caller_of(doomed).put(path, json=CHANGES, headers=headers)
        has_crashed = fuse.left <= 0
        assert answer.status_code == (500 if has_crashed else 200)

        after = caller_of(life).get(path, headers=account.headers)
        again = caller_of(life).put(path, json=CHANGES, headers=headers)

        derived = {"public_path": path.replace("/api/v1/files", "/p"), "updated_at": after.json()["updated_at"]}
        changed = {**before.json(), **CHANGES, **derived}
        is_changed = after.headers["etag"] != before.headers["etag"]
        assert after.json() == (changed if is_changed else before.json())
        assert logged_visibilities(life, path) == 1
        assert again.status_code == (412 if is_changed else 200)
        assert caller_of(life).get(path, headers=account.headers).json() == changed
        if not has_crashed:
            break
        outcomes.append(is_changed)
    # Before the commit, and behind it.
    assert outcomes == [False, True]


def caller_of(life: Lifecycle) -> httpx.Client:
    """Return a caller of the API of this life."""
    transport = GatewayTransport(GatewayHandler(create_app(life.services.settings, life.services)))
    return httpx.Client(transport=transport, base_url="https://api.test")


def logged_visibilities(life: Lifecycle, path: str) -> int:
    """Return how many changes of who may read the file the audit log has."""
    subject = f"file:{path.rpartition('/')[2]}"
    with life.services.unit_of_work() as session:
        logged = session.query(AuditEvent).filter(AuditEvent.subject == subject, AuditEvent.action == "file.visibility_changed")
        return logged.count()
