"""The database role of the application, which may only read and write rows."""

from sqlalchemy import Connection, Engine, text

STATEMENT_TIMEOUT = "4s"
IDLE_IN_TRANSACTION_TIMEOUT = "10s"
"""Timeouts are set on the role. A SET on a connection would pin it to one client of RDS Proxy."""

AUDIT_TABLES = ("audit_event", "audit_chain_event", "audit_head", "audit_era", "audit_checkpoint", "audit_log_key")
"""Append-only for all roles. The application's role has no other privilege, and triggers stop the owner of the tables."""
AUDIT_TILES = "audit_tile"
"""Tiles grow: the application's role may update them, and a trigger keeps what they have."""
OPERATOR_TABLES = ("audit_chain_event", "audit_head", "audit_era")
"""Only the owner writes these."""
PARTITIONS = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass('public.audit_event')"

IAM_ROLE = "rds_iam"
"""Members authenticate to RDS with IAM tokens instead of passwords. The role exists only in RDS."""


def grant_application(engine: Engine, role: str) -> None:
    """Create `role` if it does not exist and grant its privileges on all existing tables, in one transaction.

    Runs after each migration as the owner of the tables. PUBLIC needs no REVOKE: it has no CREATE privilege since PostgreSQL 15.
    """
    quoted = engine.dialect.identifier_preparer.quote_identifier(role)
    with engine.begin() as connection:
        if not _has_role(connection, role):
            connection.execute(text(f"CREATE ROLE {quoted} LOGIN"))
        if _has_role(connection, IAM_ROLE):
            connection.execute(text(f"GRANT {IAM_ROLE} TO {quoted}"))
        connection.execute(text(f"ALTER ROLE {quoted} SET statement_timeout = '{STATEMENT_TIMEOUT}'"))
        connection.execute(text(f"ALTER ROLE {quoted} SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_TIMEOUT}'"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA public TO {quoted}"))
        connection.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {quoted}"))
        connection.execute(text(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {quoted}"))
        connection.execute(text(f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {quoted}"))
        for tables, privileges in (
            (AUDIT_TABLES, "UPDATE, DELETE"),
            (OPERATOR_TABLES, "INSERT"),
            ([AUDIT_TILES], "DELETE"),
        ):
            for table in tables:
                if _has_table(connection, table):
                    connection.execute(text(f"REVOKE {privileges} ON {table} FROM {quoted}"))
        # Events are written and read through `audit_event` only.
        for partition in connection.execute(text(PARTITIONS)).scalars().all():
            connection.execute(text(f"REVOKE ALL ON {partition} FROM {quoted}"))
        if connection.execute(text("SELECT to_regprocedure('public.audit_event_extend()')")).scalar_one() is not None:
            # A dump that is restored without privileges admits PUBLIC.
            for arguments in ("", "bigint, bigint"):
                connection.execute(text(f"REVOKE ALL ON FUNCTION audit_event_extend({arguments}) FROM PUBLIC, {quoted}"))
            connection.execute(text(f"GRANT EXECUTE ON FUNCTION audit_event_extend() TO {quoted}"))


def _has_table(connection: Connection, name: str) -> bool:
    return connection.execute(text("SELECT to_regclass(:name)"), {"name": f"public.{name}"}).scalar_one() is not None


def _has_role(connection: Connection, role: str) -> bool:
    return connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}).first() is not None
