"""The operator's command line; it runs beside the database, never in Lambda."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import takewhile

import click
from pydantic import SecretStr, ValidationError
from sqlalchemy.exc import DBAPIError

from lambda_app.core.errors import AppError
from lambda_app.core.settings import Environment, Settings
from lambda_app.db.endpoint import DatabaseUrlError
from lambda_app.db.errors import error_field
from lambda_app.factory import Services
from lambda_app.schemas.accounts.users import UserCreate
from lambda_app.services.audit_chain import Anchor, find_breaks


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


def _read_password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return typed


@click.group()
def cli() -> None:
    """Operate We-Upload. Settings come from the environment, as for the API."""


@cli.command()
@click.option("--email", required=True, help="The address to sign in with.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input instead of asking.")
def create_superuser(email: str, password_stdin: bool) -> None:
    """Create an account that may do everything."""
    password = _read_password(password_stdin)
    with _services() as services:
        with services.unit_of_work() as session:
            user = services.users(session).create_superuser(UserCreate(email=email, password=password))
        click.echo(f"created superuser {user.email} ({user.id})")


@cli.command()
def migrate() -> None:
    """Bring the database's tables to the newest revision."""
    from lambda_app.db import migrations

    with _services() as services:
        migrations.upgrade(services.engine)
        click.echo(f"database is at revision {migrations.current_revision(services.engine)}")


@cli.command()
@click.option("--dry-run", is_flag=True, help="Only count what would be done.")
@click.option("--seconds", type=click.FloatRange(min=1), default=3600.0, show_default=True, help="How long it may take.")
def sweep(dry_run: bool, seconds: float) -> None:
    """End what crashes, lost events and callers who went away have left: uploads, rows, objects."""
    with _services() as services, services.unit_of_work() as session:
        archives = services.archive_sweep(session).run(budget_seconds=seconds, is_dry=dry_run)
        report = services.sweep(session).run(budget_seconds=seconds, is_dry=dry_run)
    for name, value in (asdict(report) | asdict(archives)).items():
        click.echo(f"{name.replace('_', ' '):24} {value}")


@cli.command()
@click.option("--seconds", type=click.FloatRange(min=1), default=3600.0, show_default=True, help="How long one of them may take.")
def build_archives(seconds: float) -> None:
    """Build the archives that wait, as the worker does when it is told of one."""
    with _services() as services:
        while True:
            with services.unit_of_work() as session:
                waiting = services.archive_sweep(session).list_waiting(limit=1)
            if not waiting:
                return
            with services.unit_of_work() as session:
                built = services.archive_builds(session).build(waiting[0], budget_seconds=seconds)
            click.echo(f"{waiting[0]} {built.value}")


@cli.command()
@click.option("--email", required=True, help="The account's address.")
@click.option("--password-stdin", is_flag=True, help="Read the new password from standard input instead of asking.")
def reset_password(email: str, password_stdin: bool) -> None:
    """Set a new password for an account, and end everything that is signed in to it."""
    password = _read_password(password_stdin)
    with _services() as services:
        # The same rules as over HTTP.
        checked = UserCreate(email=email, password=password)
        with services.unit_of_work() as session:
            user = services.users(session).reset_password(checked.email, checked.password)
        click.echo(f"new password for {user.email} ({user.id}); every session and API key has ended")


@cli.command()
@click.option("--anchor", "anchors", multiple=True, metavar="SEQ:HASH", help="An end of the chain seen earlier, as this command prints it.")
def verify_audit(anchors: tuple[str, ...]) -> None:
    """Verify the audit log from its first row to its last; name every row where it does not hold."""
    try:
        wanted = [Anchor(int(seq), digest) for seq, _, digest in (anchor.partition(":") for anchor in anchors)]
    except ValueError as error:
        raise click.ClickException("an anchor is a row's number and its hash, as 17:0a1b…") from error
    with _services() as services, services.unit_of_work() as session:
        audit = services.audit(session)
        stored = audit.head()
        head = Anchor(stored.seq, stored.hash)
        # Rows that are added while we read are not looked at: they are behind the head that we saw.
        events = takewhile(lambda event: event.seq <= head.seq, audit.read_chain())
        breaks = list(find_breaks(events, head=head, anchors=wanted))
    for found in breaks:
        click.echo(f"row {found.seq} {found.reason}", err=True)
    if breaks:
        raise click.ClickException(f"the audit log does not hold in {len(breaks)} places")
    click.echo(f"{head.seq} events, the chain holds; it ends at {head.seq}:{head.hash}")


@cli.command()
@click.option("--fix", is_flag=True, help="Put the counters right; without it they are only compared.")
def recount_usage(fix: bool) -> None:
    """Compare each account's counters of bytes and files with its files. Safe while requests are served."""
    wrong = left = 0
    with _services() as services, services.unit_of_work() as session:
        for user, is_corrected in services.usage(session).recount(is_dry=not fix):
            wrong, left = wrong + 1, left + (not is_corrected)
            click.echo(
                f"user {user.user_id}: counted {user.bytes_used} bytes in {user.files_count} files, "
                f"has {user.charged_bytes} in {user.charged_files}{', corrected' if is_corrected else ''}"
            )
    click.echo(f"{wrong} accounts differ, {wrong - left} corrected")
    if fix and left:
        raise click.ClickException(f"{left} accounts were busy and stay as they were; run it again")


@cli.command()
def purge() -> None:
    """Remove what is over: sessions ended a month ago, expired mail tokens, old counters of failed sign-ins and of mail."""
    with _services() as services:
        with services.unit_of_work() as session:
            removed = services.maintenance(session).purge()
        click.echo(", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in removed.items()))


@cli.command()
def openapi() -> None:
    """Print the API's OpenAPI document."""
    from lambda_app.application import create_app

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
