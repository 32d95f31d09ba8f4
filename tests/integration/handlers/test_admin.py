"""The admin function: operator commands with a real database."""

import httpx
import pytest

from lambda_app.cli import cli
from lambda_app.core.settings import Settings
from lambda_app.handlers import admin
from tests.support.accounts import Account, sign_in


@pytest.fixture(autouse=True)
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.secret_key is not None
    monkeypatch.setenv("ENVIRONMENT", "local")
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("SECRET_KEY", settings.secret_key.get_secret_value())
    monkeypatch.setenv("S3_BUCKET_NAME", settings.s3_bucket_name)
    monkeypatch.setenv("PREVIEWS_ENABLED", "true")


@pytest.mark.parametrize("command", ["purge", "recount-usage", "reencrypt-links", "request-previews", "verify-audit"])
def test_command_returns_the_lines_that_it_prints(command: str, client: httpx.Client) -> None:
    result = admin.handler({"command": command}, None)

    assert (result["exit_status"], result["error"], len(result["output"]) > 0) == (0, None, True), result
    assert result.keys() == {"exit_status", "output", "error"}


def test_arguments_are_passed_to_the_command(client: httpx.Client) -> None:
    result = admin.handler({"command": "verify-audit", "arguments": ["--anchor", "nonsense"]}, None)

    assert (result["exit_status"], result["error"]) == (1, "an anchor must be a row number and a hash, for example 17:0a1b…")


def test_reset_password_returns_a_random_password_once(client: httpx.Client, owner: Account, caplog: pytest.LogCaptureFixture) -> None:
    result = admin.handler({"command": "reset-password", "arguments": ["--email", owner.email]}, None)

    assert result["exit_status"] == 0, result
    assert sign_in(client, email=owner.email, password=result["password"])
    assert result["password"] not in caplog.text
    assert client.get("/api/v1/users/me", headers=owner.headers).status_code == 401


def test_failed_reset_returns_no_password(client: httpx.Client) -> None:
    result = admin.handler({"command": "reset-password", "arguments": ["--email", "missing@example.com"]}, None)

    assert (result["exit_status"], result["error"]) == (1, "User not found")
    assert "password" not in result


@pytest.mark.parametrize(
    "event",
    [{}, {"command": "openapi"}, {"command": "migrate"}, {"command": ["purge"]}, {"command": "purge", "arguments": "--help"}],
    ids=["empty", "openapi", "migrate", "list", "text"],
)
def test_other_commands_and_arguments_are_refused(event: dict[str, object]) -> None:
    result = admin.handler(event, None)

    assert (result["exit_status"], result["output"]) == (2, [])
    assert result["error"]


def test_commands_exist() -> None:
    assert set(admin.COMMANDS) < cli.commands.keys()
