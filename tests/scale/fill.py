"""Fills a migrated database with SQL: a million files, 60,000 links, 40,000 grants, a million audit events, a million published events."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from lambda_app.services.files.files import UNINDEXED_ROWS_MAX
from tests.support.audit_log import end_first_partition

USERS = 2000
MANY_GRANTS = UNINDEXED_ROWS_MAX + 1000
"""A tenth of the files belong to others, so `SCALE` must be at least 0.1 for as many grants of theirs."""
OWN_LINKS = 400
"""Links of the heaviest account: fewer than the limit for an account, so that the tests can create more."""
PARTITIONS = 4
"""Partitions of the audit log that are full of events."""
BIG_TABLES = (
    "file",
    "share",
    "share_file",
    "file_grant",
    "audit_event",
    "user_session",
    "refresh_token",
    "archive",
    "archive_file",
    "file_request",
    "published_event",
    "webhook_delivery",
    "notification",
    "sign_in_place",
    "invitation",
    "ownership_transfer",
    "file_preview",
    "device_login",
    "idempotency_key",
    "tombstone",
    "mail_token",
    "upload_token_file",
    "share_download",
)


@dataclass(frozen=True)
class Sizes:
    """Rows of each kind; `scaled` returns the same mixture in another size."""

    files: int = 1_000_000
    links: int = 60_000
    grants: int = 20_000
    events: int = 1_000_000
    sessions: int = 200_000

    def scaled(self, factor: float) -> "Sizes":
        """Return sizes multiplied by `factor`, but always with more grants than a list reads as a whole."""
        files, links, grants, events, sessions = (round(getattr(self, name) * factor) for name in self.__annotations__)
        return Sizes(files, links, max(grants, MANY_GRANTS), events, sessions)


# Nine files in ten belong to one owner, who also granted 20,000 files and was granted 20,000: the heaviest account of a deployment.
# Links and file requests have a limit for each account, so most of them belong to others, each of whom links to their own files.
STATEMENTS = (
    "CREATE TEMPORARY TABLE scale_user AS SELECT n, gen_random_uuid() AS id FROM generate_series(1, :users) AS g (n)",
    "CREATE INDEX ON scale_user (n)",
    "INSERT INTO \"user\" (id, email, hashed_password) SELECT id, 'user' || n || '@scale.example', 'x' FROM scale_user",
    """
    CREATE TEMPORARY TABLE owner_of AS
    SELECT n, CASE WHEN n % 10 > 0 THEN CAST(:owner AS uuid)
        ELSE (SELECT id FROM scale_user WHERE scale_user.n = 1 + (g.n / 10) % :users) END AS id
    FROM generate_series(1, GREATEST(:files, :links)) AS g (n)
    """,
    "CREATE INDEX ON owner_of (n)",
    """
    CREATE TEMPORARY TABLE link_owner AS
    SELECT g.n, CASE WHEN g.n % :every = 1 THEN CAST(:owner AS uuid) ELSE scale_user.id END AS id
    FROM generate_series(1, :links) AS g (n) JOIN scale_user ON scale_user.n = 1 + g.n % :users
    """,
    """
    INSERT INTO file (id, filename, content_type, size_bytes, s3_key, owner_id, status, is_public, upload_expires_at, created_at,
        updated_at, purge_at)
    SELECT CAST('f0000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0') AS uuid),
        CASE WHEN n % 10000 = 5 THEN 'Rare ' ELSE 'photo ' END || n || '.jpg',
        CASE WHEN n % 10000 = 6 THEN 'video/mp4' WHEN n % 3 = 0 THEN 'application/pdf' ELSE 'image/jpeg' END,
        n, 'uploads/' || n, owner_of.id,
        CASE WHEN n % 10000 = 8 THEN 'pending' WHEN n % 5000 = 9 THEN 'trashed' ELSE 'available' END, n % 100 = 3,
        now() + interval '1 day', now() - n * interval '1 second',
        now() - n * interval '1 second', CASE WHEN n % 5000 = 9 THEN now() + interval '9 days' END
    FROM generate_series(1, :files) AS g (n) JOIN owner_of USING (n)
    """,
    """
    INSERT INTO share (id, owner_id, token_hash, created_at, updated_at)
    SELECT CAST('a0000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0') AS uuid), link_owner.id,
        encode(sha256(CAST('link ' || n AS bytea)), 'hex'), now() - n * interval '1 minute', now()
    FROM link_owner
    """,
    """
    INSERT INTO share_file (share_id, file_id, position)
    SELECT CAST('a0000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0') AS uuid),
        CAST('f0000000-0000-4000-8000-' || lpad(to_hex(file), 12, '0') AS uuid), at
    FROM (
        SELECT n, at, CASE WHEN n % :every = 1 THEN 10 * (n * 7 % (:files / 10)) + 1 + at
            ELSE 10 * (n % :users + :users * ((n / :users * 3 + at) % GREATEST(1, :files / 10 / :users))) END AS file
        FROM generate_series(1, :links) AS g (n), generate_series(0, 2) AS positions (at)
    ) AS linked
    WHERE file BETWEEN 1 AND :files
    ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO file_grant (file_id, user_id, owner_id, role, file_created_at, created_at, updated_at)
    SELECT file.id, CAST(:viewer AS uuid), file.owner_id, 'viewer', file.created_at, now(), now()
    FROM file WHERE file.owner_id = :owner ORDER BY file.id LIMIT :grants
    """,
    """
    INSERT INTO file_grant (file_id, user_id, owner_id, role, file_created_at, created_at, updated_at)
    SELECT file.id, CAST(:owner AS uuid), file.owner_id, 'viewer', file.created_at, now(), now()
    FROM file WHERE file.owner_id <> :owner ORDER BY file.id LIMIT :grants
    """,
    """
    INSERT INTO user_session (id, user_id, token_epoch, created_at, last_used_at, expires_at)
    SELECT gen_random_uuid(), scale_user.id, 0, now() - g.n * interval '1 second', now(), now() + interval '9 days'
    FROM generate_series(1, :sessions) AS g (n) JOIN scale_user ON scale_user.n = 1 + g.n % :users
    """,
    """
    INSERT INTO refresh_token (token_hash, session_id, created_at)
    SELECT encode(sha256(uuid_send(user_session.id)), 'hex'), user_session.id, now() FROM user_session
    ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO sign_in_attempt (key, kind, failures, since)
    SELECT encode(sha256(CAST(n AS text)::bytea), 'hex'), 1 + n % 3, 1, now() - n * interval '1 millisecond'
    FROM generate_series(1, :sessions) AS g (n)
    """,
    """
    INSERT INTO file_request (id, owner_id, token_hash, title, max_size_bytes, max_files, expires_at, created_at, updated_at)
    SELECT gen_random_uuid(), link_owner.id, encode(sha256(CAST('request ' || n AS bytea)), 'hex'), 'Request', 1000000, 10,
        now() + interval '9 days', now() - n * interval '1 minute', now()
    FROM link_owner WHERE n % 3 = 0
    """,
    """
    INSERT INTO archive (id, user_id, holder_id, number, fingerprint, filename, status, s3_key, file_count, size_bytes, part_size_bytes,
        lease_until, created_at, updated_at, expires_at)
    SELECT gen_random_uuid(), link_owner.id, link_owner.id, 1000 + n, encode(sha256(CAST('zip ' || n AS bytea)), 'hex'), 'a.zip', 'failed',
        'archives/' || n, 1, 1, 5242880, now(), now() - n * interval '1 minute', now(), now() + interval '9 days'
    FROM link_owner WHERE n % 3 = 0
    """,
    """
    INSERT INTO audit_event (era, xid, seq, at, action, actor_id, subject, details, source_address, salts, leaf)
    SELECT 1, n - :events, n, now() - (:events - n) * interval '1 second',
        CASE n % 3 WHEN 0 THEN 'share.opened' WHEN 1 THEN 'share.downloaded' ELSE 'session.started' END,
        CASE WHEN n % 2 = 0 THEN CAST(:owner AS uuid) END,
        'share:' || CAST('a0000000-0000-4000-8000-' || lpad(to_hex(1 + n % :links), 12, '0') AS uuid),
        '{}', '192.0.2.1', sha256(CAST(CAST(n AS text) AS bytea)), sha256(CAST(CAST(n AS text) AS bytea))
    FROM generate_series(1 + (SELECT max(seq) FROM audit_event), :events) AS g (n)
    """,
    "SELECT setval('audit_event_seq', (SELECT max(seq) FROM audit_event))",
    # The numbers of transactions are negative: those of the server come later. All but the newest 1,000 events are sealed.
    """
    INSERT INTO audit_checkpoint (era, size, cutoff, last_seq, root, sealed_at, note)
    SELECT 1, 256 * n, 256 * n - :events + 1, 256 * n, sha256(CAST(CAST(n AS text) AS bytea)), now(), 'note'
    FROM generate_series(1, (:events - 1000) / 256) AS g (n)
    ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO audit_tile (era, level, number, hashes)
    SELECT 1, level, number, decode(repeat('ab', LEAST(256, hashes - 256 * number) * 32), 'hex')
    FROM (SELECT level, (:events - 1000) / 256 * 256 / (256 ^ level)::int AS hashes FROM generate_series(0, 2) AS levels (level)) AS filled,
        LATERAL generate_series(0, (hashes - 1) / 256) AS numbers (number)
    WHERE hashes > 0
    ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO published_event (owner_id, type, at, subject, data)
    SELECT CASE WHEN g.n % 2 = 0 THEN CAST(:owner AS uuid) ELSE scale_user.id END,
        CASE g.n % 3 WHEN 0 THEN 'share.opened' WHEN 1 THEN 'share.downloaded' ELSE 'file.available' END,
        now() - (:events - g.n) * interval '1 second',
        'share:' || CAST('a0000000-0000-4000-8000-' || lpad(to_hex(1 + g.n % :links), 12, '0') AS uuid), '{}'
    FROM generate_series(1, :events) AS g (n)
        JOIN scale_user ON scale_user.n = CASE WHEN g.n % 4 = 1 THEN 1 ELSE 1 + g.n % :users END
    ORDER BY g.n
    """,
    # Each account has a webhook. The owner's gets every second event, another one every fourth. Two deliveries in a thousand are pending.
    """
    INSERT INTO webhook (id, owner_id, url, encrypted_secret, next_due_at, created_at, updated_at)
    SELECT scale_user.id, scale_user.id, 'https://receiver.example/hook', 'x',
        CASE WHEN n % 100 = 0 THEN now() + interval '1 day' END, now(), now() FROM scale_user
    UNION ALL SELECT CAST(:owner AS uuid), CAST(:owner AS uuid), 'https://receiver.example/hook', 'x', NULL, now(), now()
    """,
    """
    INSERT INTO webhook_delivery (webhook_id, event_id, status, next_attempt_at)
    SELECT owner_id, id, CASE WHEN id % 1000 < 2 THEN 'pending' ELSE 'delivered' END, at FROM published_event
    """,
    """
    INSERT INTO notification_setting (user_id, link_downloads, request_uploads, link_expiry, new_sign_ins)
    SELECT id, true, true, true, true FROM scale_user
    """,
    """
    INSERT INTO notification (user_id, kind, subject, count, items, first_at, last_at)
    SELECT scale_user.id, 'link_downloads', 'share:' || g.n, 1, '{}', now(), now()
    FROM generate_series(1, :sessions) AS g (n) JOIN scale_user ON scale_user.n = 1 + g.n % :users
    """,
    "INSERT INTO notification_digest (user_id, due_at) SELECT id, now() + n * interval '1 minute' FROM scale_user",
    """
    INSERT INTO sign_in_place (user_id, place_hash, seen_at)
    SELECT scale_user.id, encode(sha256(CAST('place ' || g.n AS bytea)), 'hex'), now() - g.n * interval '1 second'
    FROM generate_series(1, :sessions) AS g (n) JOIN scale_user ON scale_user.n = 1 + g.n % :users
    """,
    """
    INSERT INTO invitation (id, inviter_id, email, file_id, role, token_hash, created_at, sent_at, expires_at)
    SELECT gen_random_uuid(), scale_user.id, 'guest' || g.n || '@scale.example',
        CAST('f0000000-0000-4000-8000-' || lpad(to_hex(g.n), 12, '0') AS uuid), 'viewer',
        encode(sha256(CAST('invitation ' || g.n AS bytea)), 'hex'), now() - g.n * interval '1 second', now(), now() + interval '9 days'
    FROM generate_series(1, :links) AS g (n) JOIN scale_user ON scale_user.n = 1 + g.n % :users
    """,
    """
    INSERT INTO ownership_transfer (id, from_id, to_id, from_email, to_email, status, token_epoch, created_at, expires_at, ended_at)
    SELECT gen_random_uuid(), scale_user.id, CAST(:viewer AS uuid), 'a@scale.example', 'b@scale.example', 'done', 0,
        now() - g.n * interval '1 second', now() + interval '9 days', now()
    FROM generate_series(1, :links) AS g (n) JOIN scale_user ON scale_user.n = 1 + g.n % :users
    """,
    """
    INSERT INTO file_preview (file_id, state, requested_at)
    SELECT id, CASE WHEN size_bytes % 10000 = 7 THEN 'pending' ELSE 'ready' END, created_at FROM file WHERE status = 'available'
    """,
    """
    INSERT INTO device_login (id, device_code_hash, user_code, client, network, created_at, expires_at, is_approved)
    SELECT gen_random_uuid(), encode(sha256(CAST('device ' || n AS bytea)), 'hex'), 'U' || lpad(to_hex(n), 7, '0'), 'cli',
        'network ' || n % 1000, now(), now() + (n % 200 - 1) * interval '1 minute', false
    FROM generate_series(1, :sessions) AS g (n)
    """,
    """
    INSERT INTO idempotency_key (user_id, route, key, fingerprint, resource_id, is_done, created_at, locked_until)
    SELECT scale_user.id, 'upload', 'key ' || g.n, encode(sha256(CAST('body ' || g.n AS bytea)), 'hex'), gen_random_uuid(), true,
        now(), now()
    FROM generate_series(1, :sessions) AS g (n) JOIN scale_user ON scale_user.n = 1 + g.n % :users
    """,
    """
    INSERT INTO tombstone (file_id, owner_id, size_bytes, charged_until, expires_at)
    SELECT gen_random_uuid(), scale_user.id, 1, NULL, now() + interval '1 day'
    FROM generate_series(1, :sessions) AS g (n) JOIN scale_user ON scale_user.n = 1 + g.n % :users
    """,
    """
    INSERT INTO mail_token (token_hash, user_id, purpose, email, token_epoch, created_at, expires_at)
    SELECT encode(sha256(CAST('mail ' || g.n AS bytea)), 'hex'), scale_user.id, 'verify_email', 'user' || scale_user.n || '@scale.example',
        0, now(), now() + interval '1 hour'
    FROM generate_series(1, :sessions) AS g (n) JOIN scale_user ON scale_user.n = 1 + g.n % :users
    """,
    """
    INSERT INTO upload_token (id, owner_id, token_epoch, token_hash, max_bytes, max_files, max_size_bytes, created_at, expires_at)
    SELECT id, id, 0, encode(sha256(uuid_send(id)), 'hex'), 1000000, 1000, 1000, now(), now() + interval '1 hour' FROM scale_user
    """,
    """
    INSERT INTO upload_token_file (file_id, upload_token_id)
    SELECT file.id, file.owner_id FROM file WHERE file.owner_id <> :owner
    """,
    """
    INSERT INTO archive_file (archive_id, position, file_id, name, size_bytes, modified_at)
    SELECT archive.id, position, CAST('f0000000-0000-4000-8000-' || lpad(to_hex(1 + position), 12, '0') AS uuid), 'a', 1, now()
    FROM archive, generate_series(0, 2) AS positions (position)
    """,
    """
    INSERT INTO share_download (share_id, file_id, visitor, at)
    SELECT share_id, file_id, encode(sha256(CAST('visitor' AS bytea)), 'hex'), now() FROM share_file
    """,
    """
    UPDATE "user" SET bytes_used = charged.bytes, files_count = charged.files FROM (
        SELECT owner_id, sum(size_bytes) AS bytes, count(*) AS files FROM file
        WHERE status IN ('pending', 'available', 'trashed') GROUP BY owner_id
    ) AS charged WHERE charged.owner_id = "user".id
    """,
)


def fill(engine: Engine, sizes: Sizes, *, owner: UUID, viewer: UUID) -> None:
    """Fill the database. `owner` and `viewer` exist already; the ids of link n and file n are made of n."""
    every = max(150, sizes.links // OWN_LINKS)
    numbers = {"users": USERS, "every": every, **{name: getattr(sizes, name) for name in Sizes.__annotations__}}
    values = {name: str(number) for name, number in numbers.items()} | {"owner": f"'{owner}'", "viewer": f"'{viewer}'"}
    with engine.begin() as connection:
        # Triggers and foreign keys are checked row by row, which would take most of the time.
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("SET LOCAL maintenance_work_mem = '512MB'"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL work_mem = '256MB'"))
        _partition_audit_log(connection, sizes.events // PARTITIONS)
        with _without_indexes(connection):
            for statement in STATEMENTS:
                # Numbers and ids of our own, as literals: the server cannot infer the types of parameters here.
                connection.exec_driver_sql(re.sub(r"(?<!:):([a-z]+)\b", lambda match: values[match.group(1)], statement))
        connection.execute(text("ANALYZE"))


def _partition_audit_log(connection: Connection, size: int) -> None:
    """Create the partitions for the events as the sealer would: the next one when half of one is used."""
    end_first_partition(connection, size)
    for number in range(1, PARTITIONS + 1):
        connection.execute(
            text("SELECT setval('audit_event_seq', :used), audit_event_extend(:size, :size)"), {"used": number * size - 1, "size": size}
        )


@contextmanager
def _without_indexes(connection: Connection) -> Iterator[None]:
    """Drop the secondary indexes of the big tables and build them again afterwards: a tenth of the time of filling them row by row."""
    query = """
        SELECT pg_get_indexdef(indexrelid), indexrelid::regclass::text FROM pg_index
        WHERE indrelid = ANY (CAST(:tables AS regclass[])) AND NOT indisunique
    """
    indexes = connection.execute(text(query), {"tables": list(BIG_TABLES)}).all()
    for _, name in indexes:
        connection.execute(text(f"DROP INDEX {name}"))
    yield
    for definition, _ in indexes:
        # With ONLY, as the definition for a partitioned table has it, the partitions would have no index.
        connection.execute(text(definition.replace(" ON ONLY ", " ON ")))
