"""What a local run keeps between starts: its folder, secrets and lock."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.processes import LocalError
from infra.local.state import Folders, exclusive_lock, is_locked, load_secrets

HOLD_LOCK = """
import sys
from pathlib import Path
from infra.local.state import exclusive_lock
with exclusive_lock(Path(sys.argv[1]), refusal="taken"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_secrets_are_generated_once_and_only_the_owner_can_read_them(tmp_path: Path) -> None:
    first = load_secrets(Folders(tmp_path))
    second = load_secrets(Folders(tmp_path))

    assert first == second
    assert len(first.secret_key.encode()) >= 32
    assert len({first.secret_key, first.postgres_password, first.superuser_password, first.s3_key_id, first.s3_secret}) == 5
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_secrets_of_two_checkouts_differ(tmp_path: Path) -> None:
    folders = [Folders(tmp_path / name) for name in ("one", "other")]
    for folder in folders:
        folder.root.mkdir()

    assert load_secrets(folders[0]) != load_secrets(folders[1])


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"secret_key": "only this"}'])
def test_damaged_secrets_are_reported_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(content)

    with pytest.raises(LocalError, match="make clean"):
        load_secrets(Folders(tmp_path))
    assert path.read_text() == content


def test_incomplete_secrets_of_an_interrupted_run_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "secrets.new").write_text("{")

    assert load_secrets(Folders(tmp_path)).secret_key


def test_lock_names_its_holder_to_a_second_process(tmp_path: Path) -> None:
    lock = tmp_path / "new" / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD_LOCK, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"

        with pytest.raises(LocalError, match=f"^process {holder.pid} has it$"), exclusive_lock(lock, refusal="process {pid} has it"):
            pass
        assert is_locked(lock)
        holder.kill()
        holder.wait()

    # The holder was killed and could not clean up.
    assert not is_locked(lock)
    with exclusive_lock(lock, refusal="stale"):
        assert lock.read_text() != str(holder.pid)


def test_lock_is_free_again_after_its_block(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with exclusive_lock(lock, refusal="taken"), pytest.raises(LocalError), exclusive_lock(lock, refusal="taken"):
        pass

    with exclusive_lock(lock, refusal="taken"):
        assert lock.exists()


def test_secrets_of_an_earlier_version_are_kept_and_completed(tmp_path: Path) -> None:
    earlier = {"secret_key": "k" * 64, "postgres_password": "p" * 32, "superuser_password": "s" * 16}
    (tmp_path / "secrets.json").write_text(json.dumps(earlier))

    completed = load_secrets(Folders(tmp_path))

    assert (completed.secret_key, completed.postgres_password, completed.superuser_password) == tuple(earlier.values())
    assert completed.s3_secret
    assert load_secrets(Folders(tmp_path)) == completed


def test_new_folders_and_those_of_earlier_versions_are_closed_to_others(tmp_path: Path) -> None:
    new, earlier = Folders(tmp_path / "new" / "data"), Folders(tmp_path / "earlier")
    earlier.objects.mkdir(parents=True)
    (earlier.root / "secrets.json").write_text("{}")

    for folders in (new, earlier):
        folders.create()

        assert [path.stat().st_mode & 0o777 for path in (folders.root, folders.objects, folders.logs, folders.mail)] == [0o700] * 4


def test_folder_with_other_files_keeps_its_mode(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "notes.txt").touch()

    Folders(home).create()

    assert home.stat().st_mode & 0o777 == 0o755
    assert (home / "s3").stat().st_mode & 0o777 == 0o700
