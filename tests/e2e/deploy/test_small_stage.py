"""The stage whose database pauses, on the emulator, with a PostgreSQL that refuses connections while it starts in the cluster's place."""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus

import httpx
import pytest

from infra.local.postgres import Postgres
from infra.package.artifact import Artifact
from tests.e2e.deploy.cloud import ACCOUNT, REGION, running_cloud
from tests.e2e.deploy.conftest import Deployment
from tests.e2e.deploy.walk import Account, use_token, walk
from tests.support.pausing import PausingProxy

START_SECONDS = 15.0
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
"""The industry's test file, in two parts so that no scanner finds it in this source."""
WORKER_SECONDS = 60.0


@pytest.fixture(scope="module")
def cluster(postgres_server: Postgres) -> Iterator[PausingProxy]:
    with PausingProxy(postgres_server.url("postgres"), start_seconds=START_SECONDS) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def small(
    machine_package: Artifact,
    postgres_server: Postgres,
    app_password: str,
    fresh_database: Callable[[], str],
    cluster: PausingProxy,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    """The deployed stage."""
    database = fresh_database().rpartition("/")[2]
    with running_cloud() as cloud:
        folder = tmp_path_factory.mktemp("small")
        deployment = Deployment(cloud, postgres_server, database, app_password, machine_package, folder, stage="small", proxy=cluster)
        cloud.cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}")
        deployment.deploy(machine_package)
        yield deployment


@pytest.fixture(scope="module")
def account(small: Deployment) -> Account:
    """The first superuser: the stage is closed to registrations."""
    function = small.cloud.outputs("WeUpload-small-Api")["SuperuserFunction"]
    invoked = small.cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps({"email": "me@example.com"}))
    created = json.loads(invoked["Payload"].read())
    return Account(created["email"], created["password"])


def key_bucket(deployment: Deployment) -> str:
    """Return the name of the bucket of the keys."""
    names = [bucket["Name"] for bucket in deployment.cloud.client("s3").list_buckets()["Buckets"]]
    (found,) = [name for name in names if "keys" in name]
    return str(found)


def test_walk_passes_with_keys_that_the_migration_created(small: Deployment, account: Account) -> None:
    s3, bucket = small.cloud.client("s3"), key_bucket(small)
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    created = {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    with small.api() as api:
        walk(api, bucket=small.cloud.outputs("WeUpload-small-Data")["Bucket"], account=account)

    assert set(created) == {"keys/signing-key", "keys/link-key", "keys/log-key"}
    assert len({*created.values()}) == 3
    assert small.cloud.client("secretsmanager").list_secrets()["SecretList"] == []


def test_audit_log_is_sealed_soon_after_a_request(small: Deployment, account: Account) -> None:
    s3, bucket = small.cloud.client("s3"), small.cloud.outputs("WeUpload-small-Data")["Bucket"]

    def checkpoints() -> int:
        return int(s3.list_objects_v2(Bucket=bucket, Prefix="audit-log/checkpoints/")["KeyCount"])

    before = checkpoints()
    with small.api() as api:
        use_token(api, account.email, account.password)
    # The emulator's gateway keeps no log of the function, so the line of the request is written to it here.
    logs, group = small.cloud.client("logs"), small.api_function()["LoggingConfig"]["LogGroup"]
    # It looks for the words of the filter's pattern instead of evaluating it.
    line = json.dumps({"message": "request", "audit_leaves": ["0a1b"], "words": "$.message $.audit_leaves"})
    logs.create_log_stream(logGroupName=group, logStreamName="request")
    logs.put_log_events(logGroupName=group, logStreamName="request", logEvents=[{"timestamp": int(time.time() * 1000), "message": line}])

    # No schedule runs in the meantime: the log line invokes the sealer.
    deadline = time.monotonic() + WORKER_SECONDS
    while checkpoints() == before:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_api_answers_503_for_fifteen_seconds_and_then_serves(small: Deployment, account: Account, cluster: PausingProxy) -> None:
    with small.api() as api:
        use_token(api, account.email, account.password)
        cluster.pause()
        paused_at = time.monotonic()

        first = api.get("/api/v1/files")
        page = api.get("/s/none", headers={"Accept": "text/html"})
        answered_at = time.monotonic()
        while (answer := api.get("/api/v1/files")).status_code == HTTPStatus.SERVICE_UNAVAILABLE:
            assert time.monotonic() < paused_at + 4 * START_SECONDS, answer.text
            time.sleep(int(answer.headers["retry-after"]))
        started_at = time.monotonic()

    assert (first.status_code, first.json()["code"], first.headers["retry-after"]) == (503, "database_starting", "5")
    assert (page.status_code, page.headers["refresh"]) == (503, "5")
    assert "One moment" in page.text
    # Each of the two waits two seconds for the database, plus the last attempt.
    assert answered_at - paused_at < START_SECONDS
    assert (answer.status_code, answer.json()) == (200, [])
    assert started_at - paused_at >= START_SECONDS


def test_worker_waits_for_the_database_and_completes_the_upload(small: Deployment, account: Account, cluster: PausingProxy) -> None:
    content = secrets.token_bytes(1000)
    with small.api() as api, httpx.Client(trust_env=False) as s3:
        use_token(api, account.email, account.password)
        declared = {"filename": "a.bin", "content_type": "application/octet-stream", "size_bytes": len(content)}
        upload = api.post("/api/v1/files/upload", json=declared).json()
        cluster.pause()
        assert s3.request(upload["method"], upload["upload_url"], headers=upload["headers"], content=content).is_success

        # Only the worker connects now.
        deadline = time.monotonic() + WORKER_SECONDS
        while cluster.is_paused:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        while (file := api.get(f"/api/v1/files/{upload['file_id']}").json())["status"] != "available":
            assert time.monotonic() < deadline, file
            time.sleep(0.5)


def test_rotation_replaces_the_signing_key_without_the_database(small: Deployment, account: Account, cluster: PausingProxy) -> None:
    s3, bucket = small.cloud.client("s3"), key_bucket(small)
    before = s3.get_object(Bucket=bucket, Key="keys/signing-key")["Body"].read()
    cluster.pause()
    refused = cluster.refused

    rotated = small.invoke("lambda_app.handlers.rotate_stored_key.handler")

    after = json.loads(s3.get_object(Bucket=bucket, Key="keys/signing-key")["Body"].read())
    assert (after["current"]["key"], after["current"]["kid"]) == (before.decode(), rotated["current"])
    assert "next" in after
    assert cluster.refused == refused


def test_infected_file_is_withheld_after_its_scan(small: Deployment, account: Account) -> None:
    """With the scans switched on by a later deployment. The results are played in as GuardDuty sends them: a tag, then an event."""
    small.deploy(small.package, scans_for_malware="true")
    bucket = small.cloud.outputs("WeUpload-small-Data")["Bucket"]
    with small.api() as api, httpx.Client(trust_env=False) as s3:
        use_token(api, account.email, account.password)
        declared = {"filename": "eicar.com", "content_type": "application/octet-stream", "size_bytes": len(EICAR)}
        upload = api.post("/api/v1/files/upload", json=declared).json()
        assert s3.request(upload["method"], upload["upload_url"], headers=upload["headers"], content=EICAR).is_success
        assert api.post(f"/api/v1/files/{upload['file_id']}/complete").json()["scan_status"] == "pending"
        assert api.get(f"/api/v1/files/download/{upload['file_id']}").json()["code"] == "file_not_scanned"

        key = f"uploads/{upload['file_id']}"
        tags = {"TagSet": [{"Key": "GuardDutyMalwareScanStatus", "Value": "THREATS_FOUND"}]}
        small.cloud.client("s3").put_object_tagging(Bucket=bucket, Key=key, Tagging=tags)
        detail = {"s3ObjectDetails": {"bucketName": bucket, "objectKey": key}, "scanResultDetails": {"scanResultStatus": "THREATS_FOUND"}}
        event = {"source": "aws.guardduty", "detail-type": "GuardDuty Malware Protection Object Scan Result", "detail": detail}
        # Into the queue: as in AWS, only AWS's services may send events with such a source. The rule is tested in the template.
        sqs = small.cloud.client("sqs")
        (queue,) = [url for url in sqs.list_queues()["QueueUrls"] if "ScanResults" in url]
        sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(event))

        deadline = time.monotonic() + WORKER_SECONDS
        while api.get(f"/api/v1/files/{upload['file_id']}").json()["scan_status"] != "infected":
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert api.get(f"/api/v1/files/download/{upload['file_id']}").json()["code"] == "file_infected"
        assert [file["id"] for file in api.get("/api/v1/admin/withheld-files").json()] == [upload["file_id"]]
