"""Very many files, made by the database itself."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Engine, text

START = datetime(2026, 1, 1, tzinfo=UTC)
BATCH = 100_000

# A tenth is somebody else's. The rare ones are what a filter must find without reading all.
FILL = """
INSERT INTO file (id, filename, content_type, size_bytes, s3_key, owner_id, status, upload_expires_at, created_at, updated_at)
SELECT id, CASE WHEN n % 10000 = 5 THEN 'Rare ' ELSE 'photo ' END || n || '.jpg',
    CASE WHEN n % 10000 = 6 THEN 'video/mp4' ELSE 'image/jpeg' END, CASE WHEN n % 10000 = 7 THEN 9000000000 + n ELSE n END, id::text,
    CASE WHEN n % 10 = 0 THEN CAST(:other AS uuid) ELSE CAST(:owner AS uuid) END,
    CASE WHEN n % 10000 = 8 THEN 'pending' ELSE 'available' END,
    now(), CAST(:start AS timestamptz) + n * interval '1 second', now()
FROM (SELECT n, gen_random_uuid() AS id FROM generate_series(1, CAST(:rows AS integer)) AS n) AS made
"""


def fill(engine: Engine, *, owner: UUID, other: UUID, count: int, at: int = 0) -> None:
    """Add files to those that are there, of which there are `at`; their times go on one second a file."""
    with engine.begin() as connection:
        # Filled row by row it would take most of the time; a migration builds it in one go as well.
        trigrams = connection.execute(text("SELECT pg_get_indexdef('ix_file_name_trigrams'::regclass)")).scalar_one()
        connection.execute(text("DROP INDEX ix_file_name_trigrams"))
    for begin in range(at, at + count, BATCH):
        values = {"owner": owner, "other": other, "rows": min(BATCH, at + count - begin), "start": START + timedelta(seconds=begin)}
        statement = FILL.replace("|| n ||", f"|| n + {begin} ||").replace("9000000000 + n", f"9000000000 + n + {begin}")
        with engine.begin() as connection:
            connection.execute(text(statement), values)
    with engine.begin() as connection:
        connection.execute(text(trigrams))
        connection.execute(text("ANALYZE file"))
