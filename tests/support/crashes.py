"""Simulated crashes of the server, and an object store whose calls a test intercepts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from lambda_app.storage.object_store import ObjectStore
from tests.support.lifecycle import Lifecycle
from tests.support.object_store import FakeObjectStore

STORE_CALLS = frozenset(name for name in vars(ObjectStore) if not name.startswith(("_", "presign")))


class Crash(BaseException):
    """A simulated crash of the process. The application does not catch BaseException."""


class CrashPoint:
    """Raises Crash at the effect with the number `at`."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.effects = 0

    def record_effect(self) -> None:
        """Count an effect, and crash at the chosen one."""
        self.effects += 1
        self.left -= 1
        if self.left == 0:
            raise Crash


class InterceptedStore:
    """The store with a callback around each call."""

    def __init__(self, store: FakeObjectStore, around: Callable[[Callable[[], Any]], Any]) -> None:
        self._store = store
        self._around = around

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in STORE_CALLS:
            return found
        return lambda *args, **kwargs: self._around(lambda: found(*args, **kwargs))


@contextmanager
def crashing(lifecycle: Lifecycle, crash_point: CrashPoint) -> Iterator[Lifecycle]:
    """Return a lifecycle that crashes at the crash point.

    Effects of the server: a call of S3, a statement before its commit, a commit. Effects of the client: a request to S3.
    """
    is_open = False

    def around(call: Callable[[], Any]) -> Any:
        response = call()
        crash_point.record_effect()
        return response

    def after_statement(*args: Any) -> None:
        nonlocal is_open
        context = args[4]
        if context.execution_options.get("own_transaction"):
            crash_point.record_effect()
        elif not context.execution_options.get("plain_read", context.compiled.is_plain_read):
            is_open = True
            crash_point.record_effect()

    def after_commit(_session: Session) -> None:
        nonlocal is_open
        if is_open:
            is_open = False
            crash_point.record_effect()

    crashing_lifecycle = lifecycle.with_store(InterceptedStore(lifecycle.objects, around))
    crashing_lifecycle.after_put = crash_point.record_effect
    event.listen(lifecycle.services.engine, "after_cursor_execute", after_statement)
    event.listen(lifecycle.services.session_factory, "after_commit", after_commit)
    try:
        yield crashing_lifecycle
    finally:
        event.remove(lifecycle.services.engine, "after_cursor_execute", after_statement)
        event.remove(lifecycle.services.session_factory, "after_commit", after_commit)
