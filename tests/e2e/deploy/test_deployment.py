"""A deployment from start to end, in the order of this file: serve, upgrade, refuse a failing upgrade, destroy."""

import io
import json
import secrets
import time
import zipfile
from http import HTTPStatus
from typing import Any

import httpx
import pg8000.dbapi  # type: ignore[import-untyped]  # ships no type information
import pytest

from lambda_app.db.migrations import head_revision
from tests.e2e.deploy.cloud import ACCOUNT, DeployError
from tests.e2e.deploy.conftest import STACK, Deployment
from tests.e2e.deploy.walk import sign_in, walk
from tests.support.loopback import loopback_client

WORKER_SECONDS = 60.0
"""The emulator polls the queue, and the first start of a worker takes seconds."""

MIGRATION = '''"""One more migration."""

from alembic import op

revision = "{revision}"
down_revision = "{previous}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("{statement}")
'''

ADDS_A_COLUMN = {"9001": MIGRATION.format(revision="9001", previous=head_revision(), statement="ALTER TABLE file ADD COLUMN color text")}
FAILS = {"9002": MIGRATION.format(revision="9002", previous="9001", statement="ALTER TABLE nowhere ADD COLUMN color text")}

BEHIND_FIREWALL = {
    "firewall": "true",
    "domain_name": "files.example.com",
    "certificate_arn": "arn:aws:acm:us-east-1:000000000000:certificate/0b0e0b0e-0000-4000-8000-000000000000",
    "mail_from": "files@example.com",
    "makes_mail_identity": "true",
    "public_url": "https://app.example.com",
}


def query(deployment: Deployment, statement: str) -> list[Any]:
    """Run a query on the deployment's database as its owner."""
    connection = pg8000.dbapi.connect(
        "postgres", host="127.0.0.1", port=deployment.postgres.port, password=deployment.postgres.password, database=deployment.database
    )
    try:
        cursor = connection.cursor()
        cursor.execute(statement)
        rows = [row[0] for row in cursor.fetchall()]
        connection.commit()
        return rows
    finally:
        connection.close()


def as_cloudfront(deployment: Deployment) -> dict[str, str]:
    """Return the header that CloudFront sends: the newest origin key."""
    arn, *_ = deployment.api_function()["Environment"]["Variables"]["ORIGIN_KEY_ARNS"].split(",")
    return {"x-origin-verify": deployment.cloud.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]}


def test_whole_product_works_through_the_gateway(deployment: Deployment) -> None:
    with deployment.api() as api:
        walk(api, bucket=deployment.cloud.outputs(f"{STACK}-Data")["Bucket"])


def test_worker_completes_an_upload_that_the_client_does_not(deployment: Deployment) -> None:
    content = secrets.token_bytes(1000)
    with deployment.api() as api, loopback_client() as s3:
        sign_in(api, "away-after-the-upload@example.com")
        declared = {"filename": "a.bin", "content_type": "application/octet-stream", "size_bytes": len(content)}
        upload = api.post("/api/v1/files/upload", json=declared).json()
        assert s3.request(upload["method"], upload["upload_url"], headers=upload["headers"], content=content).is_success

        deadline = time.monotonic() + WORKER_SECONDS
        while (file := api.get(f"/api/v1/files/{upload['file_id']}").json())["status"] != "available":
            assert time.monotonic() < deadline, file
            time.sleep(0.5)

        download = api.get(f"/api/v1/files/download/{upload['file_id']}").json()
        assert s3.get(download["download_url"]).content == content


def test_archive_worker_builds_a_zip_after_the_event_of_the_bucket(deployment: Deployment) -> None:
    content = secrets.token_bytes(1000)
    with deployment.api() as api, loopback_client() as s3:
        sign_in(api, "all-as-one-zip@example.com")
        declared = {"filename": "a.bin", "content_type": "application/octet-stream", "size_bytes": len(content)}
        upload = api.post("/api/v1/files/upload", json=declared).json()
        assert s3.request(upload["method"], upload["upload_url"], headers=upload["headers"], content=content).is_success
        assert api.post(f"/api/v1/files/{upload['file_id']}/complete").is_success
        requested = api.post("/api/v1/archives", json={"file_ids": [upload["file_id"]]})
        assert requested.status_code == HTTPStatus.ACCEPTED, requested.text

        deadline = time.monotonic() + WORKER_SECONDS
        while (archive := api.get(f"/api/v1/archives/{requested.json()['id']}").json())["status"] != "ready":
            assert time.monotonic() < deadline, archive
            time.sleep(0.5)

        with zipfile.ZipFile(io.BytesIO(s3.get(archive["download_url"]).content)) as found:
            assert found.read("a.bin") == content


def test_sweep_expires_an_abandoned_upload(deployment: Deployment) -> None:
    with deployment.api() as api:
        sign_in(api, "gone-before-the-upload@example.com")
        declared = {"filename": "never.bin", "content_type": "application/octet-stream", "size_bytes": 10}
        file_id = api.post("/api/v1/files/upload", json=declared).json()["file_id"]
        query(deployment, f"UPDATE file SET upload_expires_at = now() - interval '1 day' WHERE id = '{file_id}' RETURNING id")  # noqa: S608

        report = deployment.invoke("lambda_app.handlers.sweep.handler")

        assert (report["is_finished"], report["failures"]) == (True, 0), report
        assert report["expired"] >= 1
        assert api.get(f"/api/v1/files/{file_id}").status_code == HTTPStatus.NOT_FOUND
        assert api.get("/api/v1/users/me").json()["id"]


def test_invoked_function_creates_a_superuser_who_sees_all_users(deployment: Deployment) -> None:
    function = deployment.cloud.outputs(f"{STACK}-Api")["SuperuserFunction"]

    invoked = deployment.cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps({"email": "root@example.com"}))

    created = json.loads(invoked["Payload"].read())
    assert created["email"] == "root@example.com"
    with deployment.api() as api:
        token = api.post("/login/token", data={"username": created["email"], "password": created["password"]}).json()["access_token"]
        listed = api.get("/api/v1/users/", headers={"Authorization": f"Bearer {token}"})
        assert "root@example.com" in [user["email"] for user in listed.json()]


@pytest.mark.parametrize("command", ["verify-audit", "recount-usage", "reencrypt-links"])
def test_admin_function_runs_operator_commands(deployment: Deployment, command: str) -> None:
    function = deployment.cloud.outputs(f"{STACK}-Api")["AdminFunction"]

    invoked = deployment.cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps({"command": command}))

    result = json.loads(invoked["Payload"].read())
    assert (result["exit_status"], result["error"]) == (0, None), result
    assert result["output"]


def test_signing_key_is_read_from_the_secret(deployment: Deployment) -> None:
    variables = deployment.api_function()["Environment"]["Variables"]

    secret = deployment.cloud.client("secretsmanager").get_secret_value(SecretId=variables["SECRET_KEY_ARN"])

    assert "SECRET_KEY" not in variables
    assert len(secret["SecretString"]) == 64


def test_link_key_is_a_secret_of_its_own(deployment: Deployment) -> None:
    variables = deployment.api_function()["Environment"]["Variables"]

    secret = deployment.cloud.client("secretsmanager").get_secret_value(SecretId=variables["LINK_KEY_ARN"])

    assert "LINK_KEY" not in variables
    assert variables["LINK_KEY_ARN"] != variables["SECRET_KEY_ARN"]
    assert len(secret["SecretString"]) == 64


def test_application_cannot_change_the_schema(deployment: Deployment) -> None:
    privileges = query(
        deployment, "SELECT privilege_type FROM information_schema.role_table_grants WHERE grantee = 'we_upload' AND table_name = 'file'"
    )
    on_history = query(
        deployment,
        "SELECT privilege_type FROM information_schema.role_table_grants WHERE grantee = 'we_upload' AND table_name = 'alembic_version'",
    )

    assert set(privileges) == {"SELECT", "INSERT", "UPDATE", "DELETE"}
    assert on_history == ["SELECT"]
    assert query(deployment, "SELECT count(*) FROM pg_class WHERE relowner = 'we_upload'::regrole") == [0]


def test_migration_runs_before_the_new_version_serves(deployment: Deployment) -> None:
    before = deployment.live_version()

    deployment.deploy(deployment.variant(ADDS_A_COLUMN), **BEHIND_FIREWALL)

    assert query(deployment, "SELECT version_num FROM alembic_version") == ["9001"]
    assert int(deployment.live_version()) > int(before)
    with deployment.api(**as_cloudfront(deployment)) as api:
        assert api.get("/health/db").json() == {"status": "ok"}


def test_api_behind_the_firewall_refuses_direct_requests(deployment: Deployment) -> None:
    (distribution,) = deployment.cloud.client("cloudfront").list_distributions()["DistributionList"]["Items"]
    (origin,) = distribution["Origins"]["Items"]
    (acl,) = deployment.cloud.client("wafv2").list_web_acls(Scope="CLOUDFRONT")["WebACLs"]
    (header,) = origin["CustomHeaders"]["Items"]

    assert distribution["WebACLId"] == acl["ARN"]
    assert distribution["Aliases"]["Items"] == ["files.example.com"]
    assert {header["HeaderName"]: header["HeaderValue"]} == as_cloudfront(deployment)
    for headers in ({}, {"x-origin-verify": "guess"}):
        with deployment.api(**headers) as direct:
            refused = direct.get("/health")
            assert (refused.status_code, refused.json()["code"]) == (HTTPStatus.FORBIDDEN, "side_door")


def test_mail_is_sent_by_ses_as_the_configured_sender(deployment: Deployment) -> None:
    with deployment.api(**as_cloudfront(deployment)) as api:
        sign_in(api, "forgetful@example.com")
        assert api.post("/api/v1/login/forgot-password", json={"email": "forgetful@example.com"}).status_code == HTTPStatus.ACCEPTED

    sent = httpx.get(f"{deployment.cloud.endpoint_url}/_ministack/ses/messages", trust_env=False).json()["messages"][ACCOUNT]
    mails = [mail for mail in sent if mail["To"] == ["forgetful@example.com"]]
    assert {mail["Source"] for mail in mails} == {"We-Upload <files@example.com>"}
    # The registration has sent the first one.
    pages = ("verify-email", "reset-password")
    assert [page for page in pages for mail in mails if f"https://app.example.com/{page}#token=" in mail["BodyText"]] == [*pages]


def test_failing_migration_stops_the_deployment_and_the_old_version_still_serves(deployment: Deployment) -> None:
    before = deployment.live_version()

    with pytest.raises(DeployError, match=r"ProgrammingError: see the log group "):
        deployment.deploy(deployment.variant(ADDS_A_COLUMN | FAILS), **BEHIND_FIREWALL)

    assert query(deployment, "SELECT version_num FROM alembic_version") == ["9001"]
    assert deployment.live_version() == before
    with deployment.api(**as_cloudfront(deployment)) as api:
        sign_in(api, "after-the-failure@example.com")
        assert api.get("/api/v1/files").json() == []


def test_older_version_runs_on_the_newer_schema_and_cloudfront_gets_a_new_key(deployment: Deployment) -> None:
    old_key = as_cloudfront(deployment)

    deployment.deploy(deployment.package, **BEHIND_FIREWALL, origin_key="2")

    assert query(deployment, "SELECT version_num FROM alembic_version") == ["9001"]
    (distribution,) = deployment.cloud.client("cloudfront").list_distributions()["DistributionList"]["Items"]
    sent = distribution["Origins"]["Items"][0]["CustomHeaders"]["Items"][0]["HeaderValue"]
    assert sent == as_cloudfront(deployment)["x-origin-verify"] != old_key["x-origin-verify"]
    # Edge locations that still send the previous key.
    with deployment.api(**old_key) as api:
        assert api.get("/health/db").json() == {"status": "ok"}
    with deployment.api(**as_cloudfront(deployment)) as api:
        sign_in(api, "after-the-rollback@example.com")


def test_destroy_removes_all_stacks(deployment: Deployment) -> None:
    deployment.destroy(deployment.package)

    described = deployment.cloud.client("cloudformation").describe_stacks()["Stacks"]
    assert [stack["StackName"] for stack in described if stack["StackName"].startswith(STACK)] == []
    assert deployment.cloud.client("lambda").list_functions()["Functions"] == []
