"""The command: parsing, help, selection of files, values, output."""

import io
import json
import re
import resource
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from we_upload import receipts
from we_upload.cli.downloading import local_name
from we_upload.cli.main import main
from we_upload.cli.output import Display, UsageError, printable, size_text, time_text
from we_upload.cli.selection import select
from we_upload.cli.store import CredentialStore
from we_upload.cli.values import parse_expiry, parse_size
from we_upload.progress import Progress, State
from we_upload.transfer.sources import FileSource, content_type_of, safe_name

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
COMMANDS = ("login", "logout", "up", "send-to", "sync", "down", "share", "links", "request", "ls", "rm", "verify", "completion")


@pytest.fixture
def signed_in(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of work, with the server and an API key in the environment."""
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("WE_UPLOAD_URL", server.url)
    monkeypatch.setenv("WE_UPLOAD_API_KEY", "wup_test")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])

    assert exit_.value.code == 0
    assert f"usage: we-upload {command} [options]" in capsys.readouterr().out


@pytest.mark.timing
def test_help_takes_less_than_150_ms_of_processor_time() -> None:
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "we_upload", "--help"], check=True, capture_output=True, env=_environment())
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    # Processor time, which other work on the machine lengthens least. The command waits for nothing.
    assert min(times) < 0.15


def test_help_imports_no_http_library() -> None:
    script = """
import sys, we_upload.cli.main
try:
    we_upload.cli.main.main(["--help"])
except SystemExit:
    print([name for name in ("urllib3", "ssl", "sqlite3") if name in sys.modules])
"""

    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=_environment())

    assert run.stdout.splitlines()[-1] == "[]"


def _environment() -> dict[str, str]:
    import we_upload

    return {"PYTHONPATH": str(Path(we_upload.__file__).parents[1])}


def test_up_prints_only_the_ids_in_the_order_of_the_arguments(server: Any, signed_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("b.txt", "a.txt"):
        (signed_in / name).write_text(name)

    status = main(["up", "b.txt", "a.txt"])

    printed = capsys.readouterr()
    assert (status, printed.err) == (0, "")
    assert [server.files[file_id]["filename"] for file_id in printed.out.split()] == ["b.txt", "a.txt"]


def test_up_as_json_describes_each_file(signed_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (signed_in / "a.txt").write_text("abc")

    main(["up", "--json", "a.txt"])

    described = json.loads(capsys.readouterr().out)
    assert described["share"] is None
    [file] = described["files"]
    assert {name: value for name, value in file.items() if name != "id"} == {
        "path": "a.txt",
        "name": "a.txt",
        "size_bytes": 3,
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }


def test_up_of_a_folder_keeps_the_paths_as_descriptions(server: Any, signed_in: Path) -> None:
    (signed_in / "photos" / "2026").mkdir(parents=True)
    (signed_in / "photos" / "2026" / "a.jpg").write_text("a")

    main(["up", "photos"])

    [file] = server.files.values()
    assert (file["filename"], file["description"]) == ("a.jpg", "photos/2026/a.jpg")


def test_up_reads_standard_input(server: Any, signed_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"piped")))

    main(["up", "-", "--name", "log.txt"])

    assert server.content_of("log.txt") == b"piped"


def test_failed_file_is_reported_and_the_others_are_printed(server: Any, signed_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (signed_in / name).write_text(name)
    server.refusals = [(413, {"status": 413, "code": "quota_exceeded", "detail": "The quota is used up"}, {})]

    status = main(["up", "a", "b", "--lanes", "1"])

    printed = capsys.readouterr()
    assert status == 6
    assert len(printed.out.split()) == 1
    assert "a (1 B): The quota is used up" in printed.err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["up", "missing"], 2, "missing: there is no such file or folder."),
        (["up", "-", "file"], 2, "cannot be combined"),
        (["up", "file", "--expires", "7d"], 2, "need --share: --expires"),
        (["up", "file", "--share", "--expires", "yesterday"], 2, "--expires yesterday is not a time"),
        (["up", "file", "--request", "https://x.example.com/s/abc"], 2, "is not a link"),
        (["down", "nonsense"], 2, "neither the id of a file nor a link"),
        (["down", "00000000-0000-4000-8000-000000000000"], 4, "There is no such file"),
        (["rm", "00000000-0000-4000-8000-000000000000"], 4, "There is no such file"),
        (["rm", "00000000-0000-4000-8000-000000000000", "x"], 2, "x is not an id, such as"),
        (["share", "x"], 2, "x is not an id, such as"),
        (["links", "--revoke", "x"], 2, "x is not an id, such as"),
        (["up", "empty"], 2, "empty has no files."),
        (["up", "folder", "empty", "--exclude", "*"], 2, "The folders have no files that match --include and --exclude."),
        (["up", "dangling"], 2, "dangling is a link to a file that does not exist."),
        (["verify", "missing"], 2, "verify: missing: No such file or directory"),
        (["login", "--api-key", "wup_secret"], 2, "Send the API key on standard input."),
        (["login", "x.test", "--api-key", "wup_secret"], 2, "Send the API key on standard input."),
        (["login", "wup_secret", "--api-key"], 2, "Send the API key on standard input."),
    ],
)
def test_mistake_has_a_message_and_a_status(
    signed_in: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, message: str
) -> None:
    (signed_in / "file").write_text("content")
    (signed_in / "empty").mkdir()
    (signed_in / "folder").mkdir()
    (signed_in / "folder" / "file").write_text("content")
    (signed_in / "dangling").symlink_to("nothing")

    assert main(arguments) == status

    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err


def test_verify_passes_receipt_keys_and_file_on(
    signed_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Any] = []
    event = receipts.VerifiedEvent(
        "file.available", "2026-01-31T12:00:00Z", "file:1", {"filename": "a.txt"}, "log.test", "2026-01-31T12:01:00Z"
    )

    def verify_receipt(*arguments: Any, file: Path | None) -> list[receipts.VerifiedEvent]:
        given.extend([*arguments, file])
        return [event]

    monkeypatch.setattr(receipts, "verify_receipt", verify_receipt)
    (signed_in / "receipt.json").write_text('{"file_id": "1"}')
    (signed_in / "key").write_text("key")
    (signed_in / "file").write_text("content")

    assert main(["verify", "receipt.json", "file", "--key", "key"]) == 0

    assert given == [b'{"file_id": "1"}', "key", Path("file")]
    printed = capsys.readouterr()
    assert "file.available a.txt" in printed.err + printed.out
    assert "belongs to the file" in printed.err + printed.out


@pytest.mark.parametrize(
    ("receipt", "arguments", "status", "message"),
    [
        ("{}", ["verify", "receipt.json", "--key", "key"], 1, "The receipt is not valid"),
        ("{}", ["verify", "receipt.json", "--key", "missing"], 2, "missing: No such file"),
        ("{}", ["verify", "missing.json", "--key", "key"], 2, "missing.json: No such file"),
        ("{}", ["verify", "receipt.json", "missing", "--key", "key"], 2, "missing is not a file"),
    ],
)
def test_receipt_that_cannot_be_verified_has_a_message_and_a_status(
    signed_in: Path, capsys: pytest.CaptureFixture[str], receipt: str, arguments: list[str], status: int, message: str
) -> None:
    (signed_in / "receipt.json").write_text(receipt)
    (signed_in / "key").write_text("log+0+AA==")

    assert main(arguments) == status

    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--email", "ada@example.com"], "Password: standard input is empty"), (["--api-key"], "API key: standard input is empty")],
    ids=["password", "key"],
)
def test_login_without_a_secret_names_standard_input(
    server: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())

    assert main(["login", server.url, *arguments]) == 2

    assert message in capsys.readouterr().err


def test_entries_of_a_folder_that_are_left_out_are_named(server: Any, signed_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = signed_in / "folder"
    folder.mkdir()
    (folder / "a").write_text("content")
    (folder / "again").symlink_to(folder)
    (folder / "copy").symlink_to("a")
    (folder / "nothing").symlink_to("missing")
    (folder / "skipped").symlink_to("missing")

    status = main(["up", "folder", "--exclude", "skipped"])

    printed = capsys.readouterr()
    assert status == 0
    assert len(printed.out.split()) == 2
    assert printed.err.splitlines() == [
        "Left out folder/again: links to folders are not followed.",
        "Left out folder/nothing: it is neither a file nor a folder.",
    ]


def test_link_opens_although_the_sign_in_has_ended(server: Any, signed_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.refusals = [(401, {"status": 401, "code": "not_authenticated", "detail": "Could not validate credentials"}, {})]

    assert main(["ls", f"{server.url}/s/TOKEN"]) == 0


def test_full_file_request_has_the_status_of_a_limit(server: Any, signed_in: Path) -> None:
    (signed_in / "a").write_text("content")
    server.refusals = [(409, {"status": 409, "code": "file_request_full", "detail": "No more files"}, {})]

    assert main(["send-to", f"{server.url}/r/TOKEN", "a"]) == 6


def test_refused_key_has_its_own_status_and_advice(
    signed_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WE_UPLOAD_API_KEY", "wup_revoked")

    assert main(["ls"]) == 3

    assert "Check WE_UPLOAD_API_KEY" in capsys.readouterr().err


def test_message_of_the_server_cannot_change_the_terminal(server: Any, signed_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.refusals = [(403, {"status": 403, "code": "no", "detail": "No\x1b]0;title\x07"}, {})]

    assert main(["ls"]) == 4

    assert "\x1b" not in capsys.readouterr().err


def test_command_without_credentials_names_login(
    signed_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WE_UPLOAD_API_KEY")
    monkeypatch.delenv("WE_UPLOAD_URL")

    assert main(["ls"]) == 3

    assert "we-upload login https://files.example.com" in capsys.readouterr().err


@pytest.fixture
def terminal(signed_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal without a graphical browser, of a user who is not signed in."""
    for name in ("WE_UPLOAD_API_KEY", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("time.sleep", lambda _: None)


STARTED = {
    "device_code": "secret",
    "user_code": "BCDF-GHJK",
    "verification_uri_complete": "https://x.test/settings#connect=BCDF-GHJK",
    "interval": 5,
}
PENDING: tuple[int, dict[str, Any], dict[str, str]] = (400, {"status": 400, "code": "authorization_pending", "detail": "Not yet"}, {})


@pytest.mark.usefixtures("terminal")
def test_login_waits_for_approval_in_the_browser(server: Any, signed_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = {"access_token": "access", "refresh_token": "refresh"}
    user = {"id": "1", "email": "ada@example.com", "is_superuser": False, "email_verified": True}
    server.refusals = [(200, STARTED, {}), PENDING, PENDING, (200, tokens, {}), (200, user, {})]

    assert main(["login", server.url]) == 0

    printed = capsys.readouterr()
    assert "BCDF-GHJK" in printed.err
    assert "https://x.test/settings#connect=BCDF-GHJK" in printed.err
    assert "Signed in" in printed.err
    assert server.calls["POST /login/device/token"] == 3
    assert CredentialStore().load(server.url) == {"email": "ada@example.com", **tokens}


@pytest.mark.usefixtures("terminal")
def test_login_that_is_denied_in_the_browser_stores_nothing(server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    server.refusals = [(200, STARTED, {}), PENDING, (400, {"status": 400, "code": "access_denied", "detail": "The sign-in was denied"}, {})]

    assert main(["login", server.url]) == 1

    assert "The sign-in was denied" in capsys.readouterr().err
    assert CredentialStore().load(server.url) is None


@pytest.mark.usefixtures("terminal")
def test_login_at_a_server_without_browser_sign_in_prompts_for_an_address(
    server: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.refusals = [(404, {"status": 404, "code": "no_such_route", "detail": "Not found"}, {})]

    monkeypatch.setattr("we_upload.cli.account.enter_password", lambda **_: "")

    assert main(["login", server.url]) == 2

    assert "E-mail at" in capsys.readouterr().err


def test_unusable_journal_is_reported_and_the_file_uploaded(
    server: Any, signed_in: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (signed_in / "a.txt").write_text("abc")
    (tmp_path / "XDG_STATE_HOME" / "we-upload").mkdir(parents=True)
    (tmp_path / "XDG_STATE_HOME" / "we-upload" / "journal.sqlite3").write_text("not a database, and long enough to be refused as one")

    assert main(["up", "a.txt"]) == 0

    assert "journal.sqlite3 cannot be used" in capsys.readouterr().err
    assert server.content_of("a.txt") == b"abc"


def test_state_folder_that_cannot_be_made_is_reported(
    server: Any, signed_in: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (signed_in / "a.txt").write_text("abc")
    (tmp_path / "XDG_STATE_HOME").write_text("a file")

    assert main(["up", "a.txt"]) == 0

    assert "cannot be continued" in capsys.readouterr().err


def test_unreadable_file_is_named_once_and_the_others_are_uploaded(
    server: Any, signed_in: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (signed_in / name).write_text(name)
    opened = FileSource.open

    def refuse(source: FileSource) -> Any:
        if source.path.name == "a":
            raise PermissionError(13, "Permission denied", "a")
        return opened(source)

    monkeypatch.setattr(FileSource, "open", refuse)

    status = main(["up", "a", "b"])

    printed = capsys.readouterr()
    assert status == 1
    assert len(printed.out.split()) == 1
    assert printed.err == "a (1 B): Permission denied\n"


def test_unwritable_folder_is_reported(signed_in: Path, server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (signed_in / "a.txt").write_text("abc")
    main(["up", "a.txt"])
    file_id = capsys.readouterr().out.strip()
    (signed_in / "file").write_text("in the way")

    assert main(["down", file_id, "-o", "file/a.txt"]) != 0

    assert "file" in capsys.readouterr().err


def test_refused_link_does_not_upload_the_file_again(server: Any, signed_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (signed_in / "a.txt").write_text("abc")

    assert main(["up", "--share", "--slug", "taken", "a.txt"]) == 4
    assert main(["up", "a.txt"]) == 0

    assert len(server.puts) == 1
    assert capsys.readouterr().out.strip() in server.files


def test_unreachable_server_is_reported_soon(signed_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WE_UPLOAD_URL", "http://127.0.0.1:9")
    (signed_in / "a.txt").write_text("abc")

    assert main(["up", "a.txt"]) == 5

    assert "No answer from 127.0.0.1:9" in capsys.readouterr().err


def test_existing_file_is_not_replaced_without_force(server: Any, signed_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (signed_in / "a.txt").write_text("abc")
    main(["up", "a.txt"])
    file_id = capsys.readouterr().out.strip()

    assert main(["down", file_id]) == 2
    assert "a.txt would be replaced" in capsys.readouterr().err
    assert main(["down", file_id, "--force"]) == 0
    assert main(["down", file_id, "-o", "copy.txt"]) == 0

    assert (signed_in / "copy.txt").read_text() == "abc"


def test_credentials_are_readable_by_the_user_only(tmp_path: Path) -> None:
    store = CredentialStore(tmp_path / "config")

    store.save("https://files.example.com", "ada@example.com", {"api_key": "wup_secret"})

    assert ((tmp_path / "config").stat().st_mode & 0o777, (tmp_path / "config" / "credentials.json").stat().st_mode & 0o777) == (
        0o700,
        0o600,
    )
    assert store.load("https://files.example.com") == {"email": "ada@example.com", "api_key": "wup_secret"}
    store.forget("https://files.example.com")
    assert store.servers() == []


def test_keyring_holds_the_secrets_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[tuple[str, str], str] = {}
    ring = SimpleNamespace(
        get_keyring=object,
        set_password=lambda service, name, secret: kept.update({(service, name): secret}),
        get_password=lambda service, name: kept.get((service, name)),
        delete_password=lambda service, name: kept.pop((service, name)),
    )
    monkeypatch.setitem(sys.modules, "keyring", ring)
    monkeypatch.setitem(sys.modules, "keyring.backends.fail", SimpleNamespace(Keyring=type("Keyring", (), {})))
    store = CredentialStore(tmp_path / "config")

    is_in_keyring = store.save("https://files.example.com", "ada@example.com", {"api_key": "wup_secret"})

    assert is_in_keyring
    assert "wup_secret" not in (tmp_path / "config" / "credentials.json").read_text()
    loaded = store.load("https://files.example.com")
    assert loaded is not None
    assert loaded["api_key"] == "wup_secret"
    store.forget("https://files.example.com")
    assert kept == {}


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ([], [], ["d/a.txt", "d/sub/b.log", "d/sub/c.txt"]),
        (["*.txt"], [], ["d/a.txt", "d/sub/c.txt"]),
        ([], ["sub"], ["d/a.txt"]),
        ([], ["sub/*.log"], ["d/a.txt", "d/sub/c.txt"]),
        (["*.txt"], ["sub/"], ["d/a.txt"]),
    ],
)
def test_patterns_select_files_of_a_folder(tmp_path: Path, include: list[str], exclude: list[str], expected: list[str]) -> None:
    (tmp_path / "d" / "sub").mkdir(parents=True)
    for name in ("a.txt", "sub/b.log", "sub/c.txt"):
        (tmp_path / "d" / name).write_text(name)

    selected = select([str(tmp_path / "d")], include=include, exclude=exclude)

    assert [file.relative for file in selected] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30m", "2026-01-31T12:30"),
        ("12h", "2026-02-01T00:00"),
        ("7d", "2026-02-07T12:00"),
        ("2w", "2026-02-14T12:00"),
        ("2030-01-31T12:00:00Z", "2030-01-31T12:00"),
    ],
)
def test_expiry_is_a_duration_or_a_time(text: str, expected: str) -> None:
    time_ = parse_expiry(text, now=NOW)

    assert time_ is not None
    assert time_.isoformat().startswith(expected)


@pytest.mark.parametrize("text", ["", "7", "0d", "2020-01-01", "soon", "999999w"])
def test_other_expiries_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--expires"):
        parse_expiry(text, now=NOW)


@pytest.mark.parametrize(
    ("text", "expected"), [("1048576", 1048576), ("200MB", 200_000_000), ("1GiB", 1024**3), ("1.5k", 1500), ("7 b", 7)]
)
def test_size_has_a_unit(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "big", "-1", "3ib"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.txt", "a.txt"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("..", "unnamed"),
        ("a\x1b[31m", "a_[31m"),
        ("", "unnamed"),
        ("gpj.\u202eexe", "gpj._exe"),
        ("ü" * 200 + ".jpg", "ü" * 113 + ".jpg"),
    ],
)
def test_name_from_the_server_cannot_leave_the_folder_or_change_the_terminal(name: str, expected: str) -> None:
    assert local_name(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a\nb", "a_b"), ("\udcff.txt", "_.txt"), ("  ", "unnamed"), ("x" * 300 + ".jpg", "x" * 251 + ".jpg")],
)
def test_local_name_is_made_acceptable_to_the_server(name: str, expected: str) -> None:
    assert safe_name(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("a.png", "image/png"), ("a.tar.gz", "application/gzip"), ("a", "application/octet-stream")]
)
def test_content_type_follows_the_extension(name: str, expected: str) -> None:
    assert content_type_of(name) == expected


def test_texts_for_people() -> None:
    assert [size_text(999), size_text(1_234_567), size_text(5e12)] == ["999 B", "1.2 MB", "5.0 TB"]
    assert [time_text(7), time_text(3_725)] == ["0:07", "1:02:05"]
    assert printable("a\x1b]0;title\x07b") == "a?]0;title?b"


@pytest.mark.parametrize("columns", [40, 100])
def test_progress_fits_the_terminal_and_has_a_line_for_each_file_and_for_all(columns: int) -> None:
    progress = Progress()
    for name in ("first.bin", "x" * 200):
        transfer = progress.add(name, 1_000_000)
        transfer.enter(State.SENDING)
        transfer.moved(500_000)

    lines = Display(progress, "Uploaded").lines(columns)

    assert len(lines) == 3
    assert all(len(line) < columns for line in lines)
    assert "0 of 2 files" in lines[-1]
    assert re.search(r" 50 % ", lines[0])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", shell])

    script = capsys.readouterr().out
    assert all(command in script for command in COMMANDS)


def test_bash_completes_commands_and_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"])
    script = capsys.readouterr().out + 'COMP_WORDS=(we-upload up --sh); COMP_CWORD=2; _we_upload; echo "${COMPREPLY[*]}"'

    run = subprocess.run([shutil.which("bash") or "bash", "-c", script], capture_output=True, text=True, check=True)

    assert run.stdout.split() == ["--share"]
