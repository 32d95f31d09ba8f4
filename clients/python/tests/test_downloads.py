"""Downloads: ranges, broken connections, resuming, verification."""

import io
import os
from pathlib import Path
from typing import Any

import pytest
from we_upload import Client, DigestMismatchError, Journal, StorageRefusedError
from we_upload.transfer import downloads


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "CHUNK_BYTES", 1000)


def test_file_is_downloaded_in_ranges_and_verified(client: Client, tmp_path: Path) -> None:
    content = os.urandom(5_500)
    file = client.upload(content, name="file")

    client.download(file.id, tmp_path / "copy")

    assert (tmp_path / "copy").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_empty_file_is_downloaded(client: Client, tmp_path: Path) -> None:
    file = client.upload(b"", name="file")

    client.download(file.id, tmp_path / "copy")

    assert (tmp_path / "copy").read_bytes() == b""


@pytest.mark.parametrize("fault", ["cut", "503", "403"])
def test_temporary_fault_is_repeated(client: Client, server: Any, tmp_path: Path, fault: str) -> None:
    content = os.urandom(2_500)
    file = client.upload(content, name="file")
    server.faults = [fault, fault]

    client.download(file.id, tmp_path / "copy")

    assert (tmp_path / "copy").read_bytes() == content


def test_stream_continues_after_a_broken_connection(client: Client, server: Any) -> None:
    content = os.urandom(2_500)
    file = client.upload(content, name="file")
    out = io.BytesIO()
    server.faults = ["cut"]

    client.download(file.id, out)

    assert out.getvalue() == content


def test_interrupted_download_continues_with_the_missing_ranges(client: Client, server: Any, tmp_path: Path) -> None:
    content = os.urandom(9_000)
    file = client.upload(content, name="file")
    journal = Journal(tmp_path / "journal")
    server.faults = ["", "", "", "400", *["400"] * 8]
    with pytest.raises(StorageRefusedError):
        client.download(file.id, tmp_path / "copy", journal=journal, lanes=1)
    server.faults = []
    server.gets.clear()

    client.download(file.id, tmp_path / "copy", journal=journal)

    assert sorted(server.gets) == [3000, 4000, 5000, 6000, 7000, 8000]
    assert (tmp_path / "copy").read_bytes() == content
    assert journal.download_to(str(tmp_path / "copy")) is None


def test_wrong_content_is_refused_and_deleted(client: Client, server: Any, tmp_path: Path) -> None:
    file = client.upload(os.urandom(2_500), name="file")
    server.stored[file.id] = os.urandom(2_500)

    with pytest.raises(DigestMismatchError):
        client.download(file.id, tmp_path / "copy")

    assert list(tmp_path.iterdir()) == []


def test_wrong_content_of_a_stream_is_refused(client: Client, server: Any) -> None:
    file = client.upload(os.urandom(100), name="file")
    server.stored[file.id] = os.urandom(100)

    with pytest.raises(DigestMismatchError):
        client.download(file.id, io.BytesIO())
