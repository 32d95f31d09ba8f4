"""Servers shared by all tests, started on first use, and the restriction of sockets."""

import gc
import os
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import hypothesis
import pytest
from pydantic import SecretStr

from infra.local.object_store import ObjectStoreServer
from infra.local.postgres import Postgres
from lambda_app.core.settings import Environment, Settings
from lambda_app.db import migrations
from lambda_app.db.engine import create_database_engine
from tests.support.log_watch import WATCH, LogWatch, start_watching
from tests.support.pooler import IS_POOLED, NOT_THROUGH_A_POOLER, Line, database_line
from tests.support.postgres import create_fresh_database, running_postgres
from tests.support.s3 import running_object_store

UNIT_TESTS = Path(__file__).parent / "unit"

# No deadline, because a shared machine can be slow. In CI, hypothesis uses its own profile with deterministic examples.
hypothesis.settings.register_profile("laptop", deadline=None, print_blob=True)
if not os.environ.get("CI"):
    hypothesis.settings.load_profile("laptop")


def pytest_configure() -> None:
    """Remove the developer's AWS credentials and proxies from the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        del os.environ[name]
    start_watching()
    # Tests create hundreds of applications. With Python's own thresholds, full collections take a third of the suite's processor time.
    gc.set_threshold(20_000, 10, 10)
    os.environ.update(AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull, AWS_EC2_METADATA_DISABLED="true")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker for each processor; each has a PostgreSQL and an S3 emulator of its own, which start in two seconds."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Unit tests can open no sockets except those of an event loop; other tests can connect only to 127.0.0.1."""
    for item in items:
        is_unit = UNIT_TESTS in item.path.parents
        item.add_marker(pytest.mark.disable_socket if is_unit else pytest.mark.allow_hosts(["127.0.0.1"]))
        for name, reason in NOT_THROUGH_A_POOLER.items():
            if IS_POOLED and name in item.nodeid:
                item.add_marker(pytest.mark.skip(reason=f"not through a pooler: {reason}"))


@pytest.fixture(autouse=True)
def log_watch() -> Iterator[LogWatch]:
    """Fail a test if a log line contains a credential, a presigned URL, or data of a request or response."""
    WATCH.clear()
    yield WATCH
    assert WATCH.findings() == []


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A running PostgreSQL server."""
    with running_postgres() as postgres:
        yield postgres


@pytest.fixture(scope="session")
def fresh_database(postgres_server: Postgres) -> Callable[[], str]:
    """A function that creates an empty database and returns its URL."""
    return partial(create_fresh_database, postgres_server)


@pytest.fixture(scope="session")
def postgres_url(fresh_database: Callable[[], str]) -> str:
    """The URL of one empty database for the whole session."""
    return fresh_database()


@pytest.fixture(scope="session")
def line(postgres_server: Postgres) -> Iterator[Line]:
    """The application's connection to PostgreSQL, direct or through a pooler. Migrations always connect directly."""
    with database_line(postgres_server) as line:
        yield line


@pytest.fixture(autouse=True)
def _nothing_pins(request: pytest.FixtureRequest) -> Iterator[None]:
    """With a pooler, fail each test that sends a message that would pin a connection of RDS Proxy."""
    if not IS_POOLED or UNIT_TESTS in request.path.parents:
        yield
        return
    line: Line = request.getfixturevalue("line")
    with line.sniffed():
        yield


@pytest.fixture(scope="session")
def make_migrated_database(fresh_database: Callable[[], str], line: Line) -> Callable[[], str]:
    """A function that creates a migrated database and returns the URL for the application."""

    def make() -> str:
        url = fresh_database()
        engine = create_database_engine(_settings(url, bucket="unused"))
        migrations.upgrade(engine)
        engine.dispose()
        return line.url_for(url)

    return make


@pytest.fixture(scope="session")
def migrated_database_url(make_migrated_database: Callable[[], str]) -> str:
    """The URL of one migrated database for the whole session."""
    return make_migrated_database()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[ObjectStoreServer]:
    """A running S3 emulator: `endpoint_url`, `access_key_id`, `secret_access_key`, `region`, `bucket`."""
    with running_object_store() as store:
        yield store


@pytest.fixture(scope="session")
def settings(migrated_database_url: str, s3_server: ObjectStoreServer) -> Settings:
    """Settings of the API with the servers of the session."""
    return _settings(migrated_database_url, bucket=s3_server.bucket, region=s3_server.region, endpoint_url=s3_server.endpoint_url)


def _settings(database_url: str, *, bucket: str, region: str = "us-east-1", endpoint_url: str | None = None) -> Settings:
    return Settings(
        environment=Environment.LOCAL,
        database_url=SecretStr(database_url),
        secret_key=SecretStr(secrets.token_urlsafe(48)),
        log_signing_key=SecretStr(secrets.token_urlsafe(48)),
        s3_bucket_name=bucket,
        aws_region=region,
        aws_endpoint_url=endpoint_url,
        trash_retention_days=0,
        # All log lines, so that `log_watch` checks them.
        log_level="DEBUG",
    )
