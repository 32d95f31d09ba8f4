"""The migrations and the models are two descriptions of one schema."""

from collections.abc import Callable

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import inspect

from lambda_app.core.settings import Settings
from lambda_app.db import migrations
from lambda_app.db.engine import create_database_engine
from lambda_app.models import Base


def test_migrations_make_what_the_models_say(settings: Settings) -> None:
    engine = create_database_engine(settings)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    engine.dispose()

    assert differences == []


def test_migrations_can_be_taken_back_and_made_again(settings: Settings, fresh_database: Callable[[], str]) -> None:
    engine = create_database_engine(settings.model_copy(update={"database_url": SecretStr(fresh_database())}))
    migrations.upgrade(engine)
    migrations.downgrade(engine, "base")
    with engine.connect() as connection:
        left = inspect(connection).get_table_names()
    migrations.upgrade(engine)
    engine.dispose()

    assert left == ["alembic_version"]


@pytest.mark.parametrize("table", ["audit_event", "audit_head"])
def test_audit_tables_have_their_triggers(settings: Settings, table: str) -> None:
    from sqlalchemy import text

    engine = create_database_engine(settings)
    with engine.connect() as connection:
        names = (
            connection.execute(text("SELECT tgname FROM pg_trigger WHERE tgrelid = CAST(:name AS regclass)"), {"name": table})
            .scalars()
            .all()
        )
    engine.dispose()

    assert {f"{table}_refuse" if table == "audit_head" else "audit_event_refuse", f"{table}_keep"} <= set(names)
