"""The SnapStart hooks."""

import random
import sys
from types import ModuleType

import pytest

from lambda_app.core.snapshot import prepare_for_snapshot


class FakeRuntime(ModuleType):
    """A fake of the runtime's module. Lambda calls the hooks before a snapshot in reverse order of registration."""

    def __init__(self) -> None:
        super().__init__("snapshot_restore_py")
        self.before: list[object] = []
        self.after: list[object] = []

    def register_before_snapshot(self, hook: object) -> None:
        self.before.insert(0, hook)

    def register_after_restore(self, hook: object) -> None:
        self.after.append(hook)


def test_no_hooks_are_registered_outside_lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", None)

    assert not prepare_for_snapshot(before_snapshot=pytest.fail, warm_up=pytest.fail)


def test_warm_up_runs_before_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = FakeRuntime()
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", runtime)
    done: list[str] = []

    assert prepare_for_snapshot(before_snapshot=lambda: done.append("dropped"), warm_up=lambda: done.append("warm"))
    for hook in runtime.before:
        hook()  # type: ignore[operator]  # a hook

    assert done == ["warm", "dropped"]


def test_restored_instances_have_different_random_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = FakeRuntime()
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", runtime)
    prepare_for_snapshot(before_snapshot=lambda: None, warm_up=lambda: None)
    frozen = random.getstate()

    def restored_copy() -> float:
        random.setstate(frozen)
        for hook in runtime.after:
            hook()  # type: ignore[operator]  # a hook
        return random.random()

    assert restored_copy() != restored_copy()
