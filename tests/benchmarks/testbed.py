"""The database, accounts and files that all candidates of a run share."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

from pydantic import SecretStr
from sqlalchemy import text

from lambda_app.core.security.random_tokens import hash_secret, new_link_token
from lambda_app.core.settings import Environment, Settings
from lambda_app.db import migrations
from lambda_app.factory import Services
from lambda_app.schemas.accounts.users import UserCreate
from tests.benchmarks.candidates import Candidate
from tests.benchmarks.processes import Process
from tests.benchmarks.rows import fill
from tests.support.accounts import UNLIMITED_REGISTRAR
from tests.support.postgres import create_fresh_database, running_postgres

API = "/api/v1"
FILES_OF_OWNER = 100
PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class BenchUser:
    """An account, and its access token from each candidate."""

    id: UUID
    email: str
    tokens: dict[str, str] = field(default_factory=dict)


def event_of(method: str, path: str, *, token: str | None = None, body: str | None = None, form: bool = False) -> dict[str, Any]:
    """Return the event of an HTTP API (payload 2.0) for a browser's request."""
    path, _, query = path.partition("?")
    headers = {
        "accept": "application/json",
        "accept-encoding": "gzip, deflate, br",
        "content-length": str(len(body or "")),
        "host": "api-id.execute-api.us-east-1.amazonaws.com",
        "user-agent": "Mozilla/5.0 (X11; Linux x86_64) bench",
        "x-amzn-trace-id": "Root=1-67000000-000000000000000000000000",
        "x-forwarded-for": "203.0.113.7",
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
    }
    if token:
        headers["authorization"] = f"Bearer {token}"
    if body is not None:
        headers["content-type"] = "application/x-www-form-urlencoded" if form else "application/json"
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        **({"queryStringParameters": dict(pair.split("=") for pair in query.split("&"))} if query else {}),
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api-id",
            "domainName": "api-id.execute-api.us-east-1.amazonaws.com",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "bench"},
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": "$default",
            "time": "12/Mar/2026:19:03:58 +0000",
            "timeEpoch": 1773342238000,
        },
        "body": body,
        "isBase64Encoded": False,
    }


@dataclass(frozen=True)
class Testbed:
    """A migrated database with an owner of a hundred files, and the environment of the candidates' processes."""

    services: Services
    environment: dict[str, str]
    owner: BenchUser
    file_id: UUID
    link_token: str = ""
    """The token of a share link of that file."""

    @property
    def database_url(self) -> str:
        """The connection URL of the database."""
        return self.environment["DATABASE_URL"]

    def start(self, candidate: Candidate, *options: str, database_url: str | None = None) -> Process:
        """Start a candidate with options of `child.py`. `database_url` replaces the URL of the database, for example by that of a proxy."""
        return Process(candidate, self.environment | {"DATABASE_URL": database_url or self.database_url}, *options)

    def create_user(self) -> BenchUser:
        """Create an account."""
        with self.services.unit_of_work() as session:
            registration = UserCreate(email=f"{uuid4()}@example.com", password=PASSWORD)
            user = self.services.users(session).register(registration, registrar=UNLIMITED_REGISTRAR)
            return BenchUser(user.id, user.email)

    def sign_in(self, process: Process, user: BenchUser) -> str:
        """Sign in through a candidate, unless done before, and return the access token."""
        if process.candidate.name not in user.tokens:
            user.tokens[process.candidate.name] = process.request(sign_in_event(user))["access_token"]
        return user.tokens[process.candidate.name]

    def create_files(self, owner: UUID, count: int, *, at: int = 0) -> None:
        """Add files after the first `at` ones; the owner gets nine tenths of them."""
        fill(self.services.engine, owner=owner, other=self.create_user().id, count=count, at=at)


def sign_in_event(user: BenchUser) -> dict[str, Any]:
    """Return the event of a sign-in."""
    form = urlencode({"username": user.email, "password": PASSWORD})
    return event_of("POST", f"{API}/login/token", body=form, form=True)


@contextmanager
def running_testbed() -> Iterator[Testbed]:
    """Provide a temporary PostgreSQL server with the schema, an account and its files."""
    with ExitStack() as stack:
        url = create_fresh_database(stack.enter_context(running_postgres()))
        environment = {
            "ENVIRONMENT": "local",
            "DATABASE_URL": url,
            "DATABASE_TIMEOUT_SECONDS": "30",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "S3_BUCKET_NAME": "bench-bucket",
            "AWS_REGION": "us-east-1",
            # S3 is not called: URLs are only signed.
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
            "USER_QUOTA_BYTES": str(2**60),
            "USER_QUOTA_FILES": str(2**31 - 1),
            "TRASH_RETENTION_DAYS": "0",
        }
        settings = Settings(
            environment=Environment.LOCAL,
            database_url=SecretStr(url),
            database_timeout_seconds=60.0,
            secret_key=SecretStr(environment["SECRET_KEY"]),
            s3_bucket_name=environment["S3_BUCKET_NAME"],
        )
        services = Services.build(settings)
        stack.callback(services.engine.dispose)
        migrations.upgrade(services.engine)
        testbed = Testbed(services, environment, BenchUser(uuid4(), ""), uuid4())
        owner = testbed.create_user()
        # One file in ten belongs to another user.
        testbed.create_files(owner.id, FILES_OF_OWNER * 10 // 9 + 1)
        with services.engine.begin() as connection:
            file_id = connection.execute(
                text("SELECT id FROM file WHERE owner_id = :id AND status = 'available' LIMIT 1"), {"id": owner.id}
            ).scalar_one()
            token, share_id = new_link_token(), uuid4()
            share = {"id": share_id, "owner": owner.id, "hash": hash_secret(token), "file": file_id}
            connection.execute(text("INSERT INTO share (id, owner_id, token_hash) VALUES (:id, :owner, :hash)"), share)
            connection.execute(text("INSERT INTO share_file (share_id, file_id, position) VALUES (:id, :file, 0)"), share)
        yield Testbed(services, environment, owner, file_id, token)
