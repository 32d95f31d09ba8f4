"""The servers of `make run` and of the tests: what they refuse, and what survives a crash or a restart."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # ships no type information
import httpx
import pg8000.dbapi  # type: ignore[import-untyped]  # ships no type information
import psutil
import pytest
from botocore.config import Config  # type: ignore[import-untyped]  # ships no type information
from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # ships no type information

import infra.local.postgres as postgres_module
from infra.local.bootstrap import EMULATOR
from infra.local.object_store import AccessKey, ObjectStoreServer, make_access_key, start_object_store
from infra.local.postgres import FAST_AND_UNSAFE, Postgres, start_postgres
from infra.local.processes import free_port
from infra.local.state import Folders, load_ports, save_ports

PASSWORD = "of this test only"
FORM = "application/x-www-form-urlencoded"
PART_BYTES = 8 * 1024 * 1024


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's user can enter, because the tests may run as root.

    Not below pytest's folder, whose mode each pytest process on the machine resets.
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


def test_fresh_databases_are_separate(fresh_database: Callable[[], str], postgres_url: str) -> None:
    urls = {fresh_database(), fresh_database(), postgres_url}

    assert len(urls) == 3
    assert all(url.startswith("postgresql://postgres:") and "@127.0.0.1:" in url for url in urls)


def test_postgres_requires_its_password(postgres_server: Postgres) -> None:
    with pytest.raises(pg8000.dbapi.DatabaseError) as refused:
        query(postgres_server, "SELECT 1", password="a guess")

    assert refused.value.args[0]["C"] == "28P01"


def test_postgres_listens_on_loopback_only(postgres_server: Postgres) -> None:
    assert query(postgres_server, "SHOW listen_addresses", password=postgres_server.password) == ["127.0.0.1"]


def test_data_survives_a_restart(folder: Path) -> None:
    first = start(folder)
    query(first, "CREATE TABLE kept AS SELECT 42 AS answer")
    first.stop()

    second = start(folder)
    try:
        assert query(second, "SELECT answer FROM kept") == [42]
    finally:
        second.stop()


@pytest.mark.slow
def test_server_of_a_killed_run_is_stopped_and_its_data_kept(folder: Path) -> None:
    killed = start(folder)
    query(killed, "CREATE TABLE kept AS SELECT 42 AS answer")
    orphan = psutil.Process(int((folder / "data/postmaster.pid").read_text().splitlines()[0]))
    # The supervisor is killed too; only the database server remains.
    supervisor = orphan.parent()
    assert supervisor is not None
    supervisor.kill()
    killed.stop()
    assert orphan.is_running()

    successor = start(folder)
    try:
        assert not orphan.is_running()
        assert query(successor, "SELECT answer FROM kept") == [42]
    finally:
        successor.stop()


def test_pid_file_of_another_process_does_not_harm_it_or_block_the_start(folder: Path) -> None:
    start(folder).stop()
    owner = (folder / "data").stat().st_uid
    identity = {"user": owner} if os.geteuid() == 0 else {}
    with subprocess.Popen(["/bin/sleep", "60"], **identity) as other:  # type: ignore[call-overload]
        (folder / "data/postmaster.pid").write_text(f"{other.pid}\n{folder}/data\n1\n5432\n\n127.0.0.1\n1 1\nready\n")

        postgres = start(folder)

        assert other.poll() is None
        postgres.stop()
        other.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can enter a folder that is closed to the server's user")
def test_root_can_run_it_in_a_checkout_that_is_closed_to_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    # Its programs are in the checkout too, in the virtual environment.
    binaries = postgres_module.binaries_folder()
    packages = binaries.parents[2]
    for part in (binaries.parent.relative_to(packages), f"{postgres_module.WHEEL}.libs"):
        shutil.copytree(packages / part, closed / part, symlinks=True)
    monkeypatch.setattr(postgres_module, "binaries_folder", lambda: closed / binaries.relative_to(packages))

    postgres = start(closed)
    try:
        assert query(postgres, "SELECT 1") == [1]
        assert psutil.Process(int((closed / "data/postmaster.pid").read_text().splitlines()[0])).uids().real != 0
    finally:
        postgres.stop()

    assert closed.stat().st_mode & 0o777 == 0o700


@contextmanager
def object_store(folder: Path, *, port: int | None = None, access_key: AccessKey | None = None) -> Iterator[ObjectStoreServer]:
    store = start_object_store(
        folder / "objects",
        log=folder / "s3.log",
        temporary=folder / "tmp",
        interpreter=EMULATOR.interpreter,
        port=port,
        access_key=access_key,
    )
    try:
        yield store
    finally:
        store.stop()


def client(store: ObjectStoreServer) -> Any:
    session = boto3.Session(store.access_key_id, store.secret_access_key, region_name=store.region)
    return session.client("s3", endpoint_url=store.endpoint_url, config=Config(signature_version="s3v4"))


@pytest.mark.slow
def test_objects_survive_a_kill_of_the_emulator(folder: Path) -> None:
    with object_store(folder) as killed:
        client(killed).put_object(
            Bucket=killed.bucket, Key="uploads/kept", Body=b"bytes", ContentType="image/png", ChecksumAlgorithm="SHA256"
        )
        ours = [child for child in psutil.Process().children(recursive=True) if child.environ().get("TMPDIR") == str(folder / "tmp")]
        for process in ours:
            process.kill()
        assert len(ours) == 2, "the supervisor and the emulator"

    with object_store(folder) as successor:
        kept = client(successor).get_object(Bucket=successor.bucket, Key="uploads/kept", ChecksumMode="ENABLED")

        assert (kept["Body"].read(), kept["ContentType"]) == (b"bytes", "image/png")
        assert kept["ChecksumSHA256"]


def test_emulator_ends_when_its_supervisor_is_killed(folder: Path) -> None:
    with object_store(folder):
        supervisor = next(child for child in psutil.Process().children() if str(folder) in child.cwd())
        (emulator,) = supervisor.children()

        supervisor.kill()

        emulator.wait(10)


def test_application_key_can_access_objects_and_nothing_else(s3_server: ObjectStoreServer) -> None:
    s3 = client(s3_server)
    session = boto3.Session(s3_server.access_key_id, s3_server.secret_access_key, region_name=s3_server.region)
    assert s3_server.events is not None
    s3.put_object(Bucket=s3_server.bucket, Key="mine", Body=b"")
    s3.delete_object(Bucket=s3_server.bucket, Key="mine")

    for forbidden in (
        lambda: s3.create_bucket(Bucket="another"),
        s3.list_buckets,
        lambda: s3.put_bucket_policy(Bucket=s3_server.bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": []})),
        lambda: s3.delete_bucket(Bucket=s3_server.bucket),
        lambda: session.client("sqs", endpoint_url=s3_server.endpoint_url).receive_message(QueueUrl=s3_server.events.url),
        lambda: session.client("iam", endpoint_url=s3_server.endpoint_url).list_users(),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            forbidden()


def test_missing_object_is_404_and_not_403(s3_server: ObjectStoreServer) -> None:
    with pytest.raises(ClientError, match="404"):
        client(s3_server).head_object(Bucket=s3_server.bucket, Key="missing")


def test_unsigned_and_wrongly_signed_requests_are_refused(s3_server: ObjectStoreServer) -> None:
    impostor = boto3.Session(s3_server.access_key_id, "not the secret", region_name=s3_server.region)

    assert httpx.get(f"{s3_server.endpoint_url}/{s3_server.bucket}/any").status_code == 403
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        impostor.client("s3", endpoint_url=s3_server.endpoint_url).get_object(Bucket=s3_server.bucket, Key="any")


@pytest.mark.parametrize("path", ["/_ministack/reset", "/_ministack/config", "/_localstack/health", "/_aws/anything"])
def test_administration_of_the_emulator_is_closed(s3_server: ObjectStoreServer, path: str) -> None:
    assert httpx.post(f"{s3_server.endpoint_url}{path}").status_code == 404


def test_cors_allows_pages_of_this_machine_only(s3_server: ObjectStoreServer) -> None:
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


@pytest.mark.timing
@pytest.mark.parametrize("operation", ["put_object", "upload_part"])
def test_form_content_type_does_not_slow_an_upload_down(s3_server: ObjectStoreServer, operation: str) -> None:
    s3 = client(s3_server)
    place: dict[str, Any] = {"Bucket": s3_server.bucket, "Key": f"uploads/form-{operation}"}
    if operation == "upload_part":
        place |= {"UploadId": s3.create_multipart_upload(**place)["UploadId"], "PartNumber": 1}
    url = s3.generate_presigned_url(operation, place)
    # Two million fields, if it were parsed.
    content = b"a=b&" * (PART_BYTES // 4)

    def seconds(content_type: str) -> float:
        started_at = time.perf_counter()
        assert httpx.put(url, content=content, headers={"Content-Type": content_type}, timeout=60).status_code == 200
        return time.perf_counter() - started_at

    other = min(seconds("application/octet-stream") for _ in range(3))

    assert min(seconds(FORM) for _ in range(3)) < 2 * other + 0.1


def test_form_that_names_an_action_of_another_service_is_stored(s3_server: ObjectStoreServer) -> None:
    s3, content = client(s3_server), b"Action=GetCallerIdentity&Version=2011-06-15"
    place = {"Bucket": s3_server.bucket, "Key": "uploads/action"}
    url = s3.generate_presigned_url("put_object", {**place, "ContentType": FORM})

    # S3 refuses a header of its own that is not signed; the header must not lead to another service either.
    refused = httpx.put(url, content=content, headers={"Content-Type": FORM, "X-Amz-Target": "AmazonSQS.ListQueues"})
    answer = httpx.put(url, content=content, headers={"Content-Type": FORM})

    assert (refused.status_code, b"AccessDenied" in refused.content) == (403, True)
    assert (answer.status_code, answer.content) == (200, b"")
    stored = s3.get_object(**place)
    assert (stored["Body"].read(), stored["ContentType"]) == (content, FORM)


def test_upload_event_reaches_the_queue_and_other_objects_send_none(s3_server: ObjectStoreServer) -> None:
    s3, key = client(s3_server), "uploads/announced"
    assert s3_server.events is not None
    for name in ("archives/silent", key):
        s3.put_object(Bucket=s3_server.bucket, Key=name, Body=b"bytes")

    bodies: list[str] = []
    deadline = time.monotonic() + 20
    while not any(f'"{key}"' in body for body in bodies):
        assert time.monotonic() < deadline, bodies
        messages = s3_server.events.receive()
        s3_server.events.delete(messages)
        bodies += [message["body"] for message in messages]

    assert not any("archives/silent" in body for body in bodies)


@pytest.mark.slow
def test_presigned_urls_and_multipart_uploads_survive_a_kill(folder: Path) -> None:
    port, key, parts = free_port(), make_access_key(), [os.urandom(5 * 1024 * 1024), b"the last part"]
    place = {"Bucket": "we-upload-local", "Key": "uploads/in-parts"}
    with object_store(folder, port=port, access_key=key) as killed:
        s3 = client(killed)
        started = s3.create_multipart_upload(**place, ContentType="image/png")["UploadId"]
        aborted = s3.create_multipart_upload(**place)["UploadId"]
        s3.abort_multipart_upload(**place, UploadId=aborted)
        urls = [s3.generate_presigned_url("upload_part", {**place, "UploadId": started, "PartNumber": number}) for number in (1, 2)]
        assert httpx.put(urls[0], content=parts[0]).status_code == 200
        for process in psutil.Process().children(recursive=True):
            if process.environ().get("TMPDIR") == str(folder / "tmp"):
                process.kill()

    with object_store(folder, port=port, access_key=key) as successor:
        s3 = client(successor)
        assert httpx.put(urls[1], content=parts[1]).status_code == 200
        assert [upload["UploadId"] for upload in s3.list_multipart_uploads(Bucket=place["Bucket"])["Uploads"]] == [started]
        found = s3.list_parts(**place, UploadId=started)["Parts"]
        assert [(part["PartNumber"], part["Size"]) for part in found] == [(1, len(parts[0])), (2, len(parts[1]))]
        complete = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in found]
        s3.complete_multipart_upload(**place, UploadId=started, MultipartUpload={"Parts": complete})
        stored = s3.get_object(**place)
        assert (stored["Body"].read(), stored["ContentType"]) == (b"".join(parts), "image/png")

    assert list((folder / "objects-multipart").iterdir()) == []


def test_ports_are_kept_and_a_taken_one_is_replaced_with_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.local.state.PORT_WAIT_SECONDS", 0.1)
    folders, warnings = Folders(folder), list[str]()
    first = load_ports(folders, warnings.append)
    assert load_ports(folders, warnings.append) == first
    assert warnings == []

    with socket.create_server(("127.0.0.1", first["s3"])):
        second = load_ports(folders, warnings.append)

    assert (second["postgres"], second["s3"] == first["s3"]) == (first["postgres"], False)
    assert warnings == [
        f"Another program uses port {first['s3']}, so S3 moves to port {second['s3']}. Presigned URLs from before are no longer valid."
    ]
    assert load_ports(folders, warnings.append) == second


@pytest.mark.parametrize("content", ["", "[]", '{"postgres": "x"}', '{"postgres": -1, "s3": 99999}'])
def test_damaged_ports_are_replaced(folder: Path, content: str) -> None:
    (folder / "ports.json").write_text(content)

    ports = load_ports(Folders(folder), lambda _: None)

    assert set(ports) == {"postgres", "s3"}
    save_ports(Folders(folder), ports)
    assert load_ports(Folders(folder), lambda _: None) == ports


def test_postgres_listens_on_the_given_port_and_on_another_when_it_is_taken(folder: Path) -> None:
    port = free_port()
    first = start_postgres(folder / "data", log=folder / "log", password=PASSWORD, options=FAST_AND_UNSAFE, port=port)
    first.stop()
    with socket.create_server(("127.0.0.1", port)):
        second = start_postgres(folder / "data", log=folder / "log", password=PASSWORD, options=FAST_AND_UNSAFE, port=port)
        second.stop()

    assert first.port == port
    assert second.port != port
