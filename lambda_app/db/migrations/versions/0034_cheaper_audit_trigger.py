"""A cheaper trigger of the audit log. Leaves and stored rows stay as they are.

PL/pgSQL prepares each expression again in each transaction, so a call costs more than the hash that it computes.
"""

from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

# PostgreSQL inlines an SQL function only if its body is no more volatile than its declaration, and `convert_to` is stable. As an immutable
# function it was run by the executor nine times per event.
INLINED = "ALTER FUNCTION audit_field_hash(bytea, text, text) STABLE"
NOT_INLINED = "ALTER FUNCTION audit_field_hash(bytea, text, text) IMMUTABLE"

NUMBER = """IF NEW.seq IS DISTINCT FROM currval('audit_event_seq') THEN
        RAISE EXCEPTION 'The number of an event comes from its sequence' USING ERRCODE = 'insufficient_privilege';
    END IF;"""

# 16 bytes of salt for each of the nine fields, derived from 244 random bits that are not stored. An opened salt reveals no other one.
FILL = """
CREATE OR REPLACE FUNCTION audit_event_fill() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    seed bytea := uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
    salts bytea := sha512(seed || '\\x01') || sha512(seed || '\\x02') || substr(sha512(seed || '\\x03'), 1, 16);
BEGIN
    SELECT max(era) INTO STRICT NEW.era FROM audit_era;
    NEW.xid := pg_current_xact_id()::text::bigint;
    {number}
    NEW.erased := NULL;
    NEW.salts := salts;
    NEW.leaf := sha256('\\x00'::bytea
        || audit_field_hash(substr(salts, 1, 16), 'seq', NEW.seq::text)
        || audit_field_hash(substr(salts, 17, 16), 'at', to_char(NEW.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
        || audit_field_hash(substr(salts, 33, 16), 'action', NEW.action)
        || audit_field_hash(substr(salts, 49, 16), 'actor_id', NEW.actor_id::text)
        || audit_field_hash(substr(salts, 65, 16), 'credential', NEW.credential)
        || audit_field_hash(substr(salts, 81, 16), 'subject', NEW.subject)
        || audit_field_hash(substr(salts, 97, 16), 'details', NEW.details)
        || audit_field_hash(substr(salts, 113, 16), 'source_address', NEW.source_address)
        || audit_field_hash(substr(salts, 129, 16), 'request_id', NEW.request_id));
    -- The client adds the leaf to the log line of its request: WireConnection recognises the code.
    RAISE NOTICE SQLSTATE 'WU001' USING MESSAGE = encode(NEW.leaf, 'hex');
    RETURN NEW;
END $$
"""

OLD_FILL = """
CREATE OR REPLACE FUNCTION audit_event_fill() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    seed bytea := uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
BEGIN
    SELECT max(era) INTO STRICT NEW.era FROM audit_era;
    NEW.xid := pg_current_xact_id()::text::bigint;
    {number}
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


def upgrade() -> None:
    """Replace the functions. Takes no lock on a table."""
    op.execute(INLINED)
    op.execute(FILL.replace("{number}", NUMBER))


def downgrade() -> None:
    """Restore the functions."""
    op.execute(NOT_INLINED)
    op.execute(OLD_FILL.replace("{number}", NUMBER))
