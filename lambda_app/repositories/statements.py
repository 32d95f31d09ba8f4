"""Parts that the statements of several repositories share."""

import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache, wraps
from typing import Any, Final, Generic, NamedTuple, ParamSpec, TypeVar
from typing import cast as as_type
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    Boolean,
    ClauseElement,
    ColumnClause,
    ColumnElement,
    DateTime,
    Executable,
    Interval,
    Select,
    Table,
    TableValuedAlias,
    Text,
    Uuid,
    bindparam,
    cast,
    column,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import NullType, TypeEngine

from lambda_app.schemas.page import Cursor

Row = TypeVar("Row")
P = ParamSpec("P")
S = TypeVar("S", bound=Executable)

OWN_TRANSACTION: Final = {"own_transaction": True, "synchronize_session": False, "populate_existing": True}
"""Execution options of a statement that commits by itself. The rows it returns replace those that the session loaded before."""


STATEMENTS_PER_FUNCTION: Final = 256
"""Statements that one function keeps. Filters and changed columns make the combinations."""

_TYPES: Final[Mapping[type, TypeEngine[Any]]] = {
    UUID: Uuid(),
    datetime: DateTime(timezone=True),
    timedelta: Interval(),
    bool: Boolean(),
}
"""The types of parameters. Others get theirs from the column that they are compared with or written to, or from `as_column`."""


class Bound(NamedTuple, Generic[S]):
    """A statement that is built once, and the values of its parameters for one execution."""

    statement: S
    values: dict[str, Any]


def built_once(build: Callable[P, S]) -> Callable[P, Bound[S]]:
    """Make a function that returns a statement build it once, for `session.execute(*function(…))`.

    The keyword arguments are values. The function gets a parameter in place of each one, and None for None; a cursor has two. Positional
    arguments decide the form of the statement and must be hashable. A statement is kept for each combination of the positional arguments
    and of the values that are None. So the function must not read the clock or the current request.
    """

    @lru_cache(maxsize=STATEMENTS_PER_FUNCTION)
    def statement(shape: tuple[Hashable, ...], kinds: tuple[tuple[str, type | None], ...]) -> S:
        parameters = {name: _parameter(name, kind) for name, kind in kinds}
        return as_type("Callable[..., S]", build)(*shape, **parameters)

    @wraps(build)
    def bound(*shape: P.args, **values: P.kwargs) -> Bound[S]:
        given: dict[str, Any] = {}
        for name, value in values.items():
            if isinstance(value, Cursor):
                given |= {_key(f"{name}_value"): value.value, _key(f"{name}_id"): value.id}
            elif value is not None:
                given[_key(name)] = value
        return Bound(statement(shape, tuple((name, _kind(value)) for name, value in values.items())), given)

    return bound


class _Position(NamedTuple):
    """The members of a cursor, as parameters."""

    value: Any
    id: Any


def _key(name: str) -> str:
    # SQLAlchemy reserves the names of columns for the values of inserts and updates.
    return f"given_{name}"


def _kind(value: object) -> type | None:
    if value is None:
        return None
    if isinstance(value, ClauseElement):
        raise TypeError("A value of a statement that is built once cannot be SQL")
    return next((kind for kind in (Cursor, *_TYPES) if isinstance(value, kind)), object)


def _parameter(name: str, kind: type | None) -> Any:
    if kind is None:
        return None
    if kind is Cursor:
        return _Position(_parameter(f"{name}_value", object), _parameter(f"{name}_id", UUID))
    return bindparam(_key(name), type_=_TYPES.get(kind))


def as_column(value: Any, kind: TypeEngine[Any]) -> ColumnElement[Any]:
    """Return the value as a parameter of this type; a parameter that has a type, or another expression, as it is."""
    if isinstance(value, BindParameter) and isinstance(value.type, NullType):
        return bindparam(value.key, type_=kind)
    return value if isinstance(value, ColumnElement) else literal(value, kind)


def table_of(model: Any) -> Table:
    """Return the model's table, for a write that the session does not translate."""
    return as_type("Table", model.__table__)


def set_columns(row: Any) -> dict[str, Any]:
    """Return the columns of a new row that have a value. The others get their defaults."""
    columns = {column.key: getattr(row, column.key) for column in row.__table__.c}
    return {name: value for name, value in columns.items() if value is not None}


def typed_columns(model: Any, **values: Any) -> dict[str, ColumnElement[Any]]:
    """Return the values as parameters of the types of their columns, to insert them from a query."""
    return {name: as_column(value, model.__table__.c[name].type) for name, value in values.items()}


def newest_page(query: Select[Row], model: Any, *, limit: int, after: Cursor | None) -> Select[Row]:
    """Return the query for up to `limit` rows of the model, newest first, after the cursor's row."""
    if after is not None:
        last = tuple_(as_column(after.value, model.created_at.type), as_column(after.id, model.id.type))
        query = query.where(tuple_(model.created_at, model.id) < last)
    return query.order_by(model.created_at.desc(), model.id.desc()).limit(limit)


def json_text(rows: Iterable[Any]) -> str:
    """Return the rows as the value of one JSON parameter, because RDS Proxy pins a connection for a statement longer than 16 kB."""
    return json.dumps(list(rows), default=str)


def json_parameter(rows: Any) -> ColumnElement[Any]:
    """Return the rows, or a parameter that is their `json_text`, as JSON."""
    return cast(as_column(rows if isinstance(rows, ColumnElement) else json_text(rows), Text()), JSONB)


def json_rows(name: str, rows: Any, *columns: ColumnClause[Any]) -> TableValuedAlias:
    """Return the rows as a table, from one JSON parameter: see `json_parameter`."""
    return func.jsonb_to_recordset(json_parameter(rows)).table_valued(*columns).render_derived(name=name, with_types=True)


def ids_text(ids: Iterable[UUID]) -> str:
    """Return the ids as the value of the parameter of `is_one_of`."""
    return json_text({"id": each} for each in ids)


def is_one_of(column_of_ids: Any, ids: Any) -> ColumnElement[bool]:
    """Return the condition that the column has one of the ids, however many they are. `ids` is a parameter: see `ids_text`."""
    found: ColumnElement[bool] = column_of_ids.in_(select(json_rows("ids", ids, column("id", Uuid)).c.id))
    return found
