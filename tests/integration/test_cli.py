"""The operator's command line, against a real database."""

import json
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from click.testing import CliRunner

from lambda_app.cli import cli
from lambda_app.core.settings import Settings
from tests.support.accounts import sign_in

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
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
