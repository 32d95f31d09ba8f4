"""A process that dies after any one of its effects, and an S3 that fails a call in five: one sweep later nothing differs."""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event

from lambda_app.core.errors import UnavailableError
from lambda_app.models import File, FileStatus, User
from lambda_app.schemas.file import FileCreate
from lambda_app.services.idempotency import KeyedRequest
from lambda_app.storage.object_store import ObjectStore
from tests.support.life import LONG_ENOUGH, Answer, Life, refused
from tests.support.object_store import FakeObjectStore, HeldObject

TWO_PARTS = b"\0\0\0\x18ftypmp42".ljust(8 * 1024**2 + 7)
LIVES = 400
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
def crashing(life: Life, fuse: Fuse) -> Iterator[Life]:
    """The same life, in a process that dies when the fuse blows: after a call of S3, or after a commit."""

    def around(call: Callable[[], Any]) -> Any:
        answer = call()
        fuse.burn()
        return answer

    def after_statement(*args: Any) -> None:
        if args[4].execution_options.get("own_transaction"):
            fuse.burn()

    event.listen(life.services.engine, "after_cursor_execute", after_statement)
    try:
        yield life.through(WatchedStore(life.objects, around))
    finally:
        event.remove(life.services.engine, "after_cursor_execute", after_statement)


def upload(life: Life, user: User) -> File:
    file = life.start(user)
    life.put(file)
    return life.complete(user, file.id)


def upload_with_key(life: Life, user: User) -> None:
    declared = FileCreate(filename="a", content_type="a/b", size_bytes=5)
    keyed = KeyedRequest.of(user_id=user.id, route="POST /files/upload", key="k", body="{}")
    life.upload(lambda uploads: uploads.start_upload(user, declared, keyed=keyed))


def upload_in_parts(life: Life, user: User) -> File:
    file = life.start_parts(user, len(TWO_PARTS))
    life.send_parts(user, file, TWO_PARTS)
    return life.complete(user, file.id)


def upload_noted_by_s3(life: Life, user: User) -> None:
    file = life.start(user)
    life.put(file)
    life.note(file.id)


def upload_that_is_rejected(life: Life, user: User) -> None:
    file = life.start(user)
    life.objects.objects[file.s3_key] = HeldObject(b"another length", "text/plain", None)
    assert refused(lambda: life.complete(user, file.id)) == "upload_rejected"


def upload_in_parts_that_is_deleted(life: Life, user: User) -> None:
    file = life.start_parts(user, len(TWO_PARTS))
    life.send_parts(user, file, TWO_PARTS)
    life.delete(user, file.id)


def delete_at_once(life: Life, user: User) -> None:
    life.delete(user, upload(life, user).id, is_permanent=True)


def delete_restore_and_delete(life: Life, user: User) -> None:
    file = upload(life, user)
    life.delete(user, file.id)
    life.restore(user, file.id)
    life.delete(user, file.id)
    life.delete(user, file.id, is_permanent=True)


def sweep_what_was_left(life: Life, user: User) -> None:
    finished, nothing, parts = life.start(user), life.start(user), life.start_parts(user, len(TWO_PARTS))
    life.put(finished)
    life.send_parts(user, parts, TWO_PARTS)
    trashed = upload(life, user)
    life.delete(user, trashed.id)
    life.objects.start_multipart(key=nothing.s3_key, content_type="a/b", with_digests=False)
    upload_that_is_rejected(life, user)
    life.traveller.shift(LONG_ENOUGH)
    life.sweep()


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
def test_crash_after_any_effect_is_mended_by_one_sweep(life: Life, flow: Callable[[Life, User], object]) -> None:
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


class Shaky:
    """Fails one call in five: a 500, a 503 or no connection, or an answer that was lost or too late."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self.failed = 0

    def around(self, call: Callable[[], Any]) -> Any:
        if self._dice.random() >= 0.2:
            return call()
        self.failed += 1
        if self._dice.random() < 0.5:
            call()
        raise UnavailableError


def insist(act: Callable[[], Answer]) -> Answer:
    """Do what a patient caller does."""
    while True:
        try:
            return act()
        except UnavailableError:
            continue


def test_store_that_fails_one_call_in_five_loses_nothing(life: Life) -> None:
    seed = int(os.environ.get("LIFE_SEED", random.randrange(2**32)))
    print(f"LIFE_SEED={seed}")
    shaken = Shaky(seed)
    shaky = life.through(WatchedStore(life.objects, shaken.around))
    user = life.new_user()
    kept, deleted = [], []

    for number in range(LIVES):
        if number % 10 == 0:
            file = insist(lambda: shaky.start_parts(user, len(TWO_PARTS)))
            life.send_parts(user, file, TWO_PARTS)
        else:
            file = insist(lambda: shaky.start(user))
            life.put(file)
        insist(partial(shaky.complete, user, file.id))
        if number % 2:
            # A deletion that was not answered may have been carried out all the same.
            insisted = partial(insist, partial(shaky.delete, user, file.id, is_permanent=True))
            assert refused(insisted) in (None, "file_not_found")
            deleted.append(file.id)
        else:
            kept.append(file.id)
    life.traveller.shift(timedelta(hours=2))
    sweeps = 1
    while shaky.sweep().failures:
        sweeps += 1

    print(f"{shaken.failed} calls failed; {sweeps} sweeps")
    assert shaken.failed > LIVES / 5
    assert {life.status_of(file_id) for file_id in kept} == {FileStatus.AVAILABLE}
    assert {life.status_of(file_id) for file_id in deleted} == {None}
    life.assert_nothing_differs()
