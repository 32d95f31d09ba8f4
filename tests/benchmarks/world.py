"""The servers, accounts and files that every candidate is measured on, in one run."""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

from pydantic import SecretStr
from sqlalchemy import text

from lambda_app.core.settings import Environment, Settings
from lambda_app.db import migrations
from lambda_app.factory import Services
from lambda_app.schemas.accounts.users import UserCreate
from tests.benchmarks.processes import Process
from tests.benchmarks.rows import fill
from tests.benchmarks.trees import Candidate
from tests.support.postgres import create_fresh_database, running_postgres

API = "/api/v1"
FILES_OF_OWNER = 100
PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Person:
    """An account, and the token that each candidate gave it."""

    id: UUID
    email: str
    tokens: dict[str, str] = field(default_factory=dict)


def event_of(method: str, path: str, *, token: str | None = None, body: str | None = None, form: bool = False) -> dict[str, Any]:
    """Return the event of an HTTP API (payload 2.0), as a browser's request makes it."""
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
class World:
    """One migrated database with an owner of a hundred files, and what a candidate's process needs in its environment."""

    services: Services
    environment: dict[str, str]
    owner: Person
    file_id: UUID

    @property
    def database_url(self) -> str:
        """Where the database listens."""
        return self.environment["DATABASE_URL"]

    def start(self, candidate: Candidate, *options: str, database_url: str | None = None) -> Process:
        """Start a candidate with options of `child.py`; `database_url` is the way to the database when there is something between."""
        return Process(candidate, self.environment | {"DATABASE_URL": database_url or self.database_url}, *options)

    def make_person(self) -> Person:
        """Make an account."""
        with self.services.unit_of_work() as session:
            registration = UserCreate(email=f"{uuid4()}@example.com", password=PASSWORD)
            user = self.services.users(session).register(registration, registrar=None)
            return Person(user.id, user.email)

    def sign_in(self, process: Process, person: Person) -> str:
        """Sign in through a candidate, once, and return the token."""
        if process.candidate.name not in person.tokens:
            person.tokens[process.candidate.name] = process.ask(sign_in_event(person))["access_token"]
        return person.tokens[process.candidate.name]

    def make_files(self, owner: UUID, count: int, *, at: int = 0) -> None:
        """Add files to an account's, nine tenths of them available and its own."""
        fill(self.services.engine, owner=owner, other=self.make_person().id, count=count, at=at)


def sign_in_event(person: Person) -> dict[str, Any]:
    """Return the request that signs the person in."""
    form = urlencode({"username": person.email, "password": PASSWORD})
    return event_of("POST", f"{API}/login/token", body=form, form=True)


@contextmanager
def running_world() -> Iterator[World]:
    """Start PostgreSQL, make the tables and the first account; all of it is gone afterwards."""
    with ExitStack() as stack:
        url = create_fresh_database(stack.enter_context(running_postgres()))
        environment = {
            "ENVIRONMENT": "local",
            "DATABASE_URL": url,
            "DATABASE_TIMEOUT_SECONDS": "30",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "S3_BUCKET_NAME": "bench-bucket",
            "AWS_REGION": "us-east-1",
            # Nobody calls S3 here: addresses are only signed.
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(30),
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
            "USER_QUOTA_BYTES": str(2**60),
            "USER_QUOTA_FILES": str(2**31 - 1),
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
        world = World(services, environment, Person(uuid4(), ""), uuid4())
        owner = world.make_person()
        # A ninth more than are shown: every tenth is somebody else's.
        world.make_files(owner.id, FILES_OF_OWNER * 10 // 9 + 1)
        with services.engine.begin() as connection:
            file_id = connection.execute(text("SELECT id FROM file WHERE owner_id = :id LIMIT 1"), {"id": owner.id}).scalar_one()
        yield World(services, environment, owner, file_id)
