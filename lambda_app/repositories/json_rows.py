"""Rows that PostgreSQL writes as the JSON of a response, so that the process neither builds nor validates an object for each."""

from typing import Any

from sqlalchemy import ColumnElement, Text, cast, func, select


def json_time(time: ColumnElement[Any]) -> ColumnElement[str]:
    """Return the time as `schemas.text.Timestamp` writes it."""
    return func.to_char(func.timezone("UTC", time), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')


def json_object(table: Any, **fields: ColumnElement[Any]) -> ColumnElement[str]:
    """Return the JSON object of expressions of the row of `table` that the statement reads, in their order and without spaces."""
    row = select(*(value.label(name) for name, value in fields.items())).correlate(table).subquery("shown")
    return cast(select(func.row_to_json(row.table_valued())).scalar_subquery(), Text)
