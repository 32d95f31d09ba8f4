"""A small table that only these tests use."""

from sqlalchemy import Column, Engine, ForeignKey, Integer, MetaData, String, Table, func, select

metadata = MetaData()

note = Table(
    "note",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("body", String(4000), unique=True),
    Column("parent_id", ForeignKey("note.id", name="note_parent", deferrable=True, initially="DEFERRED")),
)


def count_notes(engine: Engine, body: str) -> int:
    """Return the number of committed notes with this body."""
    with engine.connect() as connection:
        return connection.execute(select(func.count()).where(note.c.body == body)).scalar_one()
