"""The operator's command line; it runs beside the database, never in Lambda."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from pydantic import SecretStr, ValidationError
from sqlalchemy.exc import DBAPIError

from lambda_app.core.errors import AppError
from lambda_app.core.settings import Environment, Settings
from lambda_app.db.endpoint import DatabaseUrlError
from lambda_app.db.errors import error_field
from lambda_app.factory import Services
from lambda_app.schemas.user import UserCreate


@contextmanager
def _services() -> Iterator[Services]:
    """Give the services of the environment's settings, and show what goes wrong in a sentence: a stack trace helps no operator."""
    try:
        services = Services.build(Settings.from_environment())
        try:
            yield services
        finally:
            services.engine.dispose()
    except (AppError, DatabaseUrlError) as error:
        raise click.ClickException(str(error)) from error
    except DBAPIError as error:
        raise click.ClickException(error_field(error.orig, "M") or str(error.orig)) from error
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in item['loc']) or 'settings'}: {item['msg']}" for item in error.errors(include_input=False)
        ]
        raise click.ClickException("; ".join(lines)) from error


@click.group()
def cli() -> None:
    """Operate We-Upload. Settings come from the environment, as for the API."""


@cli.command()
@click.option("--email", required=True, help="The address to sign in with.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input instead of asking.")
def create_superuser(email: str, password_stdin: bool) -> None:
    """Create an account that may do everything."""
    password = sys.stdin.readline().rstrip("\n") if password_stdin else click.prompt("Password", hide_input=True, confirmation_prompt=True)
    with _services() as services:
        with services.unit_of_work() as session:
            user = services.accounts(session).create_superuser(UserCreate(email=email, password=password))
        click.echo(f"created superuser {user.email} ({user.id})")


@cli.command()
def migrate() -> None:
    """Bring the database's tables to the newest revision."""
    from lambda_app.db import migrations

    with _services() as services:
        migrations.upgrade(services.engine)
        click.echo(f"database is at revision {migrations.current_revision(services.engine)}")


@cli.command()
def openapi() -> None:
    """Print the API's OpenAPI document."""
    from lambda_app.main import create_app

    # The document depends on the code alone: these values are never used.
    settings = Settings(
        environment=Environment.LOCAL,
        database_url=SecretStr("postgresql://unused@localhost/unused"),
        secret_key=SecretStr("unused"),
        s3_bucket_name="unused",
    )
    click.echo(json.dumps(create_app(settings).openapi(), indent=2, sort_keys=True))


if __name__ == "__main__":
    cli()
