"""The operator's command line, against a real database."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from infra.local.object_store import ObjectStoreServer
from lambda_app.cli import cli
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.handlers import object_created, sweep
from lambda_app.handlers.processes import process_services
from tests.support.accounts import Account, sign_in
from tests.support.s3_events import batch, bridged

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


def test_superuser_from_the_command_line_signs_in(run: Run, client: httpx.Client) -> None:
    email = f"root-{uuid4()}@example.com"

    code, output = run("create-superuser", "--email", email, "--password-stdin", text="a good password\n")

    assert code == 0, output
    token = sign_in(client, email=email, password="a good password")
    assert client.get("/api/v1/users/me", headers={"Authorization": f"Bearer {token}"}).json()["is_superuser"] is True


def test_password_can_be_typed_twice(run: Run) -> None:
    email = f"root-{uuid4()}@example.com"

    code, output = run("create-superuser", "--email", email, text="a good password\na good password\n")

    assert code == 0, output
    assert "a good password" not in output


@pytest.mark.parametrize(("email", "password"), [("no address", "a good password"), ("x@example.com", "short")])
def test_bad_superuser_is_refused_in_a_sentence(run: Run, email: str, password: str) -> None:
    code, output = run("create-superuser", "--email", email, "--password-stdin", text=f"{password}\n")

    assert code == 1
    assert output.startswith("Error: ")
    assert "Traceback" not in output


def test_address_that_is_taken_is_refused_in_a_sentence(run: Run) -> None:
    email = f"root-{uuid4()}@example.com"
    run("create-superuser", "--email", email, "--password-stdin", text="a good password\n")

    assert run("create-superuser", "--email", email, "--password-stdin", text="a good password\n") == (
        1,
        "Error: A user with this e-mail already exists\n",
    )


def test_missing_setting_is_named(run: Run) -> None:
    code, output = run("migrate", SECRET_KEY=None)

    assert code == 1
    assert "secret_key" in output


def test_database_that_is_away_is_said_in_a_sentence(run: Run) -> None:
    code, output = run("migrate", DATABASE_URL="postgresql://app@127.0.0.1:1/app")

    assert code == 1
    assert output.startswith("Error: ")


def test_migration_brings_an_empty_database_up_to_date(run: Run, fresh_database: Callable[[], str]) -> None:
    url = fresh_database()

    first = run("migrate", DATABASE_URL=url)
    second = run("migrate", DATABASE_URL=url)

    assert first[0] == 0
    assert first == second


def test_document_on_file_is_the_codes(run: Run) -> None:
    code, output = run("openapi", DATABASE_URL=None, SECRET_KEY=None)

    assert code == 0
    assert json.loads(output) == json.loads(Path("docs/openapi.json").read_text())


def test_sweep_says_what_it_did(run: Run, environment: dict[str, str], s3_server: ObjectStoreServer, services: Services) -> None:
    access = {
        "AWS_REGION": s3_server.region,
        "AWS_ENDPOINT_URL": s3_server.endpoint_url,
        "AWS_ACCESS_KEY_ID": s3_server.access_key_id,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_access_key,
    }

    code, output = run("sweep", "--dry-run", **access)

    assert code == 0, output
    assert "is finished          True" in output
    # How many depends on how long ago the tests before this one left their uploads behind.
    assert re.search(r"^expired +\d+$", output, re.MULTILINE)


def test_sweep_by_lambda_answers_with_its_report(
    environment: dict[str, str], s3_server: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch, services: Services
) -> None:
    for name, value in (environment | {"AWS_REGION": s3_server.region, "AWS_ENDPOINT_URL": s3_server.endpoint_url}).items():
        monkeypatch.setenv(name, value)
    process_services.cache_clear()

    report = sweep.handler({"dry_run": True}, None)
    answer = object_created.handler(batch(bridged("uploads/6f3c1e1e-0000-4000-8000-000000000000", bucket=s3_server.bucket)), None)

    process_services().engine.dispose()
    process_services.cache_clear()
    assert (report["is_finished"], report["failures"]) == (True, 0)
    assert answer == {"batchItemFailures": []}


def test_operator_resets_a_password_and_everything_ends(run: Run, client: httpx.Client, owner: Account) -> None:
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
def test_reset_that_cannot_be_is_refused_in_a_sentence(run: Run, email: str, password: str, message: str) -> None:
    code, output = run("reset-password", "--email", email, "--password-stdin", text=f"{password}\n")

    assert code == 1
    assert output.startswith("Error: ")
    assert message in output


def test_weak_password_is_refused_by_commands_too(run: Run, owner: Account) -> None:
    code, output = run("reset-password", "--email", owner.email, "--password-stdin", text="password123\n")

    assert (code, output.startswith("Error: ")) == (1, True)


def test_purge_removes_what_is_over_and_nothing_else(run: Run, client: httpx.Client, services: Services, owner: Account) -> None:
    form = {"username": owner.email, "password": owner.password}
    ended = client.post("/api/v1/login/token", data=form).json()
    client.post("/api/v1/login/logout", json={"refresh_token": ended["refresh_token"]})
    run("purge")  # what other tests have left
    assert run("purge")[1].startswith("0 sessions")

    with services.engine.begin() as connection:
        connection.execute(
            text("UPDATE user_session SET revoked_at = revoked_at - interval '31 days' WHERE user_id = :id AND revoked_at IS NOT NULL"),
            {"id": owner.id},
        )
    code, output = run("purge")

    assert (code, output.split(",")[0]) == (0, "1 sessions")
    assert client.get("/api/v1/users/me", headers=owner.headers).status_code == 200


def test_anchor_that_is_none_is_refused_in_a_sentence(run: Run) -> None:
    assert run("verify-audit", "--anchor", "nonsense")[0] == 1
