"""Uploads: faults of the network and the store, resuming, groups, changed files."""

import hashlib
import io
import os
import time
from pathlib import Path
from typing import Any

import pytest
from we_upload import (
    Client,
    ConflictError,
    ConnectionFailedError,
    FileChangedError,
    Journal,
    LimitExceededError,
    NotSignedInError,
    StorageRefusedError,
    UploadItem,
)
from we_upload.journal import STARTED, UploadEntry
from we_upload.transfer import destinations
from we_upload.transfer.jobs import UploadResult
from we_upload.transfer.sources import BytesSource, FileSource


def make_files(folder: Path, count: int, size_bytes: int = 100) -> list[UploadItem]:
    items = []
    for number in range(count):
        path = folder / f"file-{number:03}.bin"
        path.write_bytes(os.urandom(size_bytes))
        items.append(UploadItem(FileSource(path), str(path)))
    return items


class InterruptedRun:
    """Many small files of which some were sent when the run was cancelled, or of which the server completes none."""

    def __init__(self, client: Client, server: Any, folder: Path, count: int, *, puts: int | None) -> None:
        self._client = client
        self._journal = Journal(folder / "journal")
        (folder / "files").mkdir()
        self.items = make_files(folder / "files", count)
        if puts is None:
            server.completes_by_event, server.completed_at_once, server.on_complete = False, 0, client.cancelled.set
        else:
            server.on_put = lambda _: client.cancelled.set() if len(server.puts) >= puts else None
        with pytest.raises(Exception, match="cancelled"):
            self.upload()
        self.entries = list(self._journal.uploads_of("run").values())
        server.on_put, server.on_complete, server.completed_at_once = (lambda _: None), (lambda: None), 100
        client.cancelled.clear()

    def upload(self) -> list[UploadResult]:
        """Upload the files, or go on with it."""
        return self._client.upload_many(self.items, journal=self._journal, run="run")

    def bodies(self) -> list[bytes]:
        """Return the content of the files."""
        return [Path(item.path).read_bytes() for item in self.items]

    def any_id(self, state: str) -> str:
        """Return the id of a file that was in this state."""
        return next(entry.file_id for entry in self.entries if entry.state == state)


def test_small_file_is_sent_in_one_request_with_its_digest(client: Client, server: Any) -> None:
    file = client.upload(b"hello", name="hello.txt")

    assert (file.filename, file.content_type, file.size_bytes, file.status) == ("hello.txt", "text/plain", 5, "available")
    assert file.sha256 == hashlib.sha256(b"hello").hexdigest()
    assert server.calls == {"POST /files/upload": 1, "POST /files/ID/complete": 1}
    assert len(server.puts) == 1


def test_empty_file_is_sent(client: Client, server: Any) -> None:
    client.upload(b"", name="empty")

    assert server.content_of("empty") == b""


def test_stream_is_sent_and_its_temporary_file_deleted(
    client: Client, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    client.upload(io.BytesIO(b"x" * 9999), name="stream")

    assert server.content_of("stream") == b"x" * 9999
    assert list(tmp_path.iterdir()) == []


def test_large_file_is_sent_in_parts(client: Client, server: Any, tmp_path: Path) -> None:
    content = os.urandom(12_345)
    path = tmp_path / "large.bin"
    path.write_bytes(content)

    client.upload(path)

    assert server.content_of("large.bin") == content
    assert len(server.puts) == 13
    assert server.calls["POST /files/ID/parts"] == 4


@pytest.mark.parametrize("fault", ["503", "500", "drop", "403"])
@pytest.mark.parametrize("size_bytes", [100, 9_999])
def test_temporary_fault_of_the_store_is_repeated(client: Client, server: Any, fault: str, size_bytes: int) -> None:
    server.faults = [fault, fault]

    client.upload(b"a" * size_bytes, name="file")

    assert server.content_of("file") == b"a" * size_bytes


def test_412_after_a_lost_answer_completes_the_upload(client: Client, server: Any) -> None:
    server.faults = ["stored-then-503"]

    client.upload(b"abc", name="file")

    assert server.content_of("file") == b"abc"
    assert len(server.puts) == 2


def test_lasting_refusal_of_the_store_is_an_error(client: Client, server: Any) -> None:
    server.faults = ["400"]

    with pytest.raises(StorageRefusedError) as error:
        client.upload(b"abc", name="file")

    assert (error.value.status, error.value.reason) == (400, "Whatever")


def test_old_signature_is_replaced_before_it_is_used(client: Client, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destinations, "SIGNATURE_AGE_MAX_SECONDS", -1)

    client.upload(b"abc", name="file")

    assert server.calls["POST /files/upload"] == 2
    assert len(server.puts) == 1


def test_interrupted_large_upload_continues_with_the_missing_parts(client: Client, server: Any, tmp_path: Path) -> None:
    content = os.urandom(20_000)
    path = tmp_path / "large.bin"
    path.write_bytes(content)
    journal = Journal(tmp_path / "journal")
    server.on_put = lambda _: client.cancelled.set() if len(server.puts) >= 9 else None

    with pytest.raises(Exception, match="cancelled"):
        client.upload(path, journal=journal)
    time.sleep(0.3)  # requests whose client has given up may still arrive
    before = {key for key in server.puts if int(key.partition("/")[2]) in server.parts[key.partition("/")[0]]}
    server.puts.clear()
    server.on_put = lambda _: None
    client.cancelled.clear()
    client.upload(path, journal=journal)

    assert server.content_of("large.bin") == content
    assert before
    assert not before & set(server.puts)
    assert len(before) + len(server.puts) == 20
    assert server.calls["POST /files/multipart"] == 1


def test_upload_whose_answer_to_complete_was_lost_is_not_sent_again(client: Client, server: Any, tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(8_000))
    journal = Journal(tmp_path / "journal")
    run = f"upload {server.url} {path.resolve()}"
    client.upload(path, journal=journal)
    [file_id] = server.files
    journal.save([UploadEntry(run, str(path.resolve()), 8_000, path.stat().st_mtime_ns, file_id=file_id, state=STARTED)])
    server.puts.clear()

    file = client.upload(path, journal=journal)

    assert file.id == file_id
    assert server.puts == []


def test_finished_upload_is_repeated_on_request(client: Client, server: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    journal = Journal(tmp_path / "journal")

    first, second = client.upload(path, journal=journal), client.upload(path, journal=journal)

    assert first.id != second.id


def test_upload_lost_by_the_server_begins_again(client: Client, server: Any, tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(8_000))
    journal = Journal(tmp_path / "journal")
    server.faults = ["400"]
    with pytest.raises(StorageRefusedError):
        client.upload(path, journal=journal)
    server.files.clear()

    client.upload(path, journal=journal)

    assert server.content_of("large.bin") == path.read_bytes()


def test_changed_file_is_refused_and_its_upload_deleted(client: Client, server: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    real_add = server.add_file

    def add_and_change(declared: dict[str, Any]) -> str:
        path.write_bytes(b"xyz")
        return str(real_add(declared))

    server.add_file = add_and_change

    with pytest.raises(FileChangedError):
        client.upload(path)

    assert server.files == {}


def test_many_small_files_are_started_by_one_request(client: Client, server: Any, tmp_path: Path) -> None:
    items = make_files(tmp_path, 150)

    results = client.upload_many(items)

    assert [result.error for result in results] == [None] * 150
    assert [server.stored[result.file_id] for result in results] == [Path(item.path).read_bytes() for item in items]
    assert server.calls == {"POST /files/uploads": 2, "POST /files/complete": 2}
    assert {file["status"] for file in server.files.values()} == {"available"}


def test_files_that_were_not_reached_in_time_are_completed_by_further_requests(client: Client, server: Any, tmp_path: Path) -> None:
    server.completes_by_event, server.completed_at_once = False, 10

    results = client.upload_many(make_files(tmp_path, 30))

    assert [result.error for result in results] == [None] * 30
    assert server.calls == {"POST /files/uploads": 1, "POST /files/complete": 3}


def test_server_that_completes_no_groups_gets_one_request_for_each_file(client: Client, server: Any, tmp_path: Path) -> None:
    server.completes_by_event = server.completes_groups = False

    client.upload_many(make_files(tmp_path, 30))

    assert {file["status"] for file in server.files.values()} == {"available"}
    assert server.calls["POST /files/ID/complete"] == 30


def test_member_that_the_store_has_lost_is_sent_again(client: Client, server: Any, tmp_path: Path) -> None:
    server.completes_by_event = False
    lost: list[str] = []

    def lose_one(file_id: str) -> None:
        # While the last file of the group is sent, so that the group is completed without this one.
        if len(server.puts) == 29 and not lost:
            lost.append(next(one for one in server.stored if one != file_id))
            del server.stored[lost[0]]

    server.on_put = lose_one
    items = make_files(tmp_path, 30)

    results = client.upload_many(items)

    assert len(lost) == 1
    assert [server.stored[result.file_id] for result in results] == [Path(item.path).read_bytes() for item in items]
    assert {file["status"] for file in server.files.values()} == {"available"}


def test_upload_that_does_not_wait_leaves_small_files_to_the_server(client: Client, server: Any, tmp_path: Path) -> None:
    server.completes_by_event = False

    results = client.upload_many(make_files(tmp_path, 30), is_waiting=False)

    assert {result.file_id for result in results} == set(server.stored)
    assert server.calls == {"POST /files/uploads": 1}


def test_refused_file_of_a_group_does_not_stop_the_others(client: Client, server: Any, tmp_path: Path) -> None:
    server.refused_members = [3, 29]

    results = client.upload_many(make_files(tmp_path, 30))

    refused = [number for number, result in enumerate(results) if result.error]
    error = results[3].error
    assert refused == [3, 29]
    assert isinstance(error, LimitExceededError)
    assert (error.code, error.message, error.extra["bytes_left"]) == ("quota_exceeded", "The quota is used up", 5)
    assert len(server.puts) == 28


def test_server_without_groups_gets_one_start_for_each_file(client: Client, server: Any, tmp_path: Path) -> None:
    server.has_groups = False

    results = client.upload_many(make_files(tmp_path, 30))

    assert {result.error for result in results} == {None}
    assert server.calls["POST /files/upload"] == 30


def test_interrupted_group_continues_without_sending_files_again(client: Client, server: Any, tmp_path: Path) -> None:
    run = InterruptedRun(client, server, tmp_path, 120, puts=50)
    # The client knows these to be stored; the answers to others may have been lost with the cancellation.
    known = {entry.file_id for entry in run.entries if entry.state in ("sent", "done")}
    server.puts.clear()

    results = run.upload()

    assert len(known) >= 40
    assert not known & set(server.puts)
    assert [server.stored[result.file_id] for result in results] == run.bodies()
    assert len(server.files) == 120


def test_group_that_was_sent_before_the_interruption_is_only_completed(client: Client, server: Any, tmp_path: Path) -> None:
    run = InterruptedRun(client, server, tmp_path, 30, puts=None)
    server.puts.clear()

    results = run.upload()

    assert server.puts == []
    assert [server.stored[result.file_id] for result in results] == run.bodies()
    assert {file["status"] for file in server.files.values()} == {"available"}


def test_deleted_files_of_an_interrupted_group_are_uploaded_again(client: Client, server: Any, tmp_path: Path) -> None:
    run = InterruptedRun(client, server, tmp_path, 60, puts=30)
    server.gone = {run.any_id("started"), run.any_id("sent")}
    for file_id in server.gone:
        server.files.pop(file_id)
        server.stored.pop(file_id, None)

    results = run.upload()

    assert [result.error for result in results] == [None] * 60
    assert not server.gone & {result.file_id for result in results}
    assert [server.stored[result.file_id] for result in results] == run.bodies()
    assert {file["status"] for file in server.files.values()} == {"available"}
    assert server.calls["POST /files/upload"] == 2


def test_deleted_file_that_cannot_be_uploaded_again_does_not_stop_its_group(client: Client, server: Any, tmp_path: Path) -> None:
    run = InterruptedRun(client, server, tmp_path, 230, puts=30)
    server.gone = {run.any_id("started")}
    server.refusals = [(413, {"status": 413, "code": "quota_exceeded", "detail": "The quota is used up"}, {})]
    server.refused_route = "POST /files/upload"

    results = run.upload()

    assert [result.error.code for result in results if result.error] == ["quota_exceeded"]
    assert sum(result.file_id in server.stored for result in results) == 229


def test_changed_file_of_an_interrupted_group_is_sent_in_its_new_version(client: Client, server: Any, tmp_path: Path) -> None:
    run = InterruptedRun(client, server, tmp_path, 30, puts=10)
    Path(run.items[20].path).write_bytes(b"new content")
    run.items[20] = UploadItem(FileSource(Path(run.items[20].path)), run.items[20].path)

    results = run.upload()

    assert [server.stored[result.file_id] for result in results] == run.bodies()


def test_finished_file_of_an_interrupted_run_stays_when_it_has_changed_since(client: Client, server: Any, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    (tmp_path / "files").mkdir()
    items = make_files(tmp_path / "files", 2)
    server.faults = ["", "400"]
    client.upload_many(items, journal=journal, run="run", lanes=1)
    Path(items[0].path).write_bytes(b"a newer version")
    items[0] = UploadItem(FileSource(Path(items[0].path)), items[0].path)

    client.upload_many(items, journal=journal, run="run", lanes=1)

    assert sorted(file["filename"] for file in server.files.values()) == ["file-000.bin", "file-000.bin", "file-001.bin"]


def test_error_of_one_file_does_not_stop_the_others(client: Client, server: Any) -> None:
    server.refusals = [(413, {"status": 413, "code": "quota_exceeded", "detail": "The quota is used up"}, {})]

    results = client.upload_many([UploadItem(BytesSource(b"a"), "a"), UploadItem(BytesSource(b"b"), "b")], lanes=1)

    assert isinstance(results[0].error, LimitExceededError)
    assert results[0].error.code == "quota_exceeded"
    assert results[1].error is None
    assert server.content_of("b") == b"b"


def test_refused_credentials_end_the_run(client: Client, server: Any) -> None:
    server.refusals = [(401, {"status": 401, "code": "not_authenticated", "detail": "No"}, {})] * 2

    with pytest.raises(NotSignedInError):
        client.upload_many([UploadItem(BytesSource(b"a"), "a")])


def test_unreachable_server_is_an_error_after_several_tries(server: Any) -> None:
    with Client("http://127.0.0.1:9", api_key="wup_test") as client, pytest.raises(ConnectionFailedError, match=r"127\.0\.0\.1:9"):
        client.upload(b"abc")


def test_guest_upload_needs_no_account_and_continues_with_its_token(server: Any, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    item = UploadItem(BytesSource(b"from a guest"), "gift.txt")
    with Client(server.url) as client:
        server.faults = ["400"]
        [failed] = client.send_to(f"{server.url}/r/TOKEN", [item], journal=journal, run="run")
        [result] = client.send_to(f"{server.url}/r/TOKEN", [item], journal=journal, run="run")

    assert failed.error is not None
    assert result.error is None
    assert server.content_of("gift.txt") == b"from a guest"
    assert len(server.files) == 1


def test_interrupted_large_upload_of_a_guest_continues_with_the_missing_parts(server: Any, tmp_path: Path) -> None:
    content = os.urandom(20_000)
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    journal = Journal(tmp_path / "journal")
    with Client(server.url) as client:
        server.on_put = lambda _: client.cancelled.set() if len(server.puts) >= 9 else None
        with pytest.raises(Exception, match="cancelled"):
            client.send_to(f"{server.url}/r/TOKEN", [UploadItem(FileSource(path), "film.mp4")], journal=journal, run="run")
        time.sleep(0.3)  # requests whose client has given up may still arrive
        before = {key for key in server.puts if int(key.partition("/")[2]) in server.parts[key.partition("/")[0]]}
        server.puts.clear()
        server.on_put = lambda _: None
        client.cancelled.clear()
        [result] = client.send_to(f"{server.url}/r/TOKEN", [UploadItem(FileSource(path), "film.mp4")], journal=journal, run="run")

    assert result.error is None
    assert server.content_of("film.mp4") == content
    assert before
    assert not before & set(server.puts)
    assert server.calls["POST /r/TOKEN/multipart"] == 1


def test_guest_deletes_the_parts_of_a_file_that_has_changed(server: Any, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(os.urandom(20_000))
    journal = Journal(tmp_path / "journal")
    with Client(server.url) as client:
        server.on_put = lambda _: client.cancelled.set()
        with pytest.raises(Exception, match="cancelled"):
            client.send_to(f"{server.url}/r/TOKEN", [UploadItem(FileSource(path), "film.mp4")], journal=journal, run="run")
        server.on_put = lambda _: None
        client.cancelled.clear()
        path.write_bytes(new := os.urandom(21_000))
        client.send_to(f"{server.url}/r/TOKEN", [UploadItem(FileSource(path), "film.mp4")], journal=journal, run="run")

    assert server.content_of("film.mp4") == new
    assert len(server.files) == 1
    assert server.calls["POST /r/TOKEN/files/ID/abort"] == 1


def test_conflict_keeps_the_code_and_the_further_members(client: Client, server: Any) -> None:
    server.refusals = [(409, {"status": 409, "code": "parts_missing", "detail": "Some parts", "missing_parts": [3]}, {})]

    with pytest.raises(ConflictError) as error:
        client.file("00000000-0000-0000-0000-000000000000")

    assert (error.value.code, error.value.extra) == ("parts_missing", {"missing_parts": [3]})
