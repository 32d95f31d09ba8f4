"""The detection of plain reads, and the encoding of protocol messages."""

from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from pg8000.converters import PY_TYPES  # type: ignore[import-untyped]  # ships no type information
from pg8000.dbapi import DataError, ProgrammingError  # type: ignore[import-untyped]  # ships no type information
from sqlalchemy import ClauseElement, column, delete, exists, func, insert, select, table, text, union, update, values
from sqlalchemy import String as SqlString

from lambda_app.db.dialect import WireCompiler, WireDialect
from lambda_app.db.errors import error_field
from lambda_app.db.messages import BEGIN, BIND_MAX_VALUES, bind, parse

share = table("share", column("id"), column("updated_at"), column("update"), column("token"))
inserted = insert(share).values(id=1).returning(share.c.id).cte()


class Colour(StrEnum):
    """A subclass of str."""

    RED = "red"


def compiled(statement: ClauseElement) -> WireCompiler:
    found = statement.compile(dialect=WireDialect())
    assert isinstance(found, WireCompiler)
    return found


@pytest.mark.parametrize(
    "statement",
    [
        select(share),
        select(share).where(share.c.updated_at < func.now()).order_by(share.c.id),
        select(share.c.update, share.c.token),
        select(func.count()).select_from(share),
        select(exists().where(share.c.id == 1)),
        union(select(share.c.id), select(share.c.id)),
        select(select(share.c.id).cte("recent").c.id),
        select(values(column("word", SqlString), name="words").data([("for update",), ("delete from",)])),
    ],
    ids=str,
)
def test_plain_select_is_detected_as_a_read(statement: ClauseElement) -> None:
    assert compiled(statement).is_plain_read


@pytest.mark.parametrize(
    "statement",
    [
        insert(share).values(id=1),
        update(share).values(id=1),
        delete(share),
        select(share).with_for_update(),
        select(share).with_for_update(nowait=True, of=share),
        select(share).with_for_update(key_share=True, read=True),
        select(share).with_for_update(key_share=True),
        select(share).where(share.c.id.in_(select(share.c.id).with_for_update())),
        union(select(share.c.id), select(share.c.id).with_for_update()),
        select(inserted.c.id),
        select(share.c.id).add_cte(delete(share).cte()),
        select(func.pg_advisory_xact_lock(1)),
        select(func.pg_try_advisory_xact_lock(1)),
        select(func.nextval("numbers")),
        select(func.set_config("timezone", "UTC", True)),
        text("SELECT 1"),
        text("SELECT 1 AS id").columns(column("id")),
    ],
    ids=str,
)
def test_statement_with_side_effects_is_not_a_plain_read(statement: ClauseElement) -> None:
    assert not compiled(statement).is_plain_read


def test_parameters_are_numbered_and_percent_signs_are_not_doubled() -> None:
    statement = compiled(select(share.c.id % 7).where(share.c.token == "x", share.c.id.in_([1, 2])))

    assert str(statement).count("%") == 1
    assert "$1" in str(statement)


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("text", b"text"),
        ("", b""),
        ("\N{GRINNING FACE}", "\N{GRINNING FACE}".encode()),
        (True, b"true"),
        (2**80, b"1208925819614629174706176"),
        (float("nan"), b"nan"),
        (UUID(int=1), b"00000000-0000-0000-0000-000000000001"),
        (Colour.RED, b"red"),
        (b"\0\xff", b"\\x00ff"),
    ],
)
def test_values_are_sent_as_text(value: Any, sent: bytes) -> None:
    message = bind((value,), PY_TYPES)

    assert message == b"B" + (4 + 4 + 2 + 4 + len(sent) + 2).to_bytes(4) + b"\0\0\0\0\0\1" + len(sent).to_bytes(4) + sent + b"\0\0"


def test_none_is_sent_as_null() -> None:
    assert bind((None,), PY_TYPES).endswith(b"\0\1" + b"\xff\xff\xff\xff" + b"\0\0")


@pytest.mark.parametrize(
    ("value", "sqlstate"), [("\ud800", "22021"), ("a\udfffb", "22021"), (10**5000, "22023")], ids=["lone", "inside", "huge"]
)
def test_value_without_a_text_format_is_rejected(value: Any, sqlstate: str) -> None:
    with pytest.raises(DataError) as caught:
        bind(("fine", value), PY_TYPES)

    assert error_field(caught.value, "C") == sqlstate


def test_more_than_65535_values_are_rejected() -> None:
    bind(("x",) * BIND_MAX_VALUES, PY_TYPES)

    with pytest.raises(ProgrammingError, match="at most 65535 values"):
        bind(("x",) * (BIND_MAX_VALUES + 1), PY_TYPES)


def test_statement_with_nul_is_rejected() -> None:
    with pytest.raises(ProgrammingError, match="NUL"):
        parse("SELECT 1\0; DROP TABLE file")


def test_begin_message_contains_no_sync() -> None:
    expected = b"P\0\0\0\x0d\0BEGIN\0\0\0" + b"B\0\0\0\x0c" + bytes(8) + b"E\0\0\0\x09" + bytes(5)

    assert expected == BEGIN
