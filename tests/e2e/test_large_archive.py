"""A zip of one large file and a zip of many files, built by the worker in its own process on real servers.

`make test-slow SIZE=full` uses 5 GiB and 2,000 files.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import which
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from infra.local.object_store import ObjectStoreServer
from lambda_app.core import clock
from lambda_app.core.aws import AwsAccess, AwsCredentials
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.models import File, FileStatus, User
from lambda_app.schemas.archives import ArchiveCreate
from lambda_app.storage.keys import archive_request_key, object_key
from lambda_app.storage.parts import MIB
from tests.support.s3_events import batch, s3_message

pytestmark = pytest.mark.slow

GIB = float(os.environ.get("LARGE_ARCHIVE_GIB", "0.1"))
FILES = int(os.environ.get("LARGE_ARCHIVE_FILES", "100"))
WORKER = Path(__file__).with_name("archive_worker.py")
CHECKOUT = Path(__file__).parents[2]
MEMORY_MAX_BYTES = 64 * MIB
"""Limit of a worker's memory above its idle use: two parts in memory, the part being sent, and a margin."""


class Stack(NamedTuple):
    """The services, the environment of a worker, and the owner of the files."""

    services: Services
    environment: dict[str, str]
    user: User


@pytest.fixture(scope="module")
def stack(settings: Settings, s3_server: ObjectStoreServer) -> Iterator[Stack]:
    aws = AwsAccess(settings, AwsCredentials(s3_server.access_key_id, s3_server.secret_access_key), read_timeout_seconds=300)
    services = Services.build(settings, aws)
    assert settings.secret_key is not None
    assert settings.aws_endpoint_url is not None
    environment = os.environ | {
        "ENVIRONMENT": "local",
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "S3_BUCKET_NAME": settings.s3_bucket_name,
        "AWS_ENDPOINT_URL": settings.aws_endpoint_url,
        "AWS_ACCESS_KEY_ID": s3_server.access_key_id,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_access_key,
        "PYTHONPATH": str(CHECKOUT),
    }
    user = User(id=uuid4(), email=f"{uuid4()}@example.com", hashed_password="x", is_active=True, is_superuser=False)
    with services.unit_of_work() as session:
        session.add(user)
    yield Stack(services, environment, user)
    services.engine.dispose()


def store_file(stack: Stack, name: str, size_bytes: int, piece: bytes) -> tuple[UUID, str]:
    """Store a file that repeats `piece`, with the row of a completed upload. Returns its id and SHA-256 digest."""
    file_id, digest = uuid4(), hashlib.sha256()
    key, store = object_key(file_id), stack.services.store
    upload_id = store.start_multipart(key=key, content_type="application/octet-stream", with_digests=True)
    for number, at in enumerate(range(0, size_bytes, len(piece)), 1):
        body = piece[: size_bytes - at]
        digest.update(body)
        assert store.send_part(key=key, upload_id=upload_id, number=number, body=body)
    parts = store.list_parts(key, upload_id)
    assert parts is not None
    store.complete_multipart(key=key, upload_id=upload_id, parts=parts, size_bytes=size_bytes)
    now = clock.now()
    row = File(id=file_id, filename=name, content_type="a/b", size_bytes=size_bytes, s3_key=key, owner_id=stack.user.id)
    row.status, row.upload_expires_at, row.created_at, row.updated_at = FileStatus.AVAILABLE, now, now, now
    with stack.services.unit_of_work() as session:
        session.add(row)
    return file_id, digest.hexdigest()


def create_archive(stack: Stack, file_ids: list[UUID]) -> UUID:
    with stack.services.unit_of_work() as session:
        return stack.services.archives(session).start(stack.user, ArchiveCreate(file_ids=file_ids)).id


def command(stack: Stack, archive_id: UUID) -> list[str]:
    event = batch(s3_message(archive_request_key(archive_id), bucket=stack.services.settings.s3_bucket_name))
    return [sys.executable, str(WORKER), json.dumps(event)]


def build(stack: Stack, archive_id: UUID) -> dict[str, Any]:
    """Build the archive in a separate process, and return its report: memory in KiB and time in seconds."""
    started_at = time.monotonic()
    finished = subprocess.run(command(stack, archive_id), env=stack.environment, check=True, capture_output=True, text=True, timeout=3600)
    report: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    report["seconds"] = round(time.monotonic() - started_at, 1)
    assert report["response"] == {"batchItemFailures": []}, finished.stdout
    return report


def download(stack: Stack, archive_id: UUID, path: Path) -> None:
    with stack.services.unit_of_work() as session:
        found = stack.services.archives(session).get(stack.user, archive_id)
    assert found.request is not None, found
    with httpx.stream("GET", found.request.url, timeout=900, trust_env=False) as response, path.open("wb") as file:
        for chunk in response.iter_bytes(MIB):
            file.write(chunk)


def assert_valid_zip(path: Path) -> None:
    """Verify the zip with `unzip`, if it is installed, and with Python's reader."""
    if tool := which("unzip"):
        tested = subprocess.run([tool, "-tq", str(path)], check=False, capture_output=True, text=True)
        print(tested.stdout[-200:].strip())
        assert tested.returncode == 0, tested.stdout[-2000:] + tested.stderr
    with zipfile.ZipFile(path) as found:
        assert found.testzip() is None


def memory_bytes(report: dict[str, Any]) -> int:
    return int(report["peak_kib"] - report["baseline_kib"]) * 1024


def test_zip_of_a_large_file_is_resumed_after_a_kill_within_the_memory_limit(stack: Stack, tmp_path: Path) -> None:
    size_bytes = int(GIB * 1024**3) + 12_345
    file_id, digest = store_file(stack, "large.bin", size_bytes, os.urandom(8 * MIB))
    archive_id = create_archive(stack, [file_id])

    worker = subprocess.Popen(command(stack, archive_id), env=stack.environment, stdout=subprocess.DEVNULL)
    while (done := done_bytes(stack, archive_id)) < size_bytes / 3:
        assert worker.poll() is None
        time.sleep(0.05)
    worker.kill()
    assert worker.wait() == -signal.SIGKILL
    before = done_bytes(stack, archive_id)
    with stack.services.unit_of_work() as session:
        session.execute(text("UPDATE archive SET lease_until = now() - interval '1 second' WHERE id = :id"), {"id": archive_id})
        assert stack.services.archive_sweep(session).list_claimable(limit=10) == [archive_id]
    report = build(stack, archive_id)

    print(f"{size_bytes} bytes, killed after {before}: {report}")
    assert done <= before < size_bytes
    assert memory_bytes(report) < MEMORY_MAX_BYTES < size_bytes
    path = tmp_path / "large.zip"
    download(stack, archive_id, path)
    assert_valid_zip(path)
    with zipfile.ZipFile(path) as found, found.open("large.bin") as content:
        assert hashlib.file_digest(content, "sha256").hexdigest() == digest  # type: ignore[arg-type]  # a zip entry reads like a file


def test_zip_of_many_files_is_built_within_the_memory_limit(stack: Stack, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        sizes = [number * 997 % 60_000 + 1 for number in range(FILES)]
        stored = list(pool.map(lambda size: store_file(stack, "same name.txt", size, os.urandom(60_001)), sizes))
    archive_id = create_archive(stack, [file_id for file_id, _ in stored])

    report = build(stack, archive_id)

    print(f"{FILES} files: {report}")
    assert memory_bytes(report) < MEMORY_MAX_BYTES
    path = tmp_path / "many.zip"
    download(stack, archive_id, path)
    assert_valid_zip(path)
    with zipfile.ZipFile(path) as found:
        assert [hashlib.sha256(found.read(entry)).hexdigest() for entry in found.infolist()] == [digest for _, digest in stored]
        assert len({entry.filename for entry in found.infolist()}) == FILES


def done_bytes(stack: Stack, archive_id: UUID) -> int:
    with stack.services.unit_of_work() as session:
        return int(session.execute(text("SELECT done_bytes FROM archive WHERE id = :id"), {"id": archive_id}).scalar_one())
