"""The audit log in partitions by `seq` (docs/adr/0049-partitions-of-the-audit-log.md). The table of before becomes the first one, as it is.

`prepared` reads all its rows before the migration's transaction, under a lock that admits readers and writers. The transaction itself
changes the catalogue only.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import op
from sqlalchemy import Connection, Engine, text

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

SIZE = 10_000_000
"""Numbers of one partition."""
MOST_TO_READ = 500_000
"""Most rows that the sealer reads while it keeps writers out. The owner of the tables has no such limit."""
FIRST = "audit_event_from_0"
BELOW = "audit_event_below"
"""A constraint that proves that all rows are in the first partition, so that ATTACH PARTITION reads none."""

INDEXED = ("actor_id", "subject", "action", "at")

# Transactions of the application end within seconds, but those of `verify-audit` take minutes. Writers must not wait behind this lock for
# as long.
LOCK = """
DO $$
BEGIN
    FOR attempt IN 1..60 LOOP
        BEGIN
            SET LOCAL lock_timeout = '2s';
            LOCK TABLE audit_event IN ACCESS EXCLUSIVE MODE;
            SET LOCAL lock_timeout = 0;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(1);
        END;
    END LOOP;
    RAISE EXCEPTION 'Other transactions use audit_event. Run the migration again when they have ended' USING ERRCODE = 'lock_not_available';
END $$
"""

# At least half a partition above all numbers: writers go on while the constraint is validated.
ADD_BOUND = f"""
DO $$
DECLARE
    least bigint := coalesce(pg_sequence_last_value('audit_event_seq'), 0) + {SIZE // 2};
BEGIN
    EXECUTE format('ALTER TABLE audit_event ADD CONSTRAINT {BELOW} CHECK (seq < %s) NOT VALID', (least / {SIZE} + 1) * {SIZE});
END $$
"""
VALIDATE = f"ALTER TABLE audit_event VALIDATE CONSTRAINT {BELOW}"

# A trigger cannot move a row to another partition, so the number is a default. The definition is that of migration 0022 except for this.
FILL = """
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
NUMBER_FROM_TRIGGER = "NEW.seq := nextval('audit_event_seq');"
NUMBER_FROM_DEFAULT = """IF NEW.seq IS DISTINCT FROM currval('audit_event_seq') THEN
        RAISE EXCEPTION 'The number of an event comes from its sequence' USING ERRCODE = 'insufficient_privilege';
    END IF;"""

# The application's role keeps what it may do with the log as a whole, and gets no access to a single partition.
MOVE_PRIVILEGES = """
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT coalesce(quote_ident(rolname), 'PUBLIC') AS name, string_agg(privilege_type, ', ') AS privileges
        FROM pg_class CROSS JOIN aclexplode(relacl) LEFT JOIN pg_roles ON pg_roles.oid = grantee
        WHERE pg_class.oid = '{source}'::regclass AND grantee <> relowner GROUP BY 1
    LOOP
        EXECUTE format('GRANT %s ON {target} TO %s', granted.privileges, granted.name);
        EXECUTE format('REVOKE ALL ON {source} FROM %s', granted.name);
    END LOOP;
END $$
"""

# The newest partition has no upper bound and is empty, unless its predecessor is full. When half of the predecessor is used, the open
# partition gets an upper bound, and a new open one follows. A DEFAULT partition would not have to be detached, but with one PostgreSQL
# does not read the partitions in their order. Returns how many numbers are left before the open partition; negative if it is in use.
EXTEND = """
CREATE FUNCTION audit_event_extend(size bigint, most_to_read bigint) RETURNS bigint LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
    is_locked boolean := false;
    newest name;
    first_number bigint;
    last_number bigint;
    next_number bigint;
BEGIN
    LOOP
        SELECT relname, substring(pg_get_expr(relpartbound, pg_class.oid) FROM '^FOR VALUES FROM [(]''([0-9]+)''[)] TO [(]MAXVALUE[)]$')
        INTO STRICT newest, first_number
        FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'public.audit_event'::regclass AND pg_get_expr(relpartbound, pg_class.oid) LIKE '% TO (MAXVALUE)';
        last_number := coalesce(pg_sequence_last_value('public.audit_event_seq'), 0);
        EXIT WHEN first_number - last_number > size / 2 OR last_number - first_number >= most_to_read;
        IF is_locked THEN
            next_number := first_number + size * (1 + greatest(last_number - first_number, 0) / size);
            EXECUTE format('ALTER TABLE public.audit_event DETACH PARTITION public.%I', newest);
            EXECUTE format('ALTER TABLE public.audit_event ATTACH PARTITION public.%I FOR VALUES FROM (%s) TO (%s)',
                newest, first_number, next_number);
            EXECUTE format('CREATE TABLE public.audit_event_from_%s PARTITION OF public.audit_event FOR VALUES FROM (%s) TO (MAXVALUE)',
                next_number, next_number);
            EXECUTE format('CREATE TRIGGER audit_event_keep BEFORE TRUNCATE ON public.audit_event_from_%s '
                'FOR EACH STATEMENT EXECUTE FUNCTION public.audit_refuse_change()', next_number);
        ELSE
            LOCK TABLE ONLY public.audit_event IN ACCESS EXCLUSIVE MODE;
            is_locked := true;
        END IF;
    END LOOP;
    RETURN first_number - last_number;
EXCEPTION WHEN lock_not_available THEN
    -- The next run of the sealer tries again.
    RETURN first_number - last_number;
END $$
"""
# The application's role may call it. It has no argument, and changes nothing until half of a partition is used.
EXTEND_AS_OWNER = f"""
CREATE FUNCTION audit_event_extend() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$ SELECT public.audit_event_extend({SIZE}, {MOST_TO_READ}) $$
"""


@contextmanager
def prepared(engine: Engine) -> Iterator[None]:
    """Prove that all rows are below the bound of the first partition; undo that if the migration fails."""
    with engine.connect() as connection:
        has_log = connection.execute(text("SELECT to_regclass('audit_event_seq') IS NOT NULL")).scalar_one()
    if not has_log:
        yield
        return
    with engine.begin() as connection:
        connection.execute(text(LOCK))
        # A run that was interrupted has left it. Its bound may be too near by now.
        connection.execute(text(f"ALTER TABLE audit_event DROP CONSTRAINT IF EXISTS {BELOW}"))
        connection.execute(text(ADD_BOUND))
    try:
        with engine.begin() as connection:
            connection.execute(text(VALIDATE))
        yield
    except BaseException:
        with engine.begin() as connection:
            connection.execute(text(f"ALTER TABLE audit_event DROP CONSTRAINT IF EXISTS {BELOW}"))
        raise


def upgrade() -> None:
    """Put the table under a partitioned one of the same name, and create the partition after it."""
    connection = op.get_bind()
    op.execute(LOCK)
    if _bound(connection) is None:
        op.execute(ADD_BOUND)
        op.execute(VALIDATE)
    bound = _bound(connection)
    for trigger in ("fill", "guard", "keep"):
        op.execute(f"DROP TRIGGER audit_event_{trigger} ON audit_event")
    op.rename_table("audit_event", FIRST)
    _rename_indexes("audit_event", FIRST)
    op.execute(f"CREATE TABLE audit_event (LIKE {FIRST} INCLUDING DEFAULTS INCLUDING COMMENTS) PARTITION BY RANGE (seq)")
    op.execute("ALTER SEQUENCE audit_event_seq OWNED BY audit_event.seq")
    op.execute("ALTER TABLE audit_event ALTER COLUMN seq SET DEFAULT nextval('audit_event_seq')")
    op.create_primary_key("pk_audit_event", "audit_event", ["era", "xid", "seq"])
    op.create_index("ix_audit_event_seq", "audit_event", ["seq"], unique=True)
    for column in INDEXED:
        op.create_index(f"ix_audit_event_{column}_seq", "audit_event", [column, "seq"])
    op.execute(MOVE_PRIVILEGES.format(source=FIRST, target="audit_event"))
    op.execute(f"ALTER TABLE audit_event ATTACH PARTITION {FIRST} FOR VALUES FROM (MINVALUE) TO ({bound})")
    op.execute(f"ALTER TABLE {FIRST} DROP CONSTRAINT {BELOW}")
    op.execute(f"CREATE TABLE audit_event_from_{bound} PARTITION OF audit_event FOR VALUES FROM ({bound}) TO (MAXVALUE)")
    op.execute(FILL.replace("{number}", NUMBER_FROM_DEFAULT))
    _create_triggers("audit_event")
    for table in ("audit_event", FIRST, f"audit_event_from_{bound}"):
        _create_truncate_trigger(table)
    for statement in (EXTEND, EXTEND_AS_OWNER):
        op.execute(statement)
    for arguments in ("bigint, bigint", ""):
        op.execute(f"REVOKE ALL ON FUNCTION audit_event_extend({arguments}) FROM PUBLIC")


def downgrade() -> None:
    """Make one table of all partitions: the first one, with the rows of the others."""
    connection = op.get_bind()
    op.execute(LOCK)
    op.execute("DROP FUNCTION audit_event_extend()")
    op.execute("DROP FUNCTION audit_event_extend(bigint, bigint)")
    names = "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'audit_event'::regclass"
    partitions = list(connection.execute(text(names)).scalars())
    for partition in partitions:
        op.execute(f"ALTER TABLE audit_event DETACH PARTITION {partition}")
    for partition in partitions:
        if partition != FIRST:
            op.execute(f"INSERT INTO {FIRST} SELECT * FROM {partition}")  # noqa: S608 - a name of our own
            op.execute(f"DROP TABLE {partition}")
    op.execute(f"DROP TRIGGER audit_event_keep ON {FIRST}")
    op.execute(MOVE_PRIVILEGES.format(source="audit_event", target=FIRST))
    op.execute(f"ALTER SEQUENCE audit_event_seq OWNED BY {FIRST}.seq")
    op.drop_table("audit_event")
    op.rename_table(FIRST, "audit_event")
    _rename_indexes(FIRST, "audit_event")
    op.execute(FILL.replace("{number}", NUMBER_FROM_TRIGGER))
    _create_triggers("audit_event")
    _create_truncate_trigger("audit_event")


def _bound(connection: Connection) -> int | None:
    query = "SELECT substring(pg_get_constraintdef(oid) FROM '[0-9]+') FROM pg_constraint WHERE conname = :name"
    bound = connection.execute(text(query), {"name": BELOW}).scalar_one_or_none()
    return None if bound is None else int(bound)


def _rename_indexes(table: str, new: str) -> None:
    for name in ("pk_{}", "ix_{}_seq", *(f"ix_{{}}_{column}_seq" for column in INDEXED)):
        op.execute(f"ALTER INDEX {name.format(table)} RENAME TO {name.format(new)}")


def _create_triggers(table: str) -> None:
    for name, events in (("fill", "INSERT"), ("guard", "UPDATE OR DELETE")):
        op.execute(f"CREATE TRIGGER audit_event_{name} BEFORE {events} ON {table} FOR EACH ROW EXECUTE FUNCTION audit_event_{name}()")


def _create_truncate_trigger(table: str) -> None:
    """Refuse TRUNCATE. PostgreSQL copies triggers for each row to the partitions, and those for each statement not."""
    op.execute(f"CREATE TRIGGER audit_event_keep BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()")
