"""The migrations create exactly the schema of the models, in one transaction, once."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, exc, text

from lambda_app.db import migrations
from lambda_app.models import Base
from tests.support.wire import WireProxy

CATALOGUE = {
    "columns": """
        SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = 'public'""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
}

MIGRATOR = """
from lambda_app.core.settings import Settings
from lambda_app.db import migrations
from lambda_app.db.engine import create_database_engine

migrations.upgrade(create_database_engine(Settings.from_environment()))
"""


def catalogue(engine: Engine) -> dict[str, list[tuple[object, ...]]]:
    """Return the catalogue entries of all tables except Alembic's own and the partitions, which are not in the models."""
    with engine.connect() as connection:
        partitions = connection.execute(text("SELECT inhrelid::regclass::text FROM pg_inherits")).scalars()
        left_out = {"alembic_version", *partitions}
        return {
            name: sorted((tuple(row) for row in connection.execute(text(query)) if row[0] not in left_out), key=repr)
            for name, query in CATALOGUE.items()
        }


@pytest.fixture
def empty(make_engine: Callable[..., Engine], fresh_database: Callable[[], str]) -> Engine:
    """An engine for an empty database."""
    return make_engine(fresh_database())


def test_migrations_create_the_schema_of_the_models(
    empty: Engine, make_engine: Callable[..., Engine], fresh_database: Callable[[], str]
) -> None:
    described = make_engine(fresh_database())
    Base.metadata.create_all(described)

    migrations.upgrade(empty)

    assert catalogue(empty) == catalogue(described)
    assert catalogue(empty)["columns"]


def is_compared(_object: object, name: str | None, kind: str, *_: object) -> bool:
    """Exclude what Alembic does not reflect: collations, the default from a sequence that the column owns, and the partitions.

    The test above compares their definitions, except for the partitions.
    """
    if kind == "table":
        return name is None or not name.startswith("audit_event_from_")
    return name not in ("ix_file_name_trigrams", "ix_file_owner_id_content_type", "ix_file_owner_id_name", "seq")


def test_alembic_autogenerate_finds_no_differences(empty: Engine) -> None:
    migrations.upgrade(empty)

    with empty.connect() as connection:
        opts = {"compare_type": True, "compare_server_default": True, "include_object": is_compared}
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, Base.metadata) == []


def test_downgrade_to_base_and_upgrade_restore_the_schema(empty: Engine) -> None:
    migrations.upgrade(empty)
    before = catalogue(empty)

    migrations.downgrade(empty, "base")
    assert catalogue(empty) == {"columns": [], "constraints": [], "indexes": []}
    assert migrations.current_revision(empty) is None

    migrations.upgrade(empty)
    assert catalogue(empty) == before


@pytest.mark.slow
def test_each_migration_can_run_alone(empty: Engine) -> None:
    steps = 0
    while migrations.current_revision(empty) != migrations.head_revision():
        migrations.upgrade(empty, "+1")
        steps += 1
    while migrations.current_revision(empty) is not None:
        migrations.downgrade(empty, "-1")
        steps -= 1

    assert steps == 0
    assert catalogue(empty)["columns"] == []


def test_current_revision_is_none_before_and_newest_after_migrating(empty: Engine) -> None:
    assert migrations.current_revision(empty) is None

    migrations.upgrade(empty)

    assert migrations.current_revision(empty) == migrations.head_revision()


def test_repeated_migration_changes_nothing(empty: Engine) -> None:
    migrations.upgrade(empty)
    before = catalogue(empty)

    migrations.upgrade(empty)

    assert catalogue(empty) == before


@pytest.mark.slow
def test_concurrent_migrations_are_serialised(make_engine: Callable[..., Engine], fresh_database: Callable[[], str]) -> None:
    url = fresh_database()
    environment = {"ENVIRONMENT": "local", "DATABASE_URL": url, "SECRET_KEY": "x" * 32, "S3_BUCKET_NAME": "unused"}
    migrators = [subprocess.Popen([sys.executable, "-c", MIGRATOR], env=environment) for _ in range(3)]

    assert [migrator.wait(timeout=60) for migrator in migrators] == [0, 0, 0]
    assert migrations.current_revision(make_engine(url)) == migrations.head_revision()


def test_migration_is_one_transaction(make_engine: Callable[..., Engine], fresh_database: Callable[[], str]) -> None:
    url = fresh_database()
    with WireProxy(url) as proxy, proxy.count() as counted:
        migrations.upgrade(make_engine(proxy.url_for(url)))

    sent = counted.statements
    assert [sent.count("BEGIN"), sent.count("COMMIT")] == [1, 1]
    assert sent[0] == "BEGIN"
    assert "pg_advisory_xact_lock" in sent[1]
    assert sent[-1] == "COMMIT"


def test_failed_migration_is_rolled_back(empty: Engine) -> None:
    with empty.begin() as connection:
        connection.execute(text("CREATE TABLE file (in_the_way integer)"))
    before = catalogue(empty)

    with pytest.raises(exc.ProgrammingError, match="already exists"):
        migrations.upgrade(empty)

    assert catalogue(empty) == before
    assert migrations.current_revision(empty) is None


def test_shared_lists_keep_existing_grants_and_accept_those_of_the_version_before(empty: Engine) -> None:
    migrations.upgrade(empty, "0008")
    insert_user = "INSERT INTO \"user\" (id, email, hashed_password) VALUES (:id, gen_random_uuid(), 'x')"
    insert_file = """
        INSERT INTO file (id, filename, content_type, size_bytes, s3_key, owner_id, upload_expires_at, created_at)
        VALUES (:id, 'a', 'a/b', 1, gen_random_uuid(), :owner, now(), '2026-01-31T12:00:00Z')"""
    insert_grant = """
        INSERT INTO file_grant (file_id, user_id, owner_id, role, created_at, updated_at)
        VALUES (:file, :user, :owner, 'viewer', now(), now())"""
    owner, early, late, file = (UUID(int=number) for number in range(4))
    with empty.begin() as connection:
        for user in (owner, early, late):
            connection.execute(text(insert_user), {"id": user})
        connection.execute(text(insert_file), {"id": file, "owner": owner})
        connection.execute(text(insert_grant), {"file": file, "user": early, "owner": owner})

    migrations.upgrade(empty)

    with empty.begin() as connection:
        connection.execute(text(insert_grant), {"file": file, "user": late, "owner": owner})
        times = connection.execute(text("SELECT file_created_at FROM file_grant")).scalars().all()
    assert times == [datetime(2026, 1, 31, 12, tzinfo=UTC)] * 2


def test_grants_from_before_confirmed_addresses_keep_their_effect(empty: Engine) -> None:
    ids = {name: uuid4() for name in ("owner", "friend", "file", "share")}
    migrations.upgrade(empty, "0008")
    rows = {
        '"user" (id, email, hashed_password)': "(:owner, 'owner@example.com', 'x'), (:friend, 'friend@example.com', 'x')",
        "file (id, filename, content_type, size_bytes, s3_key, owner_id, upload_expires_at)": "(:file, 'a', 'a/b', 0, 'a', :owner, now())",
        "file_grant (file_id, user_id, owner_id, role, email, created_at, updated_at)": (
            "(:file, :friend, :owner, 'viewer', 'friend@example.com', now(), now())"
        ),
        "share (id, owner_id, slug, audience)": "(:share, :owner, 'a-slug', 'named')",
        "share_recipient (share_id, user_id, named_as)": "(:share, :friend, 'friend@example.com')",
    }
    with empty.begin() as connection:
        for columns, values in rows.items():
            statement = f"INSERT INTO {columns} VALUES {values}"  # noqa: S608 - constants
            connection.execute(text(statement), {name: value for name, value in ids.items() if f":{name}" in statement})

    migrations.upgrade(empty)

    with empty.begin() as connection:
        pending = "SELECT is_pending FROM file_grant UNION ALL SELECT is_pending FROM share_recipient"
        assert connection.execute(text(pending)).scalars().all() == [False, False]
        connection.execute(text("UPDATE file_grant SET is_pending = true"))
    # The previous version would give effect to what is pending.
    migrations.downgrade(empty, "0014")
    with empty.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM file_grant")).scalar_one() == 0
        assert connection.execute(text("SELECT count(*) FROM share_recipient")).scalar_one() == 1


def test_importing_the_package_does_not_import_alembic() -> None:
    program = "import sys, lambda_app.db.migrations, lambda_app.db.session; sys.exit('alembic' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
