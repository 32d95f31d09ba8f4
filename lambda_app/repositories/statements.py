"""Parts that the statements of several repositories share."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import ColumnClause, ColumnElement, Select, TableValuedAlias, Text, Uuid, cast, column, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from lambda_app.schemas.page import Cursor

Row = TypeVar("Row")

OWN_TRANSACTION: Final = {"own_transaction": True, "synchronize_session": False, "populate_existing": True}
"""Execution options of a statement that commits by itself. The rows it returns replace those that the session loaded before."""


def as_column(value: Any, kind: TypeEngine[Any]) -> ColumnElement[Any]:
    """Return the value as a parameter of this type; a parameter or another expression as it is."""
    return value if isinstance(value, ColumnElement) else literal(value, kind)


def newest_page(query: Select[Row], model: Any, *, limit: int, after: Cursor | None) -> Select[Row]:
    """Return the query for up to `limit` rows of the model, newest first, after the cursor's row."""
    if after is not None:
        last = tuple_(literal(after.value, model.created_at.type), literal(after.id, model.id.type))
        query = query.where(tuple_(model.created_at, model.id) < last)
    return query.order_by(model.created_at.desc(), model.id.desc()).limit(limit)


def json_parameter(rows: Sequence[Any]) -> ColumnElement[Any]:
    """Return the rows as one JSON parameter, because RDS Proxy pins a connection for a statement longer than 16 kB."""
    return cast(literal(json.dumps(rows, default=str), Text), JSONB)


def json_rows(name: str, rows: Sequence[Any], *columns: ColumnClause[Any]) -> TableValuedAlias:
    """Return the rows as a table, from one JSON parameter."""
    return func.jsonb_to_recordset(json_parameter(rows)).table_valued(*columns).render_derived(name=name, with_types=True)


def is_one_of(column_of_ids: Any, ids: Iterable[UUID]) -> ColumnElement[bool]:
    """Return the condition that the column has one of the ids, however many they are."""
    found: ColumnElement[bool] = column_of_ids.in_(select(json_rows("ids", [{"id": each} for each in ids], column("id", Uuid)).c.id))
    return found
