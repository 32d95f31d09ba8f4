"""What a local run keeps: secrets and the lock."""

import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.processes import LocalError
from infra.local.state import Folders, exclusive_lock, kept_secrets

HOLD_LOCK = """
import sys
from pathlib import Path
from infra.local.state import exclusive_lock
with exclusive_lock(Path(sys.argv[1]), refusal="taken"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_secrets_are_made_once_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    first = kept_secrets(Folders(tmp_path))
    second = kept_secrets(Folders(tmp_path))

    assert first == second
    assert len(first.secret_key.encode()) >= 32
    assert len({first.secret_key, first.postgres_password, first.superuser_password}) == 3
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_secrets_of_two_checkouts_differ(tmp_path: Path) -> None:
    folders = [Folders(tmp_path / name) for name in ("one", "other")]
    for folder in folders:
        folder.root.mkdir()

    assert kept_secrets(folders[0]) != kept_secrets(folders[1])


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"secret_key": "only this"}'])
def test_damaged_secrets_are_reported_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(content)

    with pytest.raises(LocalError, match="make clean"):
        kept_secrets(Folders(tmp_path))
    assert path.read_text() == content


def test_half_written_secrets_of_an_interrupted_run_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "secrets.new").write_text("{")

    assert kept_secrets(Folders(tmp_path)).secret_key


def test_lock_is_refused_to_a_second_holder_who_is_told_the_first(tmp_path: Path) -> None:
    lock = tmp_path / "new" / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD_LOCK, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"

        with pytest.raises(LocalError, match=f"^process {holder.pid} has it$"), exclusive_lock(lock, refusal="process {pid} has it"):
            pass
        holder.kill()
        holder.wait()

    # The holder was killed and could tidy nothing up.
    with exclusive_lock(lock, refusal="stale"):
        assert lock.read_text() != str(holder.pid)


def test_lock_is_free_again_after_its_block(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with exclusive_lock(lock, refusal="taken"), pytest.raises(LocalError), exclusive_lock(lock, refusal="taken"):
        pass

    with exclusive_lock(lock, refusal="taken"):
        assert lock.exists()
