"""The audit log as a Merkle tree: events without a shared lock, checkpoints, tiles. The hash chain is closed and kept.

Rows of `audit_event` move to `audit_chain_event`. The version before this one goes on inserting into `audit_event`, while it is replaced
and after a rollback; only its list of events fails meanwhile.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)

REFUSE = """
CREATE OR REPLACE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$
"""

# The definition of the leaf. `lambda_app/core/audit_leaf.py` has the same in Python; a test compares both.
FIELD_HASH = """
CREATE FUNCTION audit_field_hash(salt bytea, name text, value text) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sha256(salt || convert_to(name || coalesce('=' || value, ''), 'UTF8'))
"""

# 16 bytes of salt for each of the nine fields, derived from 244 random bits that are not stored. An opened salt reveals no other one.
FILL = """
CREATE FUNCTION audit_event_fill() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    seed bytea := uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
BEGIN
    SELECT max(era) INTO STRICT NEW.era FROM audit_era;
    NEW.xid := pg_current_xact_id()::text::bigint;
    NEW.seq := nextval('audit_event_seq');
    NEW.erased := NULL;
    NEW.salts := substr(sha256(seed || '\\x01') || sha256(seed || '\\x02') || sha256(seed || '\\x03') || sha256(seed || '\\x04')
        || sha256(seed || '\\x05'), 1, 144);
    NEW.leaf := sha256('\\x00'::bytea
        || audit_field_hash(substr(NEW.salts, 1, 16), 'seq', NEW.seq::text)
        || audit_field_hash(substr(NEW.salts, 17, 16), 'at', to_char(NEW.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
        || audit_field_hash(substr(NEW.salts, 33, 16), 'action', NEW.action)
        || audit_field_hash(substr(NEW.salts, 49, 16), 'actor_id', NEW.actor_id::text)
        || audit_field_hash(substr(NEW.salts, 65, 16), 'credential', NEW.credential)
        || audit_field_hash(substr(NEW.salts, 81, 16), 'subject', NEW.subject)
        || audit_field_hash(substr(NEW.salts, 97, 16), 'details', NEW.details)
        || audit_field_hash(substr(NEW.salts, 113, 16), 'source_address', NEW.source_address)
        || audit_field_hash(substr(NEW.salts, 129, 16), 'request_id', NEW.request_id));
    -- The client adds the leaf to the log line of its request: WireConnection recognises the code.
    RAISE NOTICE USING MESSAGE = encode(NEW.leaf, 'hex'), ERRCODE = 'WU001';
    RETURN NEW;
END $$
"""

# Two changes are possible, both in the transaction that documents them. The erasure of fields: value and salt go, the hash of the field
# stays in `erased`. And the move of events that were never sealed into an era that the same transaction starts.
GUARD = """
CREATE FUNCTION audit_event_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    own bigint := pg_current_xact_id()::text::bigint;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.leaf = OLD.leaf AND NEW.seq = OLD.seq AND NEW.at = OLD.at AND NEW.action = OLD.action THEN
        IF NEW.era = OLD.era AND NEW.xid = OLD.xid AND OLD.action NOT LIKE 'audit.%'
            AND (NEW.actor_id IS NULL OR NEW.actor_id IS NOT DISTINCT FROM OLD.actor_id)
            AND (NEW.credential IS NULL OR NEW.credential IS NOT DISTINCT FROM OLD.credential)
            AND (NEW.subject IS NULL OR NEW.subject IS NOT DISTINCT FROM OLD.subject)
            AND (NEW.details IS NULL OR NEW.details IS NOT DISTINCT FROM OLD.details)
            AND (NEW.source_address IS NULL OR NEW.source_address IS NOT DISTINCT FROM OLD.source_address)
            AND (NEW.request_id IS NULL OR NEW.request_id IS NOT DISTINCT FROM OLD.request_id)
            AND EXISTS (
                SELECT FROM audit_event WHERE xid = own AND action = 'audit.erased' AND subject = 'audit_event:' || OLD.seq
            )
        THEN
            RETURN NEW;
        END IF;
        IF NEW.era > OLD.era AND NEW.xid = own AND EXISTS (SELECT FROM audit_era WHERE era = NEW.era AND xid = own)
            AND (to_jsonb(NEW) - '{era,xid}'::text[]) = (to_jsonb(OLD) - '{era,xid}'::text[])
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'The audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$
"""

# A tile grows at its end until it is full. Its first bytes never change.
TILE_GUARD = """
CREATE FUNCTION audit_tile_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.era, NEW.level, NEW.number) = (OLD.era, OLD.level, OLD.number)
        AND substr(NEW.hashes, 1, length(OLD.hashes)) = OLD.hashes
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'The audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$
"""

CLOSE_CHAIN = """
INSERT INTO audit_event (at, action, details)
SELECT now(), 'audit.chain_closed', json_build_object('seq', seq, 'hash', hash)::text FROM audit_head WHERE id = 1
"""

# PostgreSQL 18 names the NOT NULL constraints after the table, and keeps the names when it is renamed.
RENAME_NOT_NULL = """
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT conname FROM pg_constraint WHERE conrelid = '{table}'::regclass AND contype = 'n' LOOP
        EXECUTE format('ALTER TABLE {table} RENAME CONSTRAINT %I TO %I', name, '{new}' || substr(name, length('{old}') + 1));
    END LOOP;
END $$
"""

APPEND_ONLY = ("audit_era", "audit_checkpoint", "audit_log_key")


def upgrade() -> None:
    """Rename the tables of the chain, create those of the log, and record the end of the chain as the first event."""
    _close_chain_tables()
    op.create_table(
        "audit_era",
        sa.Column("era", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("xid", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("era", name="pk_audit_era"),
    )
    op.execute("INSERT INTO audit_era VALUES (1, now(), pg_current_xact_id()::text::bigint)")
    op.create_table(
        "audit_event",
        sa.Column("era", sa.Integer(), nullable=False),
        sa.Column("xid", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("credential", sa.String(64), nullable=True),
        sa.Column("subject", sa.String(100), nullable=True),
        sa.Column("details", sa.Text(), server_default=sa.text("'{}'"), nullable=True),
        sa.Column("source_address", sa.String(45), nullable=True),
        sa.Column("request_id", sa.String(128), nullable=True),
        sa.Column("salts", sa.LargeBinary(), nullable=False),
        sa.Column("erased", sa.Text(), nullable=True),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("era", "xid", "seq", name="pk_audit_event"),
    )
    op.create_index("ix_audit_event_seq", "audit_event", ["seq"], unique=True)
    for column in ("actor_id", "subject", "action", "at"):
        op.create_index(f"ix_audit_event_{column}_seq", "audit_event", [column, "seq"])
    op.execute("CREATE SEQUENCE audit_event_seq OWNED BY audit_event.seq")
    # Later than all rows of the chain, so that lists of both are in order.
    op.execute("SELECT setval('audit_event_seq', (SELECT seq + 1 FROM audit_head WHERE id = 1), false)")
    op.create_table(
        "audit_checkpoint",
        sa.Column("era", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("cutoff", sa.BigInteger(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", TIME, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("era", "size", name="pk_audit_checkpoint"),
        sa.UniqueConstraint("era", "cutoff", name="uq_audit_checkpoint_era_cutoff"),
    )
    op.create_table(
        "audit_tile",
        sa.Column("era", sa.Integer(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("era", "level", "number", name="pk_audit_tile"),
    )
    op.create_table(
        "audit_log_key",
        sa.Column("vkey", sa.String(400), nullable=False),
        sa.Column("era", sa.Integer(), nullable=False),
        sa.Column("used_from", TIME, nullable=False),
        sa.PrimaryKeyConstraint("vkey", name="pk_audit_log_key"),
    )
    _create_triggers()
    op.execute(CLOSE_CHAIN)


def downgrade() -> None:
    """Drop the log, and open the chain again. Events of the log are lost."""
    for table in ("audit_event", "audit_era", "audit_checkpoint", "audit_tile", "audit_log_key"):
        op.drop_table(table)
    for function in ("audit_event_fill", "audit_event_guard", "audit_tile_guard"):
        op.execute(f"DROP FUNCTION {function}()")
    op.execute("DROP FUNCTION audit_field_hash(bytea, text, text)")
    op.execute("DROP TRIGGER audit_chain_event_refuse ON audit_chain_event")
    op.rename_table("audit_chain_event", "audit_event")
    op.execute("ALTER INDEX pk_audit_chain_event RENAME TO pk_audit_event")
    for column in ("actor_id", "subject", "action", "at"):
        op.execute(f"ALTER INDEX ix_audit_chain_event_{column}_seq RENAME TO ix_audit_event_{column}_seq")
    op.execute("ALTER TRIGGER audit_chain_event_keep ON audit_event RENAME TO audit_event_keep")
    op.execute(RENAME_NOT_NULL.format(table="audit_event", old="audit_chain_event", new="audit_event"))
    for statement in (
        OLD_CHAIN,
        OLD_REFUSE,
        "CREATE TRIGGER audit_event_chain BEFORE INSERT ON audit_event FOR EACH ROW EXECUTE FUNCTION audit_event_chain()",
        "CREATE TRIGGER audit_event_refuse BEFORE UPDATE OR DELETE ON audit_event FOR EACH ROW EXECUTE FUNCTION audit_refuse_change()",
    ):
        op.execute(statement)


def _close_chain_tables() -> None:
    op.execute("DROP TRIGGER audit_event_chain ON audit_event")
    op.execute("DROP TRIGGER audit_event_refuse ON audit_event")
    op.execute("DROP FUNCTION audit_event_chain()")
    op.rename_table("audit_event", "audit_chain_event")
    op.execute("ALTER INDEX pk_audit_event RENAME TO pk_audit_chain_event")
    for column in ("actor_id", "subject", "action", "at"):
        op.execute(f"ALTER INDEX ix_audit_event_{column}_seq RENAME TO ix_audit_chain_event_{column}_seq")
    op.execute("ALTER TRIGGER audit_event_keep ON audit_chain_event RENAME TO audit_chain_event_keep")
    op.execute(RENAME_NOT_NULL.format(table="audit_chain_event", old="audit_event", new="audit_chain_event"))
    op.execute(REFUSE)
    op.execute(
        "CREATE TRIGGER audit_chain_event_refuse BEFORE INSERT OR UPDATE OR DELETE ON audit_chain_event "
        "FOR EACH ROW EXECUTE FUNCTION audit_refuse_change()"
    )


def _create_triggers() -> None:
    for statement in (FIELD_HASH, FILL, GUARD, TILE_GUARD):
        op.execute(statement)
    op.execute("CREATE TRIGGER audit_event_fill BEFORE INSERT ON audit_event FOR EACH ROW EXECUTE FUNCTION audit_event_fill()")
    for table, function in (("audit_event", "audit_event_guard"), ("audit_tile", "audit_tile_guard")):
        op.execute(f"CREATE TRIGGER {table}_guard BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {function}()")
        op.execute(f"CREATE TRIGGER {table}_keep BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()")
    for table in APPEND_ONLY:
        op.execute(f"CREATE TRIGGER {table}_guard BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION audit_refuse_change()")
        op.execute(f"CREATE TRIGGER {table}_keep BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()")


OLD_CHAIN = """
CREATE FUNCTION audit_event_chain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE audit_head SET seq = seq + 1 WHERE id = 1 RETURNING seq, hash INTO STRICT NEW.seq, NEW.previous_hash;
    NEW.hash := encode(sha256(convert_to(json_build_array(
        NEW.seq, NEW.previous_hash, (extract(epoch FROM NEW.at) * 1000000)::bigint, NEW.action, NEW.actor_id, NEW.credential,
        NEW.subject, NEW.details, NEW.source_address, NEW.request_id)::text, 'UTF8')), 'hex');
    UPDATE audit_head SET hash = NEW.hash WHERE id = 1;
    RETURN NEW;
END $$
"""

OLD_REFUSE = """
CREATE OR REPLACE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'audit_head' AND TG_OP = 'UPDATE' AND pg_trigger_depth() > 1 THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'The audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$
"""
