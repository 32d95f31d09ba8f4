"""The Lambda entry point of the operator commands. Operators invoke it manually, because only functions in the VPC reach the database."""

import io
import logging
import secrets
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import click
from pydantic import SecretStr

from lambda_app.cli import cli
from lambda_app.core.logs import configure_logs

COMMANDS = ("prove-consistency", "purge", "recount-usage", "reencrypt-links", "request-previews", "reset-password", "verify-audit")
"""The other commands have functions of their own, or need none: `migrate` (which also starts a new era), `create-superuser`, `sweep`,
`build-archives`, `seal-audit`, `openapi`. `erase-audit` needs the owner of the tables."""

NEEDS_PASSWORD = ("reset-password",)
PASSWORD_BYTES = 18
"""144 random bits. The user should change the password after the first sign-in."""

logger = logging.getLogger(__name__)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Run one operator command: `{"command": "verify-audit", "arguments": ["--anchor", "17:0a1b"]}`.

    Returns the lines that the command prints, its error or None, and its exit status. `reset-password` gets a random password, which is
    returned and not stored or logged anywhere else.
    """
    del context
    configure_logs("INFO")
    command, arguments = event.get("command"), event.get("arguments", [])
    if command not in COMMANDS:
        return _result(2, error=f"The command must be one of {', '.join(COMMANDS)}")
    if not isinstance(arguments, list) or not all(isinstance(argument, str) for argument in arguments):
        return _result(2, error="arguments must be a list of strings")
    password = SecretStr(secrets.token_urlsafe(PASSWORD_BYTES)) if command in NEEDS_PASSWORD else None
    output = io.StringIO()
    error: str | None = None
    try:
        with redirect_stdout(output), redirect_stderr(output):
            status = cli.main([command, *arguments], prog_name="we-upload-admin", standalone_mode=False, obj=password) or 0
    except click.ClickException as refused:
        status, error = refused.exit_code, refused.format_message()
    # Never the output: it can contain addresses.
    logger.info("ran an operator command", extra={"fields": {"command": command, "exit_status": status}})
    result = _result(status, output.getvalue().splitlines(), error)
    return result | ({"password": password.get_secret_value()} if password and not status else {})


def _result(status: int, output: list[str] | None = None, error: str | None = None) -> dict[str, Any]:
    return {"exit_status": status, "output": output or [], "error": error}
