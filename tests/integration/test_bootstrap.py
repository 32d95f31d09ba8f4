"""The virtual environments of a checkout."""

import sys
from pathlib import Path

import pytest

from infra.local.bootstrap import STAMP, VirtualEnvironment
from infra.local.processes import LocalError


@pytest.fixture
def environment(tmp_path: Path) -> VirtualEnvironment:
    lock = tmp_path / "requirements" / "lock.txt"
    lock.parent.mkdir()
    lock.write_text("# nothing is needed\n")
    return VirtualEnvironment(tmp_path / "environment", lock)


def test_environment_is_current_only_while_nothing_of_it_has_changed(environment: VirtualEnvironment) -> None:
    environment.folder.mkdir()
    left_by_an_interrupted_attempt = environment.folder / "half"
    left_by_an_interrupted_attempt.touch()
    assert not environment.is_current()

    environment.make()
    assert environment.is_current()
    assert not left_by_an_interrupted_attempt.exists()

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


def test_packages_that_cannot_be_had_are_one_clear_message(environment: VirtualEnvironment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    environment.lock.write_text(f"we-upload-is-not-on-any-index==1.0 --hash=sha256:{'0' * 64}\n")

    with pytest.raises(LocalError, match=r"(?s)requirements/lock.txt could not be .*check the network.*we-upload-is-not-on-any-index"):
        environment.make()

    assert not environment.is_current()
