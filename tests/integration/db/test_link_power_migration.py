"""Migration 0010 with links from before: which of them needed the superuser role, and the way back."""

from collections.abc import Callable
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine, text

from lambda_app.db import migrations


def add_user(connection: Connection) -> UUID:
    user_id = uuid4()
    values = {"id": user_id, "email": f"{user_id}@example.com"}
    connection.execute(text("""INSERT INTO "user" (id, email, hashed_password) VALUES (:id, :email, 'x')"""), values)
    return user_id


def add_link(connection: Connection, owner: UUID, *file_owners: UUID) -> UUID:
    """Insert a link of `owner` to one file of each of `file_owners`."""
    share_id = uuid4()
    connection.execute(
        text("INSERT INTO share (id, owner_id, token_hash) VALUES (:id, :owner, :hash)"),
        {"id": share_id, "owner": owner, "hash": share_id.hex},
    )
    for position, file_owner in enumerate(file_owners):
        file_id = uuid4()
        connection.execute(
            text(
                """INSERT INTO file (id, owner_id, filename, s3_key, content_type, size_bytes, status, upload_expires_at)
                VALUES (:id, :owner, 'a', :key, 'a/b', 0, 'available', now())"""
            ),
            {"id": file_id, "owner": file_owner, "key": str(file_id)},
        )
        connection.execute(
            text("INSERT INTO share_file (share_id, file_id, position) VALUES (:share, :file, :position)"),
            {"share": share_id, "file": file_id, "position": position},
        )
    return share_id


def test_links_to_files_of_other_users_need_the_role(make_engine: Callable[..., Engine], fresh_database: Callable[[], str]) -> None:
    engine = make_engine(fresh_database())
    migrations.upgrade(engine, "0009")
    with engine.begin() as connection:
        owner, other = add_user(connection), add_user(connection)
        own, foreign = add_link(connection, owner, owner), add_link(connection, owner, other)
        both, empty = add_link(connection, owner, owner, other), add_link(connection, owner)

    migrations.upgrade(engine, "0010")

    with engine.connect() as connection:
        needing = set(connection.execute(text("SELECT id FROM share WHERE needs_superuser")).scalars())
    assert needing == {foreign, both}
    assert not needing & {own, empty}


def test_released_slug_survives_a_downgrade(make_engine: Callable[..., Engine], fresh_database: Callable[[], str]) -> None:
    """Before 0010 each link must have an address."""
    engine = make_engine(fresh_database())
    migrations.upgrade(engine, "0010")
    with engine.begin() as connection:
        link = add_link(connection, add_user(connection))
        connection.execute(text("UPDATE share SET token_hash = NULL, revoked_at = now()"))

    migrations.downgrade(engine, "0009")

    with engine.connect() as connection:
        assert connection.execute(text("SELECT slug FROM share WHERE id = :id"), {"id": link}).scalar_one() == str(link)
