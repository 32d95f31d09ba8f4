"""The drill: lose a database, restore its backup on another server, and go on. Real PostgreSQL, real dumps, and the S3 emulator.

In AWS, `make restore` does the same with the backups of RDS (infra/recovery). A server of its own stands for the new resource id.
"""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.engine import make_url

from infra.local.object_store import ObjectStoreServer
from infra.local.postgres import binaries_folder
from lambda_app.application import create_app
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.handlers import admin, migrate
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.services.audit_sealing import SealReport
from tests.support.accounts import Account, make_account, make_file, sign_in, start_upload
from tests.support.gateway import GatewayTransport
from tests.support.loopback import loopback_client
from tests.support.postgres import create_fresh_database, running_postgres
from tests.support.s3 import running_object_store
from tests.support.shares import make_share

FILES = 20


@pytest.fixture
def open_api(settings: Settings) -> Iterator[Callable[..., tuple[httpx.Client, Services]]]:
    """Open the API on a database and a store."""
    with ExitStack() as opened:

        def start(database_url: str, store: ObjectStoreServer) -> tuple[httpx.Client, Services]:
            changed = settings.model_copy(
                update={
                    "database_url": SecretStr(database_url),
                    "s3_bucket_name": store.bucket,
                    "aws_region": store.region,
                    "aws_endpoint_url": store.endpoint_url,
                }
            )
            services = Services.build(changed)
            opened.callback(services.engine.dispose)
            transport = GatewayTransport(GatewayHandler(create_app(changed, services)))
            return opened.enter_context(httpx.Client(transport=transport, base_url="https://api.test")), services

        yield start


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStoreServer]:
    """A store of its own, so that objects of other tests do not look like orphans."""
    with running_object_store() as started:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", started.access_key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", started.secret_access_key)
        yield started


def pg(program: str, url: str, *arguments: str) -> None:
    """Run a program of PostgreSQL on a database."""
    parsed = make_url(url)
    command = [str(binaries_folder() / program), "--host", str(parsed.host), "--port", str(parsed.port), "--username", str(parsed.username)]
    environment = {"PGPASSWORD": str(parsed.password), "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    subprocess.run([*command, "--dbname", str(parsed.database), *arguments], env=environment, check=True, capture_output=True)


def run_function(handler: Callable[[Any, Any], dict[str, Any]], event: dict[str, Any]) -> dict[str, Any]:
    return handler(event, None)


@pytest.mark.slow
def test_stage_works_after_its_database_was_restored_on_another_server(
    make_migrated_database: Callable[[], str],
    open_api: Callable[..., tuple[httpx.Client, Services]],
    store: ObjectStoreServer,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    lost_url = make_migrated_database()
    api, services = open_api(lost_url, store)
    owner = make_account(services)
    files = [make_file(api, owner, b"kept %d" % number) for number in range(FILES)]
    share = make_share(api, owner, files[0]["id"])
    set_environment(lost_url, settings, store, monkeypatch)
    seal(services)

    pg("pg_dump", lost_url, "--format=custom", "--file", str(tmp_path / "backup"))
    after_the_backup = make_file(api, owner, b"after the backup")
    assert api.delete(f"/api/v1/files/{files[1]['id']}?permanent=true", headers=owner.headers).status_code == 204
    # The copies of the checkpoints are ahead of the backup now.
    seal(services)

    with running_postgres() as another_server:
        restored_url = create_fresh_database(another_server)
        started_at = monotonic()
        pg("pg_restore", restored_url, "--exit-on-error", "--no-owner", "--no-privileges", str(tmp_path / "backup"))
        monkeypatch.setenv("DATABASE_URL", restored_url)
        monkeypatch.setenv("DATABASE_APP_ROLE", "we_upload_restored")
        migrated = run_function(migrate.handler, {"new_era": "drill"})
        recounted = run_function(admin.handler, {"command": "recount-usage"})
        checked = run_function(admin.handler, {"command": "verify-audit"})
        seconds = monotonic() - started_at
        record_property("restore_seconds", round(seconds, 2))

        assert migrated["before"] == migrated["after"]
        assert (recounted["exit_status"], recounted["output"]) == (0, ["0 accounts differ, 0 corrected"])
        assert (checked["exit_status"], checked["error"]) == (0, None), checked
        api, services = open_api(restored_url, store)
        assert seal(services).era == migrated["era"]
        assert_everything_of_the_backup_works(api, owner, files, share)
        assert api.get(f"/api/v1/files/{after_the_backup['id']}", headers=owner.headers).status_code == 404
        # The bytes of the file that was deleted after the backup are gone: its row is reported, as in a restore within the trash period.
        with services.unit_of_work() as session:
            report = services.sweep(session).run(budget_seconds=600, is_dry=True, orphan_min_age=timedelta(0))
        assert (report.lost_objects, report.deleted_objects, report.failures) == (1, 1, 0)
        assert may_connect_as_the_application(services)
    print(f"restored and verified in {seconds:.1f} s")


def set_environment(database_url: str, settings: Settings, store: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.secret_key is not None
    for name, value in {
        "ENVIRONMENT": "local",
        "DATABASE_URL": database_url,
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "S3_BUCKET_NAME": store.bucket,
        "AWS_REGION": store.region,
        "AWS_ENDPOINT_URL": store.endpoint_url,
    }.items():
        monkeypatch.setenv(name, value)


def seal(services: Services) -> SealReport:
    with services.unit_of_work() as session:
        return services.sealer(session).run()


def assert_everything_of_the_backup_works(api: httpx.Client, owner: Account, files: list[dict[str, Any]], share: dict[str, Any]) -> None:
    token = sign_in(api, email=owner.email, password=owner.password)
    headers = {"Authorization": f"Bearer {token}"}
    listed = api.get("/api/v1/files?limit=100", headers=headers).json()
    assert {file["id"] for file in listed} == {file["id"] for file in files}
    download = api.get(f"/api/v1/files/download/{files[0]['id']}", headers=headers).json()["download_url"]
    with loopback_client() as s3:
        assert s3.get(download).content == b"kept 0"
    assert api.get(f"/api/v1/shares/{share['id']}", headers=headers).json()["url"] == share["url"]
    assert start_upload(api, Account(owner.id, owner.email, owner.password, token))["file_id"]


def may_connect_as_the_application(services: Services) -> bool:
    with services.engine.connect() as connection:
        granted = "SELECT has_table_privilege('we_upload_restored', 'file', 'SELECT, INSERT, UPDATE, DELETE')"
        return bool(connection.execute(text(granted)).scalar_one())
