"""The virtual environments of a checkout."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra import toolchain
from infra.local import bootstrap
from infra.local.bootstrap import STAMP, VirtualEnvironment, writable_checkout
from infra.local.processes import LocalError


@pytest.fixture
def environment(tmp_path: Path) -> VirtualEnvironment:
    lock = tmp_path / "requirements" / "lock.txt"
    lock.parent.mkdir()
    lock.write_text("# nothing is needed\n")
    return VirtualEnvironment(tmp_path / "environment", lock)


@pytest.mark.slow
def test_environment_is_current_until_its_lock_file_or_python_changes(environment: VirtualEnvironment) -> None:
    environment.folder.mkdir()
    leftover = environment.folder / "half"
    leftover.touch()
    assert not environment.is_current()

    environment.make()
    assert environment.is_current()
    assert not leftover.exists()

    lock, stamp = environment.lock.read_text(), environment.folder / STAMP
    environment.lock.write_text("# still nothing, but another file\n")
    assert not environment.is_current()
    environment.lock.write_text(lock)
    assert environment.is_current()

    made_by = stamp.read_text()
    stamp.write_text(made_by.replace(sys.version, "3.11.0"))
    assert not environment.is_current()
    stamp.write_text(made_by)
    assert environment.is_current()

    environment.interpreter.unlink()
    assert not environment.is_current()


@pytest.mark.slow
def test_packages_that_cannot_be_installed_are_one_clear_message(environment: VirtualEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    environment.lock.write_text(f"we-upload-is-not-on-any-index==1.0 --hash=sha256:{'0' * 64}\n")

    with pytest.raises(LocalError, match=r"(?s)requirements/lock.txt could not be .*check the network.*we-upload-is-not-on-any-index"):
        environment.make()

    assert not environment.is_current()


@pytest.mark.parametrize(("module", "setup"), [(bootstrap, bootstrap.main), (toolchain, toolchain.main)])
def test_checkout_without_write_permission_is_one_clear_line(
    module: object, setup: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir(mode=0o555)
    monkeypatch.setattr(module, "CHECKOUT", checkout)
    monkeypatch.setattr(VirtualEnvironment, "is_current", lambda _: False)
    # The unprivileged user may be unable to read the standard library.
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    user = os.geteuid()
    try:
        if user == 0:  # root ignores permissions
            os.seteuid(65534)
        with pytest.raises(LocalError) as refused:
            setup()
    finally:
        os.seteuid(user)

    message = str(refused.value)
    assert message.endswith(": Permission denied. Run make as the owner of this checkout, or in a copy of your own.")
    assert "\n" not in message
    assert str(tmp_path) in message


def test_other_errors_of_the_file_system_are_not_hidden() -> None:
    with pytest.raises(OSError, match="No space left"), writable_checkout():
        raise OSError(errno.ENOSPC, "No space left on device")
