"""The entry point that brings the database to the newest schema, called by CloudFormation in the middle of a deployment.

As a custom resource's backend it must answer whatever happens: CloudFormation waits for the answer, and takes an exception for silence.
"""

import json
import logging
import urllib.request
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from lambda_app.core.logs import configure_logs
from lambda_app.core.settings import Settings
from lambda_app.db import migrations, roles
from lambda_app.db.errors import error_field
from lambda_app.factory import Services

ANSWER_TIMEOUT_SECONDS = 10.0
"""Longest wait for S3 to take our answer."""

SIGN_IN_REFUSED = "28"
"""The class of SQLSTATEs for a wrong password, or a token where a password is wanted."""

PHYSICAL_ID = "database-schema"
"""Never another one: CloudFormation would take it for a replacement and delete the old schema's resource."""

logger = logging.getLogger(__name__)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Migrate, and tell CloudFormation when it was the caller; called by hand it answers with the revisions, or raises."""
    if "ResponseURL" not in event:
        return migrate()
    try:
        # Deleting the stack leaves the tables: the data stack decides what becomes of them.
        outcome = {} if event["RequestType"] == "Delete" else migrate()
        answer = {"Status": "SUCCESS", "Data": outcome}
    except Exception as error:  # An unanswered CloudFormation waits until its own timeout.
        logger.exception("the migration failed")
        answer = {"Status": "FAILED", "Reason": f"{type(error).__name__}; its message is in {context.log_group_name}"}
    _answer(event, answer)
    return answer


def migrate() -> dict[str, Any]:
    """Upgrade to the newest revision and grant the application its rights; return the revisions before and after.

    A database that is ahead of this code is left alone: that is a deployment being rolled back, and an older version
    must run on the newer schema anyhow.
    """
    settings = Settings.from_environment()
    configure_logs(settings.log_level)
    engine, before = _sign_in(settings)
    try:
        if before is not None and not migrations.is_known(before):
            logger.warning("the database is ahead of this version", extra={"fields": {"revision": before}})
            return {"before": before, "after": before}
        migrations.upgrade(engine)
        if settings.database_app_role:
            roles.grant_application(engine, settings.database_app_role)
        after = migrations.current_revision(engine)
    finally:
        engine.dispose()
    logger.info("the schema is up to date", extra={"fields": {"before": before, "after": after}})
    return {"before": before, "after": after}


def _sign_in(settings: Settings) -> tuple[Engine, str | None]:
    """Return an engine that the database lets in, and the revision that it is at.

    The owner of the tables begins with a password. Once it has made the application's role, it counts as a member of `rds_iam` through
    it, which nobody can revoke (PostgreSQL 16 gives whoever makes a role the administration of it), and RDS wants a token from then on.
    """
    if not settings.database_secret_arn:
        engine = Services.build(settings).engine
        return engine, migrations.current_revision(engine)
    engine = Services.build(settings.model_copy(update={"database_secret_arn": None, "database_iam_auth": True})).engine
    try:
        return engine, migrations.current_revision(engine)
    except DBAPIError as error:
        if not str(error_field(error.orig, "C")).startswith(SIGN_IN_REFUSED):
            raise
    logger.info("the database wants the password and no token: it is a new one")
    engine = Services.build(settings.model_copy(update={"database_iam_auth": False})).engine
    return engine, migrations.current_revision(engine)


def _answer(event: dict[str, Any], answer: dict[str, Any]) -> None:
    body = {key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")} | {"PhysicalResourceId": PHYSICAL_ID} | answer
    # The URL is presigned for an empty content type.
    request = urllib.request.Request(  # noqa: S310 - CloudFormation's own address
        event["ResponseURL"], data=json.dumps(body).encode(), method="PUT", headers={"Content-Type": ""}
    )
    with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_SECONDS) as response:  # noqa: S310 - CloudFormation's own address
        logger.info("told CloudFormation", extra={"fields": {"status": answer["Status"], "http_status": response.status}})
