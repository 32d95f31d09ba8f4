"""The operator's command line, `we-upload-admin`. In AWS, the admin function runs its commands inside the VPC (handlers/admin)."""

import base64
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TextIO

import click
from pydantic import SecretStr, ValidationError
from sqlalchemy.exc import DBAPIError

from lambda_app.core.audit_leaf import ERASABLE
from lambda_app.core.errors import AppError, UnavailableError
from lambda_app.core.security.log_keys import BadCheckpointError, LogVerifier, open_checkpoint
from lambda_app.core.settings import Environment, MissingSettingsError, Settings
from lambda_app.db.endpoint import DatabaseUrlError
from lambda_app.db.errors import error_field
from lambda_app.factory import Services
from lambda_app.schemas.accounts.users import UserCreate
from lambda_app.services.audit_chain import Anchor
from lambda_app.services.audit_sealing import LogMismatchError
from lambda_app.services.audit_verification import AuditVerification
from lambda_app.services.audit_verification import prove_consistency as prove_tree_consistency


@contextmanager
def _services(*, uses_bucket: bool = False, uses_link_key: bool = False) -> Iterator[Services]:
    """Yield the services for the settings in the environment, and report expected errors as one line instead of a stack trace."""
    try:
        services = Services.build(Settings.for_command(uses_bucket=uses_bucket, uses_link_key=uses_link_key))
        try:
            yield services
        finally:
            services.engine.dispose()
    except (AppError, DatabaseUrlError, MissingSettingsError) as error:
        raise click.ClickException(_cause_of(error)) from error
    except DBAPIError as error:
        raise click.ClickException(_server_message(error)) from error
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in item['loc']) or 'settings'}: {item['msg']}" for item in error.errors(include_input=False)
        ]
        raise click.ClickException("; ".join(lines)) from error


def _cause_of(error: Exception) -> str:
    """Return the message of the database, where the message for API callers is only that it is unavailable."""
    cause = error.__cause__
    if isinstance(error, UnavailableError) and isinstance(cause, DBAPIError):
        return _server_message(cause)
    return str(error)


def _server_message(error: DBAPIError) -> str:
    return error_field(error.orig, "M") or str(error.orig)


def _read_password(from_stdin: bool) -> str:
    given = click.get_current_context().obj
    if isinstance(given, SecretStr):
        return given.get_secret_value()
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return typed


SWEEP_LABELS = {
    "became_available": ("completed uploads", "would complete uploads"),
    "became_rejected": ("rejected uploads", "would reject uploads"),
    "expired": ("expired uploads without bytes", "would expire uploads without bytes"),
    "purged": ("deleted files after their retention", "would delete files after their retention"),
    "removed": ("removed rows of deleted files", "would remove rows of deleted files"),
    "aborted_uploads": ("aborted multipart uploads", "would abort multipart uploads"),
    "deleted_objects": ("deleted objects without a file", "would delete objects without a file"),
    "forgotten_keys": ("deleted idempotency keys", "would delete idempotency keys"),
    "ended_charges": ("ended charges of deleted files", "would end charges of deleted files"),
    "forgotten_tombstones": ("deleted tombstones", "would delete tombstones"),
    "requested_previews": ("requested previews again", "would request previews again"),
    "failed_previews": ("gave up previews", "would give up previews"),
    "deleted_previews": ("deleted previews without a file", "would delete previews without a file"),
    "deleted_accounts": ("deleted closed accounts", "would delete closed accounts"),
    "lost_objects": ("files whose object is missing", "files whose object is missing"),
    "failures": ("failed steps", "failed steps"),
}
"""For each count of SweepReport: the label of a run, and that of a dry run."""
ARCHIVE_SWEEP_LABELS = {
    "woken_archives": ("queued archives again", "would queue archives again"),
    "given_up_archives": ("gave up archives", "would give up archives"),
    "removed_archives": ("removed expired archives", "would remove expired archives"),
    "withdrawn_archives": ("withdrew archives", "would withdraw archives"),
    "stray_archive_parts": ("aborted multipart uploads of archives", "would abort multipart uploads of archives"),
    "stray_archive_objects": ("deleted zips without an archive", "would delete zips without an archive"),
    "archive_failures": ("failed steps of the archive sweep", "failed steps of the archive sweep"),
}


@click.group()
def cli() -> None:
    """Administer We-Upload. Settings come from the same environment variables as those of the API."""


@cli.command()
@click.option("--email", required=True, help="E-mail address of the account.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input instead of prompting.")
def create_superuser(email: str, password_stdin: bool) -> None:
    """Create a superuser account."""
    password = _read_password(password_stdin)
    with _services() as services:
        with services.unit_of_work() as session:
            user = services.users(session).create_superuser(UserCreate(email=email, password=password))
        click.echo(f"created superuser {user.email} ({user.id})")


@cli.command()
def migrate() -> None:
    """Migrate the database to the newest revision, and create the next partition of the audit log when it is due."""
    from lambda_app.db import migrations

    with _services() as services:
        migrations.upgrade(services.engine)
        migrations.extend_audit_log(services.engine)
        click.echo(f"database is at revision {migrations.current_revision(services.engine)}")


@cli.command()
@click.option("--dry-run", is_flag=True, help="Only count what would be cleaned up.")
@click.option("--seconds", type=click.FloatRange(min=1), default=3600.0, show_default=True, help="Time limit.")
def sweep(dry_run: bool, seconds: float) -> None:
    """Clean up abandoned uploads, rows and objects, as left behind by crashes and lost events."""
    with _services(uses_bucket=True) as services, services.unit_of_work() as session:
        archives = services.archive_sweep(session).run(budget_seconds=seconds, is_dry=dry_run)
        report = services.sweep(session).run(budget_seconds=seconds, is_dry=dry_run)
    for lines, labels in ((asdict(report), SWEEP_LABELS), (asdict(archives), ARCHIVE_SWEEP_LABELS)):
        for name, (done, would) in labels.items():
            click.echo(f"{would if dry_run else done:52} {lines[name]}")
    failures = report.failures + archives.archive_failures
    if failures:
        raise click.ClickException(f"{failures} steps failed because S3 or the database did not respond; the next run retries them")
    if not (report.is_finished and archives.archives_are_finished):
        raise click.ClickException("the time limit ended the sweep; run the command again to continue")


@cli.command()
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="Number of previews.")
def request_previews(limit: int) -> None:
    """Request previews of files from before previews were enabled, oldest first. Run it again for the next ones."""
    with _services() as services, services.unit_of_work() as session:
        if not services.settings.previews_enabled:
            raise click.ClickException("there is no preview worker: PREVIEWS_ENABLED is false")
        requested = services.previews(session).request_missing(limit=limit)
    click.echo(f"requested {requested} previews; the next sweep starts the worker")


@cli.command()
@click.option("--seconds", type=click.FloatRange(min=1), default=3600.0, show_default=True, help="Time limit of one archive.")
def build_archives(seconds: float) -> None:
    """Build all queued archives, as the archive worker does."""
    with _services(uses_bucket=True) as services:
        while True:
            with services.unit_of_work() as session:
                waiting = services.archive_sweep(session).list_claimable(limit=1)
            if not waiting:
                return
            with services.unit_of_work() as session:
                built = services.archive_builds(session).build(waiting[0], budget_seconds=seconds)
            click.echo(f"{waiting[0]} {built.value}")


@cli.command()
@click.option("--email", required=True, help="E-mail address of the account.")
@click.option("--password-stdin", is_flag=True, help="Read the new password from standard input instead of prompting.")
def reset_password(email: str, password_stdin: bool) -> None:
    """Set a new password for an account and revoke all its sessions and API keys."""
    password = _read_password(password_stdin)
    with _services() as services:
        # The same validation as in the API.
        validated = UserCreate(email=email, password=password)
        with services.unit_of_work() as session:
            user = services.users(session).reset_password(validated.email, validated.password)
        click.echo(f"set a new password for {user.email} ({user.id}) and revoked all sessions and API keys")


@cli.command()
@click.option("--anchor", "anchors", multiple=True, metavar="SEQ:HASH", help="Head of the chain of an earlier version; repeatable.")
@click.option(
    "--checkpoint", "checkpoints", multiple=True, type=click.File(), help="Checkpoint that was kept outside the database; repeatable."
)
@click.option("--key", "keys", multiple=True, metavar="VKEY", help="Public key of the log, instead of those in the database; repeatable.")
def verify_audit(anchors: tuple[str, ...], checkpoints: tuple[TextIO, ...], keys: tuple[str, ...]) -> None:
    """Verify the complete audit log and list every altered, removed, inserted and moved event."""
    try:
        expected = [Anchor(int(seq), digest) for seq, _, digest in (anchor.partition(":") for anchor in anchors)]
    except ValueError as error:
        raise click.ClickException("an anchor must be a row number and a hash, for example 17:0a1b…") from error
    try:
        verifiers = [LogVerifier.parse(key) for key in keys]
    except BadCheckpointError as error:
        raise click.ClickException(f"--key: {error}") from error
    notes = [file.read() for file in checkpoints]
    with _services() as services, services.unit_of_work() as session:
        verification = AuditVerification(log=services.audit_log(session))
        faults = [f"row {found.seq} of the closed chain {found.reason}" for found in verification.find_chain_breaks(expected)]
        faults += verification.find_faults(keys=verifiers, checkpoints=notes)
    for fault in faults:
        click.echo(fault, err=True)
    if faults:
        raise click.ClickException(f"the audit log is invalid in {len(faults)} places")
    for era in verification.summaries:
        click.echo(f"era {era.era} is valid: {era.sealed} sealed events, {era.unsealed} not sealed yet")
        if era.note is not None:
            click.echo(era.note)


@cli.command()
@click.argument("older", type=click.File())
@click.argument("newer", type=click.File())
def prove_consistency(older: TextIO, newer: TextIO) -> None:
    """Prove that the log of the checkpoint in the file OLDER is the start of that in NEWER, and print the proof (RFC 9162) in base64."""
    with _services() as services, services.unit_of_work() as session:
        log = services.audit_log(session)
        verifiers = [LogVerifier.parse(vkey) for vkey in log.vkeys()]
        try:
            first, second = (open_checkpoint(file.read(), verifiers) for file in (older, newer))
            proof = prove_tree_consistency(log, first, second)
        except (BadCheckpointError, ValueError) as error:
            raise click.ClickException(str(error)) from error
    if proof is None:
        raise click.ClickException("the log cannot prove it: one of the checkpoints is of another log, or the log was altered")
    for line in proof:
        click.echo(base64.b64encode(line).decode())


@cli.command()
def seal_audit() -> None:
    """Seal the audit log, as the scheduled function does each minute."""
    with _services(uses_bucket=True) as services:
        try:
            with services.unit_of_work() as session:
                report = services.sealer(session).run()
        except (LogMismatchError, ValueError) as error:
            raise click.ClickException(str(error)) from error
    click.echo(f"sealed {report.sealed} events; era {report.era} has {report.size}")


@cli.command()
@click.option("--reason", required=True, help="Why, for the audit log: for example, which backup was restored.")
def new_era(reason: str) -> None:
    """Start a new tree of the audit log after a restore. Needs the owner of the tables in DATABASE_URL."""
    with _services(uses_bucket=True) as services, services.unit_of_work() as session:
        era = services.audit_eras(session).start(reason=reason)
    click.echo(f"started era {era}")


@cli.command()
@click.option("--event", "seq", type=int, required=True, help="The `seq` of the event.")
@click.option("--field", "fields", multiple=True, required=True, type=click.Choice(ERASABLE), help="Field to erase; repeatable.")
def erase_audit(seq: int, fields: tuple[str, ...]) -> None:
    """Erase personal data from an event. Its hash stays, and the erasure is an event. Needs the owner of the tables in DATABASE_URL."""
    with _services() as services, services.unit_of_work() as session:
        log = services.audit_log(session)
        event = log.get_event(seq)
        if event is None:
            raise click.ClickException(f"there is no event {seq} in the log")
        names = [name for name in fields if name not in event.erased]
        if names:
            log.erase(event, names)
    click.echo(f"erased {len(names)} fields of event {seq}")


@cli.command()
@click.option("--fix", is_flag=True, help="Correct the counters instead of only comparing them.")
def recount_usage(fix: bool) -> None:
    """Compare the byte and file counters of each account with its files. Safe while the API is running."""
    wrong = skipped = 0
    with _services() as services, services.unit_of_work() as session:
        for user, is_corrected in services.usage(session).recount(is_dry=not fix):
            wrong, skipped = wrong + 1, skipped + (not is_corrected)
            click.echo(
                f"user {user.user_id}: counted {user.bytes_used} bytes in {user.files_count} files, "
                f"has {user.charged_bytes} in {user.charged_files}{', corrected' if is_corrected else ''}"
            )
    click.echo(f"{wrong} accounts differ, {wrong - skipped} corrected")
    if fix and skipped:
        raise click.ClickException(f"{skipped} accounts were in use and were not corrected; run the command again")


@cli.command()
def reencrypt_links() -> None:
    """Encrypt the addresses of all links with the current LINK_KEY. Then the previous key can be removed. Safe while the API is running."""
    with _services(uses_link_key=True) as services, services.unit_of_work() as session:
        result = services.link_token_encryption(session).reencrypt()
    click.echo(f"{result.changed} addresses encrypted again, {result.current} up to date, {result.unreadable} unreadable")


@cli.command()
def purge() -> None:
    """Delete expired data: sessions that ended a month ago, expired mail tokens, old counters of failed sign-ins and of mail.

    Also counts the uploads of the hours that have ended, for the statistics.
    """
    with _services() as services:
        try:
            with services.unit_of_work() as session:
                services.maintenance(session).count_uploads()
        finally:
            with services.unit_of_work() as session:
                removed = services.maintenance(session).purge()
        click.echo(", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in removed.items()))


@cli.command()
def openapi() -> None:
    """Print the API's OpenAPI document."""
    from lambda_app.application import create_app

    # The document depends only on the code; these values are not used.
    settings = Settings(
        environment=Environment.LOCAL,
        database_url=SecretStr("postgresql://unused@localhost/unused"),
        secret_key=SecretStr("unused"),
        s3_bucket_name="unused",
    )
    click.echo(json.dumps(create_app(settings).openapi(), indent=2, sort_keys=True))


if __name__ == "__main__":
    cli()
