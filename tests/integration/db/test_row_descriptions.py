"""Row descriptions are cached and never used for other rows."""

import pytest
from sqlalchemy import Engine, text

from lambda_app.db import connection
from lambda_app.db.dialect import require_wire_connection


def columns(engine: Engine, query: str) -> dict[str, object]:
    with engine.connect() as opened:
        row = opened.execute(text(query)).mappings().one()
        return dict(row)


def test_statement_returns_new_columns_after_its_table_was_altered(engine: Engine, observer: Engine) -> None:
    with observer.begin() as owner:
        owner.execute(text("DROP TABLE IF EXISTS changing"))
        owner.execute(text("CREATE TABLE changing AS SELECT 7 AS id, 'a' AS name"))
    query = "SELECT * FROM changing"
    assert columns(engine, query) == columns(engine, query) == {"id": 7, "name": "a"}

    with observer.begin() as owner:
        owner.execute(text("ALTER TABLE changing DROP COLUMN name, ALTER COLUMN id TYPE text, ADD COLUMN is_new boolean DEFAULT true"))

    assert columns(engine, query) == columns(engine, query) == {"id": "7", "is_new": True}


def test_description_cache_is_bounded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "DESCRIPTIONS_MAX", 3)

    for number in (*range(10), *range(10)):
        assert columns(engine, f"SELECT {number} AS c{number}") == {f"c{number}": number}

    with engine.connect() as opened:
        assert 0 < len(require_wire_connection(opened.connection)._descriptions) <= 3


def test_repeated_statement_without_rows_returns_no_rows(engine: Engine) -> None:
    with engine.connect() as opened:
        for _ in range(2):
            assert opened.execute(text("SELECT 1 AS a WHERE false")).all() == []
            assert opened.execute(text("SELECT 1 AS a")).all() == [(1,)]
