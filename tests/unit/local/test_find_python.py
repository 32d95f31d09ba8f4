"""Which Python `make` uses, and the message when there is none."""

import os
import subprocess
from pathlib import Path

import pytest

FIND_PYTHON = Path(__file__).parents[3] / "infra/local/find-python"


def make_interpreter(folder: Path, name: str, *, version: tuple[int, int] | None) -> Path:
    """Write a script that answers like a Python of that version, or fails like a pyenv shim of a missing version."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if version is None:
        script = "exit 127"
    elif version >= (3, 11):
        script = 'echo "$0"'
    else:
        script = f'[ "$1" = --version ] && echo "Python {version[0]}.{version[1]}.0" && exit; exit 3'
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def find_python(*arguments: str, path: Path, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(path), "HOME": str(home or path)}
    return subprocess.run(["/bin/sh", FIND_PYTHON, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_newest_python_that_runs_is_used(tmp_path: Path) -> None:
    make_interpreter(tmp_path, "python3.13", version=None)
    make_interpreter(tmp_path, "python3", version=(3, 11))
    wanted = make_interpreter(tmp_path, "python3.12", version=(3, 12))

    found = find_python(path=tmp_path)

    assert (found.stdout, found.returncode) == (f"{wanted}\n", 0)


def test_too_old_python_is_skipped(tmp_path: Path) -> None:
    make_interpreter(tmp_path, "python3", version=(3, 9))

    found = find_python(path=tmp_path)

    assert (found.stdout, found.returncode) == ("", 1)
    assert "No Python 3.11 or newer was found" in found.stderr


def test_named_python_has_precedence_over_a_newer_one(tmp_path: Path) -> None:
    make_interpreter(tmp_path, "python3.13", version=(3, 13))
    wanted = make_interpreter(tmp_path, "python3.11", version=(3, 11))

    assert find_python("python3.11", path=tmp_path).stdout == f"{wanted}\n"
    assert find_python(str(wanted), path=tmp_path).stdout == f"{wanted}\n"


def test_named_python_that_pyenv_has_not_activated_is_found(tmp_path: Path) -> None:
    make_interpreter(tmp_path / "bin", "python3.13", version=None)
    wanted = make_interpreter(tmp_path / "home/.pyenv/versions/3.13.0/bin", "python3.13", version=(3, 13))

    assert find_python("python3.13", path=tmp_path / "bin", home=tmp_path / "home").stdout == f"{wanted}\n"


def test_named_python_of_pyenv_that_is_too_old_is_reported_as_too_old(tmp_path: Path) -> None:
    make_interpreter(tmp_path / "bin", "python3.9", version=None)
    make_interpreter(tmp_path / "home/.pyenv/versions/3.9.1/bin", "python3.9", version=(3, 9))

    found = find_python("python3.9", path=tmp_path / "bin", home=tmp_path / "home")

    assert (found.stdout, found.returncode) == ("", 1)
    assert "is Python 3.9.0, and We-Upload needs" in found.stderr


@pytest.mark.parametrize(("version", "message"), [((3, 9), "is Python 3.9.0, and We-Upload needs"), (None, "does not run on this machine")])
def test_unusable_named_python_is_refused(tmp_path: Path, version: tuple[int, int] | None, message: str) -> None:
    make_interpreter(tmp_path, "python3.13", version=(3, 13))
    make_interpreter(tmp_path, "mine", version=version)

    found = find_python("mine", path=tmp_path)

    assert (found.stdout, found.returncode) == ("", 1)
    assert message in found.stderr


def test_home_variable_is_not_needed(tmp_path: Path) -> None:
    wanted = make_interpreter(tmp_path, "python3", version=(3, 14))

    found = subprocess.run(["/bin/sh", FIND_PYTHON], env={"PATH": os.fspath(tmp_path)}, capture_output=True, text=True, check=False)

    assert found.stdout == f"{wanted}\n"
