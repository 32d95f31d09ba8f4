"""The servers of `make run` and of these tests: what they refuse, and what they keep when they die."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # ships no type information
import httpx
import pg8000.dbapi  # type: ignore[import-untyped]  # ships no type information
import psutil
import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # ships no type information

import infra.local.postgres as postgres_module
from infra.local.bootstrap import EMULATOR
from infra.local.object_store import ObjectStoreServer, start_object_store
from infra.local.postgres import FAST_AND_UNSAFE, Postgres, start_postgres

PASSWORD = "of this test only"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's own user may pass through, as the tests may run as root.

    Not below pytest's own, which every other pytest on the machine closes again when it starts.
    """
    with tempfile.TemporaryDirectory(prefix="we-upload-servers-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def start(folder: Path) -> Postgres:
    return start_postgres(folder / "data", log=folder / "postgres.log", password=PASSWORD, options=FAST_AND_UNSAFE)


def query(postgres: Postgres, statement: str, *, password: str = PASSWORD) -> list[Any]:
    connection = pg8000.dbapi.connect("postgres", host="127.0.0.1", port=postgres.port, password=password, database="postgres")
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(statement)
        return [row[0] for row in cursor.fetchall()] if cursor.description else []
    finally:
        connection.close()


def test_fresh_databases_are_empty_and_apart(fresh_database: Callable[[], str], postgres_url: str) -> None:
    urls = {fresh_database(), fresh_database(), postgres_url}

    assert len(urls) == 3
    assert all(url.startswith("postgresql://postgres:") and "@127.0.0.1:" in url for url in urls)


def test_postgres_asks_for_its_password(postgres_server: Postgres) -> None:
    with pytest.raises(pg8000.dbapi.DatabaseError) as refused:
        query(postgres_server, "SELECT 1", password="a guess")

    assert refused.value.args[0]["C"] == "28P01"


def test_postgres_listens_on_this_machine_only(postgres_server: Postgres) -> None:
    assert query(postgres_server, "SHOW listen_addresses", password=postgres_server.password) == ["127.0.0.1"]


def test_data_is_there_at_the_next_start(folder: Path) -> None:
    first = start(folder)
    query(first, "CREATE TABLE kept AS SELECT 42 AS answer")
    first.stop()

    second = start(folder)
    try:
        assert query(second, "SELECT answer FROM kept") == [42]
    finally:
        second.stop()


def test_server_left_over_by_a_killed_run_is_stopped_and_its_data_kept(folder: Path) -> None:
    killed = start(folder)
    query(killed, "CREATE TABLE kept AS SELECT 42 AS answer")
    orphan = psutil.Process(int((folder / "data/postmaster.pid").read_text().splitlines()[0]))
    # Even the leash dies, as when all of them are killed by hand; only the database server stays.
    leash = orphan.parent()
    assert leash is not None
    leash.kill()
    killed.stop()
    assert orphan.is_running()

    successor = start(folder)
    try:
        assert not orphan.is_running()
        assert query(successor, "SELECT answer FROM kept") == [42]
    finally:
        successor.stop()


def test_pid_file_that_names_a_stranger_neither_harms_the_stranger_nor_blocks_the_start(folder: Path) -> None:
    start(folder).stop()
    owner = (folder / "data").stat().st_uid
    identity = {"user": owner} if os.geteuid() == 0 else {}
    with subprocess.Popen(["/bin/sleep", "60"], **identity) as stranger:  # type: ignore[call-overload]
        (folder / "data/postmaster.pid").write_text(f"{stranger.pid}\n{folder}/data\n1\n5432\n\n127.0.0.1\n1 1\nready\n")

        postgres = start(folder)

        assert stranger.poll() is None
        postgres.stop()
        stranger.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can enter a folder that is closed to the server's user")
def test_root_runs_it_in_a_checkout_closed_to_others_and_leaves_it_closed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    # Its programs lie in the checkout too, in the virtual environment.
    binaries = postgres_module._binaries()
    packages = binaries.parents[2]
    for part in (binaries.parent.relative_to(packages), f"{postgres_module.WHEEL}.libs"):
        shutil.copytree(packages / part, closed / part, symlinks=True)
    monkeypatch.setattr(postgres_module, "_binaries", lambda: closed / binaries.relative_to(packages))

    postgres = start(closed)
    try:
        assert query(postgres, "SELECT 1") == [1]
        assert psutil.Process(int((closed / "data/postmaster.pid").read_text().splitlines()[0])).uids().real != 0
    finally:
        postgres.stop()

    assert closed.stat().st_mode & 0o777 == 0o700


@contextmanager
def object_store(folder: Path) -> Iterator[ObjectStoreServer]:
    store = start_object_store(folder / "objects", log=folder / "s3.log", temporary=folder / "tmp", interpreter=EMULATOR.interpreter)
    try:
        yield store
    finally:
        store.stop()


def client(store: ObjectStoreServer) -> Any:
    session = boto3.Session(store.access_key_id, store.secret_access_key, region_name=store.region)
    return session.client("s3", endpoint_url=store.endpoint_url)


def test_objects_are_there_after_the_emulator_was_killed(folder: Path) -> None:
    with object_store(folder) as killed:
        client(killed).put_object(
            Bucket=killed.bucket, Key="uploads/kept", Body=b"bytes", ContentType="image/png", ChecksumAlgorithm="SHA256"
        )
        ours = [child for child in psutil.Process().children(recursive=True) if child.environ().get("TMPDIR") == str(folder / "tmp")]
        for process in ours:
            process.kill()
        assert len(ours) == 2, "the leash and the emulator"

    with object_store(folder) as successor:
        kept = client(successor).get_object(Bucket=successor.bucket, Key="uploads/kept", ChecksumMode="ENABLED")

        assert (kept["Body"].read(), kept["ContentType"]) == (b"bytes", "image/png")
        assert kept["ChecksumSHA256"]


def test_emulator_ends_when_even_its_leash_is_killed(folder: Path) -> None:
    with object_store(folder):
        leash = next(child for child in psutil.Process().children() if str(folder) in child.cwd())
        (emulator,) = leash.children()

        leash.kill()

        emulator.wait(10)


def test_application_key_may_touch_objects_and_nothing_else(s3_server: ObjectStoreServer) -> None:
    s3 = client(s3_server)
    s3.put_object(Bucket=s3_server.bucket, Key="mine", Body=b"")
    s3.delete_object(Bucket=s3_server.bucket, Key="mine")

    for forbidden in (
        lambda: s3.create_bucket(Bucket="another"),
        s3.list_buckets,
        lambda: s3.put_bucket_policy(Bucket=s3_server.bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": []})),
        lambda: s3.delete_bucket(Bucket=s3_server.bucket),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            forbidden()


def test_missing_object_is_not_found_rather_than_forbidden(s3_server: ObjectStoreServer) -> None:
    with pytest.raises(ClientError, match="404"):
        client(s3_server).head_object(Bucket=s3_server.bucket, Key="missing")


def test_unsigned_and_wrongly_signed_requests_are_refused(s3_server: ObjectStoreServer) -> None:
    stranger = boto3.Session(s3_server.access_key_id, "not the secret", region_name=s3_server.region)

    assert httpx.get(f"{s3_server.endpoint_url}/{s3_server.bucket}/any").status_code == 403
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.client("s3", endpoint_url=s3_server.endpoint_url).get_object(Bucket=s3_server.bucket, Key="any")


@pytest.mark.parametrize("path", ["/_ministack/reset", "/_ministack/config", "/_localstack/health", "/_aws/anything"])
def test_administration_of_the_emulator_is_closed(s3_server: ObjectStoreServer, path: str) -> None:
    assert httpx.post(f"{s3_server.endpoint_url}{path}").status_code == 404


def test_page_of_this_machine_may_upload_and_read_the_checksum_and_others_may_not(s3_server: ObjectStoreServer) -> None:
    def preflight(origin: str) -> httpx.Headers:
        headers = {
            "Origin": origin,
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "content-type,if-none-match",
        }
        return httpx.options(f"{s3_server.endpoint_url}/{s3_server.bucket}/key", headers=headers).headers

    allowed = preflight("http://localhost:5173")

    assert allowed["Access-Control-Allow-Origin"] == "http://localhost:5173"
    assert {"ETag", "x-amz-checksum-sha256"} <= set(allowed["Access-Control-Expose-Headers"].split(", "))
    assert "Access-Control-Allow-Origin" not in preflight("https://evil.example.com")
