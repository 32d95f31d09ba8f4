"""The migrate function with a real database and a fake of the URL for responses to CloudFormation."""

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from infra.local.object_store import ObjectStoreServer
from lambda_app.core.aws import AwsAccess
from lambda_app.db import migrations, roles
from lambda_app.handlers import migrate

CONTEXT = SimpleNamespace(log_group_name="/we-upload/migrate")


@dataclass
class FakeCloudFormation:
    """The response URL of CloudFormation, and the responses that it received."""

    url: str = ""
    responses: list[dict[str, Any]] = field(default_factory=list)
    content_types: list[str | None] = field(default_factory=list)


@pytest.fixture
def cloudformation() -> Iterator[FakeCloudFormation]:
    cloudformation = FakeCloudFormation()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            cloudformation.responses.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            cloudformation.content_types.append(self.headers["Content-Type"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    cloudformation.url = f"http://127.0.0.1:{server.server_port}/response?signature=x"
    yield cloudformation
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def database(fresh_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database, configured in the environment of the function."""
    url = fresh_database()
    variables = {"ENVIRONMENT": "local", "DATABASE_URL": url, "SECRET_KEY": "x" * 32, "S3_BUCKET_NAME": "unused"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return url


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """The same database, without our own database layer."""
    engine = create_engine(database.replace("postgresql://", "postgresql+pg8000://"))
    yield engine
    engine.dispose()


def request(kind: str, cloudformation: FakeCloudFormation) -> dict[str, Any]:
    """Return an event of CloudFormation."""
    names = {"StackId": "stack", "RequestId": "request", "LogicalResourceId": "Step", "ResourceProperties": {"Package": "digest"}}
    return {"RequestType": kind, "ResponseURL": cloudformation.url, **names}


def revision(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return [row[0] for row in connection.execute(text("SELECT version_num FROM alembic_version"))]


def test_manual_event_starts_a_new_era_of_the_audit_log(
    database: str, engine: Engine, s3_server: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {
        "S3_BUCKET_NAME": s3_server.bucket,
        "AWS_REGION": s3_server.region,
        "AWS_ENDPOINT_URL": s3_server.endpoint_url,
        "AWS_ACCESS_KEY_ID": s3_server.access_key_id,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_access_key,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    migrate.handler({}, CONTEXT)

    result = migrate.handler({"new_era": "restore 20261128"}, CONTEXT)

    assert (database, result["after"]) == (database, migrations.head_revision())
    with engine.connect() as connection:
        era = connection.execute(text("SELECT max(era) FROM audit_era")).scalar_one()
    assert result["era"] == era >= 2


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_deployment_migrates_and_receives_success(kind: str, database: str, engine: Engine, cloudformation: FakeCloudFormation) -> None:
    migrate.handler(request(kind, cloudformation), CONTEXT)

    assert revision(engine) == [migrations.head_revision()]
    assert cloudformation.responses == [
        {
            "Status": "SUCCESS",
            "StackId": "stack",
            "RequestId": "request",
            "LogicalResourceId": "Step",
            "PhysicalResourceId": "database-schema",
            "Data": {"before": None, "after": migrations.head_revision()},
        }
    ]
    # The signature of the presigned URL covers this header.
    assert cloudformation.content_types == [""]


def test_failure_response_does_not_contain_the_error_message(
    database: str, cloudformation: FakeCloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:s3cr3t-word@127.0.0.1:1/app")

    migrate.handler(request("Update", cloudformation), CONTEXT)

    (response,) = cloudformation.responses
    assert response["Status"] == "FAILED"
    assert response["Reason"].endswith("see the log group /we-upload/migrate for details")
    assert "s3cr3t-word" not in json.dumps(response)


def test_missing_setting_sends_a_failure_response(cloudformation: FakeCloudFormation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)

    migrate.handler(request("Create", cloudformation), CONTEXT)

    assert cloudformation.responses[0]["Status"] == "FAILED"


def test_deleting_the_stack_leaves_the_tables(database: str, engine: Engine, cloudformation: FakeCloudFormation) -> None:
    migrate.handler(request("Create", cloudformation), CONTEXT)

    migrate.handler(request("Delete", cloudformation), CONTEXT)

    assert cloudformation.responses[-1]["Status"] == "SUCCESS"
    assert revision(engine) == [migrations.head_revision()]


def test_database_with_a_newer_revision_is_not_changed(database: str, engine: Engine, cloudformation: FakeCloudFormation) -> None:
    migrate.handler(request("Create", cloudformation), CONTEXT)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'of-a-newer-version'"))

    migrate.handler(request("Update", cloudformation), CONTEXT)

    assert cloudformation.responses[-1]["Status"] == "SUCCESS"
    assert revision(engine) == ["of-a-newer-version"]


def test_manual_invocation_returns_the_revisions_or_raises(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    head = migrations.head_revision()

    assert migrate.handler({}, CONTEXT) == {"before": None, "after": head}
    assert migrate.handler({}, CONTEXT) == {"before": head, "after": head}

    monkeypatch.setenv("DATABASE_URL", "postgresql://app@127.0.0.1:1/app")
    with pytest.raises(OperationalError):
        migrate.handler({}, CONTEXT)


@dataclass
class Owner:
    """The password and the token of the database owner, only one of which is valid, and a record of their use."""

    password: str
    token: str
    tried: list[str] = field(default_factory=list)


@pytest.fixture
def owner(database: str, monkeypatch: pytest.MonkeyPatch) -> Owner:
    """The environment of a deployed function: no password in the URL, but a secret and IAM tokens."""
    password = str(make_url(database).password)
    owner = Owner(password=password, token="rejected")
    monkeypatch.setenv("DATABASE_URL", database.replace(f":{password}@", "@"))
    monkeypatch.setenv("DATABASE_SECRET_ARN", "arn:aws:secretsmanager:owner")

    def secret(_: AwsAccess, arn: str) -> str:
        owner.tried.append(arn)
        return json.dumps({"username": "postgres", "password": owner.password})

    def token(_: AwsAccess, host: str, port: int, user: str) -> str:
        owner.tried.append(f"{user}@{host}")
        return owner.token

    monkeypatch.setattr(AwsAccess, "secret", secret)
    monkeypatch.setattr(AwsAccess, "database_auth_token", token)
    return owner


def test_new_database_is_migrated_with_the_password_of_its_secret(owner: Owner) -> None:
    assert migrate.handler({}, CONTEXT)["after"] == migrations.head_revision()

    assert owner.tried[0] == "postgres@127.0.0.1"
    assert set(owner.tried[1:]) == {"arn:aws:secretsmanager:owner"}


def test_iam_token_is_used_without_reading_the_secret(owner: Owner) -> None:
    owner.token, owner.password = owner.password, "rejected"

    assert migrate.handler({}, CONTEXT)["after"] == migrations.head_revision()

    assert set(owner.tried) == {"postgres@127.0.0.1"}


def test_creator_of_a_role_is_a_member_of_its_roles(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    # This is why migrate tries a token and a password. If PostgreSQL changes it, one of them is enough.
    names = {kind: f"{kind}_{secrets.token_hex(4)}" for kind in ("maker", "app", "iam")}
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {names['maker']} CREATEROLE"))
        connection.execute(text(f"CREATE ROLE {names['iam']}"))
        connection.execute(text(f"SET LOCAL ROLE {names['maker']}"))
        connection.execute(text(f"CREATE ROLE {names['app']}"))
        connection.execute(text("RESET ROLE"))
        connection.execute(text(f"GRANT {names['iam']} TO {names['app']}"))

        counts = connection.execute(text(f"SELECT pg_has_role('{names['maker']}', '{names['iam']}', 'member')")).scalar()
        connection.execute(text(f"DROP ROLE {names['app']}, {names['maker']}, {names['iam']}"))

    assert counts is True


@pytest.fixture
def role(database: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The application's role, created by the migrate function."""
    name = f"app_{secrets.token_hex(4)}"
    monkeypatch.setenv("DATABASE_APP_ROLE", name)
    migrate.handler({}, CONTEXT)
    yield name
    with engine.begin() as connection:
        connection.execute(text(f"DROP OWNED BY {name}"))
        connection.execute(text(f"DROP ROLE {name}"))


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "DROP TABLE file",
        "UPDATE alembic_version SET version_num = 'x'",
        "UPDATE audit_event SET action = 'x'",
        "DELETE FROM audit_event",
    ],
)
def test_application_role_can_only_read_and_write_rows(statement: str, role: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"SET LOCAL ROLE {role}"))
        assert connection.execute(text("SELECT count(*) FROM file")).scalar() == 0
        connection.execute(text("DELETE FROM file"))

    with engine.connect() as connection:
        connection.execute(text(f"SET LOCAL ROLE {role}"))
        with pytest.raises(ProgrammingError, match="42501"):
            connection.execute(text(statement))


def test_timeouts_are_set_on_the_role(role: str, engine: Engine) -> None:
    with engine.connect() as connection:
        settings = connection.execute(text("SELECT rolconfig FROM pg_roles WHERE rolname = :role"), {"role": role}).scalar()

    assert settings == ["statement_timeout=4s", "idle_in_transaction_session_timeout=10s"]


def test_repeated_grant_covers_new_tables(role: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE later (id int)"))

    migrate.handler({}, CONTEXT)

    with engine.begin() as connection:
        connection.execute(text(f"SET LOCAL ROLE {role}"))
        connection.execute(text("INSERT INTO later VALUES (1)"))


def test_application_role_is_granted_rds_iam(role: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    iam_role = f"iam_{secrets.token_hex(4)}"
    monkeypatch.setattr(roles, "IAM_ROLE", iam_role)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {iam_role}"))
    try:
        migrate.handler({}, CONTEXT)

        with engine.connect() as connection:
            assert connection.execute(text(f"SELECT pg_has_role('{role}', '{iam_role}', 'member')")).scalar() is True
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP ROLE {iam_role}"))
