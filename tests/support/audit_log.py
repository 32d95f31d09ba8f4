"""An audit log in a database of its own, with the only copies in the bucket."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, text

from infra.local.object_store import ObjectStoreServer
from lambda_app.application import create_app
from lambda_app.core.security.log_keys import LogVerifier
from lambda_app.core.settings import Settings
from lambda_app.factory import Services
from lambda_app.handlers.seal import run_dispatch
from lambda_app.repositories.audit import AuditRepository
from lambda_app.routers.http.gateway import GatewayHandler
from lambda_app.services.audit_sealing import SealReport
from lambda_app.services.audit_verification import AuditVerification
from lambda_app.storage.checkpoint_copies import COPY_PREFIX
from tests.support.gateway import GatewayTransport

FIRST_PARTITION = "audit_event_from_0"
TABLES = ("audit_event", "audit_tile", "audit_checkpoint", "audit_log_key", "audit_chain_event", "audit_head")


@contextmanager
def own_log(settings: Settings, database_url: str, s3_server: ObjectStoreServer, **changes: object) -> Iterator["OwnLog"]:
    """Yield a log in its own database, with changed settings and with the credentials of the emulator."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key_id)
        environment.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_access_key)
        log = OwnLog(settings.model_copy(update=changes), database_url)
        yield log
        log.close()


def end_first_partition(connection: Connection, end: int) -> None:
    """Let the first partition of a log with few events end at the number `end`, and the open one start there."""
    opened = """
        SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'audit_event'::regclass AND relname <> :first"""
    for statement in (
        f"ALTER TABLE audit_event DETACH PARTITION {FIRST_PARTITION}",
        f"DROP TABLE {connection.execute(text(opened), {'first': FIRST_PARTITION}).scalar_one()}",
        f"ALTER TABLE audit_event ATTACH PARTITION {FIRST_PARTITION} FOR VALUES FROM (MINVALUE) TO ({end})",
        f"CREATE TABLE audit_event_from_{end} PARTITION OF audit_event FOR VALUES FROM ({end}) TO (MAXVALUE)",
        f"CREATE TRIGGER audit_event_keep BEFORE TRUNCATE ON audit_event_from_{end} EXECUTE FUNCTION audit_refuse_change()",
    ):
        connection.execute(text(statement))


class OwnLog:
    """The services of a migrated database."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        changed = {"database_url": SecretStr(database_url), "database_pool_size": 4}
        self.services = Services.build(settings.model_copy(update=changed))
        self.delete_copies()

    def close(self) -> None:
        """Close all connections and delete the copies."""
        self.services.engine.dispose()
        self.delete_copies()

    def delete_copies(self) -> None:
        """Delete the copies of all checkpoints: tests share the bucket."""
        bucket = self.services.settings.s3_bucket_name
        listed = self.services.aws.call("s3", "list_objects_v2", Bucket=bucket, Prefix=COPY_PREFIX)
        for item in listed.get("Contents", ()):
            self.services.aws.call("s3", "delete_object", Bucket=bucket, Key=item["Key"])

    def add(self, count: int, *, prefix: str = "test") -> None:
        """Add events, each in a transaction of its own."""
        for number in range(count):
            with self.services.unit_of_work() as session:
                AuditRepository(session).add(f"{prefix}.{number}", subject=f"file:{number}", details={"n": number, "text": 'é "\\ 🔑'})

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """Yield a client of the API with this log."""
        handler = GatewayHandler(create_app(self.services.settings, self.services))
        with httpx.Client(transport=GatewayTransport(handler), base_url="https://api.test") as client:
            yield client

    def publish(self) -> dict[str, Any]:
        """Run the sealer and the dispatcher."""
        self.seal()
        return run_dispatch(self.services, budget_seconds=30)

    def seal(self) -> SealReport:
        """Run the sealer."""
        with self.services.unit_of_work() as session:
            return self.services.sealer(session).run()

    def run(self, *statements: str) -> None:
        """Execute statements in one transaction."""
        with self.services.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def disable_triggers(self) -> None:
        """Prepare the database for changes, as an attacker who owns the tables could."""
        self._switch_triggers("DISABLE")

    def enable_triggers(self) -> None:
        """Undo `disable_triggers`."""
        self._switch_triggers("ENABLE")

    def _switch_triggers(self, action: str) -> None:
        self.run(*(f"ALTER TABLE {table} {action} TRIGGER ALL" for table in TABLES))

    def value(self, query: str) -> object:
        """Return the single value of a query."""
        with self.services.engine.connect() as connection:
            return connection.execute(text(query)).scalar_one()

    def faults(self, *, checkpoints: Sequence[str] = (), keys: Sequence[LogVerifier] = ()) -> list[str]:
        """Verify the log and the closed chain."""
        with self.services.unit_of_work() as session:
            verification = AuditVerification(log=self.services.audit_log(session))
            chain = [f"row {found.seq} {found.reason}" for found in verification.find_chain_breaks([])]
            return chain + list(verification.find_faults(checkpoints=checkpoints, keys=keys))

    def note(self) -> str:
        """Return the newest checkpoint."""
        return str(self.value("SELECT note FROM audit_checkpoint ORDER BY era DESC, size DESC LIMIT 1"))

    def with_key(self, secret: str) -> "OwnLog":
        """Return the same log with another private key."""
        changed = object.__new__(OwnLog)
        settings = self.services.settings.model_copy(update={"log_signing_key": SecretStr(secret)})
        changed.services = replace(self.services, settings=settings)
        return changed
