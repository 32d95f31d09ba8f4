"""The operator's command line with a real database."""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from click.testing import CliRunner
from sqlalchemy import select, text
from sqlalchemy.engine import make_url

from infra.local.object_store import ObjectStoreServer
from lambda_app.application import create_app
from lambda_app.cli import ARCHIVE_SWEEP_LABELS, SWEEP_LABELS, cli
from lambda_app.core.security.keys import KeyRing, SigningKey, SigningKeys
from lambda_app.core.security.link_tokens import LinkTokenCipher
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.handlers import object_created, sweep
from lambda_app.handlers.processes import process_services
from lambda_app.models import User
from lambda_app.repositories.stats import StatsRepository
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.services.archives.sweep import ArchiveSweepReport, ArchiveSweepService
from lambda_app.services.files import usage
from lambda_app.services.files.sweep import SweepReport, SweepService
from lambda_app.services.maintenance import MaintenanceService
from tests.support import preview_samples as samples
from tests.support.accounts import Account, make_file, sign_in, start_upload
from tests.support.gateway import GatewayTransport
from tests.support.locks import wait_until_blocked
from tests.support.s3_events import batch, eventbridge_message
from tests.support.shares import make_share

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    assert settings.secret_key is not None
    return {
        "ENVIRONMENT": "local",
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "S3_BUCKET_NAME": settings.s3_bucket_name,
    }


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    def invoke(*args: str, text: str = "", **changes: str | None) -> tuple[int, str]:
        result = CliRunner().invoke(cli, args, input=text, env=environment | changes, catch_exceptions=False)
        return result.exit_code, result.output

    return invoke


def test_superuser_created_by_command_can_sign_in(run: Run, client: httpx.Client) -> None:
    email = f"root-{uuid4()}@example.com"

    code, output = run("create-superuser", "--email", email, "--password-stdin", text="a good password\n")

    assert code == 0, output
    token = sign_in(client, email=email, password="a good password")
    assert client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"}).json()["is_superuser"] is True


def test_links_are_encrypted_again_with_the_current_key(run: Run, client: httpx.Client, services: Services, owner: Account) -> None:
    file = make_file(client, owner)["id"]
    share = make_share(client, owner, file)
    request = client.post("/api/v1/file-requests", json={"title": "x"}, headers=owner.headers).json()
    old, new = services.link_keys.current(), SigningKey.generate()
    both = KeyRing(current=new, previous=old).render()
    # The secret of a second factor has the same key.
    secret = LinkTokenCipher(services.link_keys).encrypt("JBSWY3DPEHPK3PXP", row_id=owner.id)
    with services.engine.begin() as connection:
        connection.execute(text('UPDATE "user" SET totp_secret = :secret WHERE id = :id'), {"secret": secret, "id": owner.id})

    def urls(keys: str) -> list[str | None]:
        changed = replace(services, link_keys=SigningKeys.fixed(keys))
        transport = GatewayTransport(GatewayHandler(create_app(services.settings, changed)))
        with httpx.Client(transport=transport, base_url="https://api.test") as api:
            paths = (f"/api/v1/shares/{share['id']}", f"/api/v1/file-requests/{request['id']}")
            return [api.get(path, headers=owner.headers).json()["url"] for path in paths]

    def key_ids() -> set[str]:
        query = text(
            "SELECT encrypted_token FROM share WHERE id = :share UNION ALL SELECT encrypted_token FROM file_request WHERE id = :request"
        )
        with services.engine.connect() as connection:
            found = connection.execute(query, {"share": share["id"], "request": request["id"]}).scalars().all()
        return {encrypted.partition(".")[0] for encrypted in found}

    only_new = KeyRing(current=new).render()
    assert urls(both) == [share["url"], request["url"]]
    # The old key is a signing key, which still decrypts what it encrypted before the deployment had a link key.
    assert urls(only_new) == [share["url"], request["url"]]
    assert key_ids() == {old.kid}

    code, output = run("reencrypt-links", LINK_KEY=both)
    changed, current, unreadable = (int(number) for number in re.findall(r"[0-9]+", output))
    assert (code, changed >= 2, current) == (0, True, 0)
    assert urls(only_new) == [share["url"], request["url"]]
    assert key_ids() == {new.kid}
    with services.engine.connect() as connection:
        stored = connection.execute(text('SELECT totp_secret FROM "user" WHERE id = :id'), {"id": owner.id}).scalar_one()
    assert LinkTokenCipher(SigningKeys.fixed(only_new)).decrypt(stored, row_id=owner.id) == "JBSWY3DPEHPK3PXP"

    assert f"0 addresses encrypted again, {changed} up to date" in run("reencrypt-links", LINK_KEY=both)[1]
    code, output = run("reencrypt-links", LINK_KEY=KeyRing(current=old).render())
    assert int(re.findall(r"[0-9]+", output)[2]) == unreadable + changed
    # The other tests of this session expect the key of their application.
    assert run("reencrypt-links", LINK_KEY=KeyRing(current=old, previous=new).render())[0] == 0


def test_password_is_prompted_for_and_confirmed(run: Run) -> None:
    email = f"root-{uuid4()}@example.com"

    code, output = run("create-superuser", "--email", email, text="a good password\na good password\n")

    assert code == 0, output
    assert "a good password" not in output


@pytest.mark.parametrize(("email", "password"), [("no address", "a good password"), ("x@example.com", "short")])
def test_invalid_superuser_prints_an_error_line(run: Run, email: str, password: str) -> None:
    code, output = run("create-superuser", "--email", email, "--password-stdin", text=f"{password}\n")

    assert code == 1
    assert output.startswith("Error: ")
    assert "Traceback" not in output


def test_existing_email_address_prints_an_error_line(run: Run) -> None:
    email = f"root-{uuid4()}@example.com"
    run("create-superuser", "--email", email, "--password-stdin", text="a good password\n")

    assert run("create-superuser", "--email", email, "--password-stdin", text="a good password\n") == (
        1,
        "Error: A user with this e-mail already exists\n",
    )


def test_unreachable_database_prints_an_error_line(run: Run) -> None:
    code, output = run("migrate", DATABASE_URL="postgresql://app@127.0.0.1:1/app")

    assert code == 1
    assert output.startswith("Error: ")


def test_migrate_upgrades_an_empty_database(run: Run, fresh_database: Callable[[], str]) -> None:
    url = fresh_database()

    first = run("migrate", DATABASE_URL=url)
    second = run("migrate", DATABASE_URL=url)

    assert first[0] == 0
    assert first == second


def test_committed_openapi_document_is_up_to_date(run: Run) -> None:
    code, output = run("openapi", DATABASE_URL=None, SECRET_KEY=None)

    assert code == 0
    assert json.loads(output) == json.loads(Path("docs/openapi.json").read_text())


def test_sweep_prints_its_report(run: Run, environment: dict[str, str], s3_server: ObjectStoreServer, services: Services) -> None:
    access = {
        "AWS_REGION": s3_server.region,
        "AWS_ENDPOINT_URL": s3_server.endpoint_url,
        "AWS_ACCESS_KEY_ID": s3_server.access_key_id,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_access_key,
    }

    code, output = run("sweep", "--dry-run", **access)

    assert code == 0, output
    # The counts depend on the uploads that earlier tests left behind.
    assert re.search(r"^would expire uploads without bytes +\d+$", output, re.MULTILINE)
    assert re.search(r"^would remove expired archives +\d+$", output, re.MULTILINE)
    assert not re.search(r"^(removed|deleted|expired|aborted|queued)", output, re.MULTILINE)
    assert "deleted files after their retention " in run("sweep", **access)[1]


def test_failed_sweep_exits_with_an_error(run: Run) -> None:
    """The object store does not respond."""
    code, output = run(
        "sweep", AWS_REGION="eu-central-1", AWS_ENDPOINT_URL="http://127.0.0.1:1", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x"
    )

    assert code == 1
    assert re.search(r"^failed steps of the archive sweep +[1-9]", output, re.MULTILINE)
    assert "steps failed because S3 or the database did not respond" in output


def test_sweep_without_its_time_exits_with_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    unfinished = SweepReport(is_finished=False)
    monkeypatch.setattr(SweepService, "run", lambda *_, **__: unfinished)
    monkeypatch.setattr(ArchiveSweepService, "run", lambda *_, **__: ArchiveSweepReport())

    code, output = run("sweep")

    assert (code, output.splitlines()[-1]) == (1, "Error: the time limit ended the sweep; run the command again to continue")


def test_every_count_of_the_sweep_is_printed() -> None:
    counts = {field.name for report in (SweepReport, ArchiveSweepReport) for field in fields(report)}

    assert counts - {"is_finished", "archives_are_finished"} == SWEEP_LABELS.keys() | ARCHIVE_SWEEP_LABELS.keys()


COMMANDS = [
    ("create-superuser", "--email", "root@example.com", "--password-stdin"),
    ("reset-password", "--email", "root@example.com", "--password-stdin"),
    ("verify-audit",),
    ("recount-usage",),
    ("purge",),
    ("reencrypt-links",),
    ("sweep",),
    ("build-archives",),
    ("request-previews",),
]


def test_previews_of_earlier_files_are_requested_up_to_the_limit(run: Run, client: httpx.Client, owner: Account) -> None:
    for _ in range(2):
        make_file(client, owner, samples.picture("PNG"), filename="a.png", content_type="image/png")

    code, output = run("request-previews", "--limit", "1", PREVIEWS_ENABLED="true", S3_BUCKET_NAME=None, SECRET_KEY=None)

    assert (code, output) == (0, "requested 1 previews; the next sweep starts the worker\n")
    assert run("request-previews", "--limit", "0", PREVIEWS_ENABLED="true")[0] == 2


def test_previews_are_not_requested_without_a_worker(run: Run) -> None:
    assert run("request-previews", PREVIEWS_ENABLED="false") == (1, "Error: there is no preview worker: PREVIEWS_ENABLED is false\n")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("host", "database", "message"),
    [("127.0.0.1:1", "app", "onnection refused"), (None, "no_such_database", 'database "no_such_database" does not exist')],
    ids=["refused", "no-database"],
)
def test_command_names_the_cause_when_it_cannot_use_the_database(
    run: Run, settings: Settings, command: tuple[str, ...], host: str | None, database: str, message: str
) -> None:
    url = make_url(settings.database_url.get_secret_value())
    unreachable = f"postgresql://app@{host}/{database}" if host else url.set(database=database).render_as_string(hide_password=False)

    code, output = run(*command, text="a good password\n", DATABASE_URL=unreachable, PREVIEWS_ENABLED="true")

    assert code == 1
    assert message in output
    assert output == run("migrate", DATABASE_URL=unreachable)[1]


@pytest.mark.parametrize("command", ["verify-audit", "recount-usage", "purge"])
def test_command_asks_only_for_the_settings_that_it_uses(run: Run, command: str) -> None:
    code, output = run(command, S3_BUCKET_NAME=None, SECRET_KEY=None)

    assert code == 0, output


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("verify-audit", "Set these environment variables: DATABASE_URL (docs/configuration.md)"),
        ("sweep", "Set these environment variables: DATABASE_URL, S3_BUCKET_NAME (docs/configuration.md)"),
        ("reencrypt-links", "Set these environment variables: DATABASE_URL, SECRET_KEY or SECRET_KEY_ARN (docs/configuration.md)"),
    ],
)
def test_all_missing_settings_are_named_at_once(run: Run, command: str, message: str) -> None:
    assert run(command, DATABASE_URL=None, S3_BUCKET_NAME=None, SECRET_KEY=None) == (1, f"Error: {message}\n")


def test_sweep_handler_returns_its_report(
    environment: dict[str, str], s3_server: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch, services: Services
) -> None:
    for name, value in (environment | {"AWS_REGION": s3_server.region, "AWS_ENDPOINT_URL": s3_server.endpoint_url}).items():
        monkeypatch.setenv(name, value)
    process_services.cache_clear()

    report = sweep.handler({"dry_run": True}, None)
    answer = object_created.handler(
        batch(eventbridge_message("uploads/6f3c1e1e-0000-4000-8000-000000000000", bucket=s3_server.bucket)), None
    )

    process_services().engine.dispose()
    process_services.cache_clear()
    assert (report["is_finished"], report["failures"]) == (True, 0)
    assert answer == {"batchItemFailures": []}


def test_sweep_deletes_expired_rows_although_the_count_fails(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    purged: list[MaintenanceService] = []

    def fail(_self: StatsRepository, **_: int) -> int:
        raise TimeoutError("The count takes too long")

    def purge(self: MaintenanceService) -> dict[str, int]:
        purged.append(self)
        return {}

    monkeypatch.setattr(StatsRepository, "count_ended_hours", fail)
    monkeypatch.setattr(MaintenanceService, "purge", purge)

    with pytest.raises(TimeoutError):
        sweep.run_sweep(services, budget_seconds=5)

    assert len(purged) == 1


def test_failed_sweep_of_the_function_logs_an_error(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The alarm ErrorLines watches these lines; without one, a sweep that S3 refuses for days stays unnoticed."""
    for name, value in (environment | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}).items():
        monkeypatch.setenv(name, value)
    process_services.cache_clear()

    report = sweep.handler({"dry_run": True}, None)

    process_services().engine.dispose()
    process_services.cache_clear()
    assert report["failures"] > 0
    assert [record.levelname for record in caplog.records if record.message == "sweep"] == ["ERROR"]


def test_reset_password_revokes_all_sessions_and_keys(run: Run, client: httpx.Client, owner: Account) -> None:
    code, output = run("reset-password", "--email", owner.email.upper(), "--password-stdin", text="set by an operator\n")

    assert code == 0, output
    assert "set by an operator" not in output
    assert client.get("/api/v1/users/me", headers=owner.headers).status_code == 401
    assert sign_in(client, email=owner.email, password="set by an operator")


@pytest.mark.parametrize(
    ("email", "password", "message"),
    [
        ("nobody@example.com", "a good password", "User not found"),
        ("nobody@example.com", "short", "password"),
    ],
)
def test_invalid_password_reset_prints_an_error_line(run: Run, email: str, password: str, message: str) -> None:
    code, output = run("reset-password", "--email", email, "--password-stdin", text=f"{password}\n")

    assert code == 1
    assert output.startswith("Error: ")
    assert message in output


def test_weak_password_is_rejected_by_commands(run: Run, owner: Account) -> None:
    code, output = run("reset-password", "--email", owner.email, "--password-stdin", text="password123\n")

    assert (code, output.startswith("Error: ")) == (1, True)


def test_purge_deletes_only_expired_data(run: Run, client: httpx.Client, services: Services, owner: Account) -> None:
    form = {"username": owner.email, "password": owner.password}
    ended = client.post("/api/v1/login/token", data=form).json()
    client.post("/api/v1/login/logout", json={"refresh_token": ended["refresh_token"]})
    run("purge")  # clears the data of other tests
    assert run("purge")[1].startswith("0 sessions")

    with services.engine.begin() as connection:
        connection.execute(
            text("UPDATE user_session SET revoked_at = revoked_at - interval '31 days' WHERE user_id = :id AND revoked_at IS NOT NULL"),
            {"id": owner.id},
        )
    code, output = run("purge")

    assert (code, output.split(",")[0]) == (0, "1 sessions")
    assert client.get("/api/v1/users/me", headers=owner.headers).status_code == 200


def test_invalid_anchor_prints_an_error_line(run: Run) -> None:
    assert run("verify-audit", "--anchor", "nonsense")[0] == 1


def counters(services: Services, owner: Account) -> tuple[int, int]:
    with services.engine.connect() as connection:
        row = connection.execute(text('SELECT bytes_used, files_count FROM "user" WHERE id = :id'), {"id": owner.id}).one()
    return row.bytes_used, row.files_count


def lose_count(services: Services, owner: Account) -> None:
    """Set the counters to the values that a version without quotas leaves."""
    with services.engine.begin() as connection:
        connection.execute(text('UPDATE "user" SET bytes_used = 0, files_count = 0 WHERE id = :id'), {"id": owner.id})


def test_recount_corrects_counters_only_with_fix(
    run: Run, client: httpx.Client, services: Services, make_user: Callable[..., Account]
) -> None:
    wrong, right = make_user(), make_user()
    for account, size in ((wrong, 5), (wrong, 7), (right, 11)):
        start_upload(client, account, b"x" * size)
    lose_count(services, wrong)

    shown = run("recount-usage")
    assert shown[0] == 0
    assert f"user {wrong.id}: counted 0 bytes in 0 files, has 12 in 2\n" in shown[1]
    assert str(right.id) not in shown[1]
    assert counters(services, wrong) == (0, 0)

    fixed = run("recount-usage", "--fix")
    assert fixed[0] == 0, fixed[1]
    assert f"user {wrong.id}: counted 0 bytes in 0 files, has 12 in 2, corrected\n" in fixed[1]
    assert (counters(services, wrong), counters(services, right)) == ((12, 2), (11, 1))
    assert run("recount-usage", "--fix") == (0, "0 accounts differ, 0 corrected\n")


def test_recount_covers_all_pages(
    run: Run, client: httpx.Client, services: Services, make_user: Callable[..., Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("recount-usage", "--fix")  # clears the data of other tests
    monkeypatch.setattr(usage, "RECOUNT_PAGE_USERS", 2)
    accounts = [make_user() for _ in range(5)]
    for account in accounts:
        start_upload(client, account)
        lose_count(services, account)

    assert run("recount-usage", "--fix")[1].endswith("5 accounts differ, 5 corrected\n")
    assert {counters(services, account) for account in accounts} == {(5, 1)}


def test_recount_skips_an_account_that_changed_meanwhile(
    run: Run, settings: Settings, client: httpx.Client, make_user: Callable[..., Account]
) -> None:
    """The account starts an upload after its files were counted and before the counters are corrected."""
    pooled = Services.build(settings.model_copy(update={"database_pool_size": 4}))
    owner = make_user()
    start_upload(client, owner, b"xxx")
    run("recount-usage", "--fix")  # clears the data of other tests
    with pooled.engine.begin() as connection:
        connection.execute(text('UPDATE "user" SET bytes_used = 1000 WHERE id = :id'), {"id": owner.id})

    with ThreadPoolExecutor(1) as thread, pooled.engine.begin() as upload:
        upload.execute(select(User.id).where(User.id == owner.id).with_for_update())
        pid = upload.execute(text("SELECT pg_backend_pid()")).scalar_one()
        recounted = thread.submit(run, "recount-usage", "--fix")
        wait_until_blocked(pooled, by=pid)
        upload.execute(
            text('UPDATE "user" SET bytes_used = bytes_used + 7, files_count = files_count + 1 WHERE id = :id'), {"id": owner.id}
        )
        upload.execute(
            text(
                "INSERT INTO file (id, filename, content_type, size_bytes, s3_key, owner_id, status, upload_expires_at) "
                "VALUES (:file, 'b', 'a/b', 7, :key, :id, 'pending', now())"
            ),
            {"file": uuid4(), "key": str(uuid4()), "id": owner.id},
        )
        upload.commit()
        code, output = recounted.result(timeout=30)

    assert counters(pooled, owner) == (1007, 2)
    assert (code, output.splitlines()[-1]) == (1, "Error: 1 accounts were in use and were not corrected; run the command again")
    assert run("recount-usage", "--fix")[1].endswith("1 accounts differ, 1 corrected\n")
    assert counters(pooled, owner) == (10, 2)
    pooled.engine.dispose()
