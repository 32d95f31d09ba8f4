"""The Lambda entry point that migrates the database, invoked by CloudFormation during a deployment.

As the backend of a custom resource it must always send a response: after an unhandled exception CloudFormation would wait until its
own timeout.
"""

import json
import logging
import urllib.request
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from lambda_app.core.aws import AwsAccess, object_of_arn
from lambda_app.core.logs import configure_logs
from lambda_app.core.settings import Settings
from lambda_app.db import migrations, roles
from lambda_app.db.errors import error_field
from lambda_app.db.session import create_session_factory, session_scope
from lambda_app.factory import Services
from lambda_app.repositories.audit_log import AuditLogRepository
from lambda_app.services.audit_sealing import AuditEras
from lambda_app.storage.checkpoint_copies import CheckpointCopies
from lambda_app.storage.stored_keys import StoredKeys

RESPONSE_TIMEOUT_SECONDS = 10.0
"""Longest wait for S3 to accept the response to CloudFormation."""

INVALID_AUTHORIZATION = "28"
"""SQLSTATE class of a rejected sign-in: a wrong password, or a token where RDS expects a password."""

PHYSICAL_ID = "database-schema"
"""Must never change: CloudFormation would treat a new id as a replacement and send a Delete request for the old one."""

logger = logging.getLogger(__name__)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Migrate and respond to CloudFormation. When invoked manually, return the revisions or raise the error.

    A manual event `{"new_era": "REASON"}` also starts a new era of the audit log, which a restored database needs. Only this function signs
    in as the owner of the tables.
    """
    if "ResponseURL" not in event:
        return migrate(new_era=event.get("new_era"))
    try:
        # Deleting the stack leaves the tables: the data stack owns the database.
        revisions = {} if event["RequestType"] == "Delete" else migrate()
        response = {"Status": "SUCCESS", "Data": revisions}
    except Exception as error:  # Without a response CloudFormation waits until its own timeout.
        logger.exception("the migration failed")
        response = {"Status": "FAILED", "Reason": f"{type(error).__name__}: see the log group {context.log_group_name} for details"}
    _send_response(event, response)
    return response


def migrate(*, new_era: str | None = None) -> dict[str, Any]:
    """Upgrade to the newest revision, grant the application's privileges, and return the revisions before and after.

    `new_era` is the reason for a new era of the audit log; the result then has its number as `era`.

    A database with a newer revision than this code is not changed. This happens when a deployment is rolled back, and each version of
    the code supports the schema of the next version.
    """
    settings = Settings.from_environment()
    configure_logs(settings.log_level)
    _create_missing_keys(settings)
    engine, before = _sign_in(settings)
    try:
        if before is not None and not migrations.is_known(before):
            logger.warning("the database has a newer revision than this version", extra={"fields": {"revision": before}})
            return {"before": before, "after": before}
        migrations.upgrade(engine)
        migrations.extend_audit_log(engine)
        if settings.database_app_role:
            roles.grant_application(engine, settings.database_app_role)
        after = migrations.current_revision(engine)
        era = {} if new_era is None else {"era": _start_era(settings, engine, new_era)}
    finally:
        engine.dispose()
    logger.info("the schema is up to date", extra={"fields": {"before": before, "after": after}})
    return {"before": before, "after": after, **era}


def _create_missing_keys(settings: Settings) -> None:
    """Create the keys of a stage that has them in S3. Secrets Manager generates the others."""
    keys = StoredKeys(AwsAccess(settings))
    for arn in (settings.secret_key_arn, settings.link_key_arn, settings.log_key_arn, settings.identity_key_arn):
        if arn is not None and object_of_arn(arn) is not None and keys.create_missing(arn):
            logger.info("created a key", extra={"fields": {"arn": arn}})


def _start_era(settings: Settings, engine: Engine, reason: str) -> int:
    with session_scope(create_session_factory(engine)) as session:
        return AuditEras(log=AuditLogRepository(session), copies=CheckpointCopies(settings, AwsAccess(settings))).start(reason=reason)


def _sign_in(settings: Settings) -> tuple[Engine, str | None]:
    """Return an engine that can sign in, and the current revision.

    The owner of the tables signs in with a password at first. By creating the application's role it becomes a member of `rds_iam`
    through that role, because PostgreSQL 16 gives the creator of a role an irrevocable ADMIN membership. From then on RDS requires an
    IAM token. So this tries a token first, then the password.
    """
    if not settings.database_secret_arn:
        engine = Services.build(settings).engine
        return engine, migrations.current_revision(engine)
    engine = Services.build(settings.model_copy(update={"database_secret_arn": None, "database_iam_auth": True})).engine
    try:
        return engine, migrations.current_revision(engine)
    except DBAPIError as error:
        if not str(error_field(error.orig, "C")).startswith(INVALID_AUTHORIZATION):
            raise
    logger.info("the database rejects IAM tokens because it is new; signing in with the password")
    engine = Services.build(settings.model_copy(update={"database_iam_auth": False})).engine
    return engine, migrations.current_revision(engine)


def _send_response(event: dict[str, Any], response: dict[str, Any]) -> None:
    body = {key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")} | {"PhysicalResourceId": PHYSICAL_ID} | response
    # The URL is presigned for an empty content type.
    request = urllib.request.Request(  # noqa: S310 - CloudFormation's URL
        event["ResponseURL"], data=json.dumps(body).encode(), method="PUT", headers={"Content-Type": ""}
    )
    with urllib.request.urlopen(request, timeout=RESPONSE_TIMEOUT_SECONDS) as result:  # noqa: S310 - CloudFormation's URL
        logger.info("sent the response to CloudFormation", extra={"fields": {"status": response["Status"], "http_status": result.status}})
