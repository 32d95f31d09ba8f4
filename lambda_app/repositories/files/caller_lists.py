"""The list of a caller's files, in one flush: a statement that authenticates, one for the page, and one for the total.

The later statements use the user id of the credential. Their rows are dropped if the first one returns no caller. They have no rows of
other users: the lists that only superusers may read are in `FileRepository`.
"""

from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Integer, Select, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY

from lambda_app.core import clock
from lambda_app.db.compiled import CompiledStatement, Read, Steps, parameter
from lambda_app.models import File, User
from lambda_app.repositories.accounts.callers import AUTHENTICATE, Caller, Credential, CredentialKind, caller_of, select_caller
from lambda_app.repositories.files.file_access import Viewer
from lambda_app.repositories.files.file_json import file_json
from lambda_app.repositories.files.files import LIKE_ESCAPE, SORT_TYPES, Listed
from lambda_app.schemas.files.file_lists import FileFilter, FileOrder, Shared
from lambda_app.schemas.page import Cursor

SHAPES_MAX = 256
"""Compiled statements that are kept: one per combination of filters, order and credential."""

_PARAMETER_TYPES = {
    "name": Text(),
    "content_type": File.content_type.type,
    "ids": ARRAY(Uuid()),
    "updated_after": File.updated_at.type,
    "created_after": File.created_at.type,
    "created_before": File.created_at.type,
    "size_min": BigInteger(),
    "size_max": BigInteger(),
    "file_request_id": File.file_request_id.type,
}
"""The filters whose values are parameters. The others are part of the statement."""


class _Shape(NamedTuple):
    """What distinguishes one statement from another."""

    kind: CredentialKind
    order: FileOrder
    filters: FileFilter
    """The filters that are parameters have the value True."""
    has_cursor: bool
    has_skip: bool


class ListedFiles(NamedTuple):
    """The caller, the files of the page as JSON, and their total number, if it was requested."""

    caller: Caller | None
    files: list[str]
    total: int | None


class CallerListRepository:
    """Lists the files of callers that are authenticated in the same flush."""

    @staticmethod
    def page(
        credential: Credential,
        filters: FileFilter,
        *,
        order: FileOrder,
        skip: int,
        limit: int,
        after: Cursor | None,
        count_up_to: int | None,
    ) -> Steps[ListedFiles]:
        """Return up to `limit` files of the caller's list, after the cursor or after `skip` rows, and count up to `count_up_to` of them.

        A filter by name needs a text that has trigrams. Raises MalformedRequestError for a cursor of another order.
        """
        parameters = {**credential.parameters, "now": clock.now(), "limit": limit, "skip": skip, "up_to": count_up_to}
        if after is not None:
            parameters |= {"after_value": after.value_for(order), "after_id": after.id}
        shape = _Shape(credential.kind, order, _shape_of(filters, parameters), after is not None, skip > 0 and after is None)
        statements = [AUTHENTICATE[credential.kind], _page_statement(shape)]
        if count_up_to is not None:
            statements.append(_count_statement(shape))
        callers, rows, *counts = yield Read(statements, parameters)
        caller = caller_of(callers)
        if caller is None:
            return ListedFiles(None, [], None)
        return ListedFiles(caller, [row[0] for row in rows], counts[0][0][0] if counts else None)


def _shape_of(filters: FileFilter, parameters: dict[str, Any]) -> FileFilter:
    """Return the filters without their values, which are added to the parameters."""
    shape: dict[str, Any] = {}
    for field in fields(filters):
        value = getattr(filters, field.name)
        if value is not None and field.name in _PARAMETER_TYPES:
            parameters[field.name] = _ENCODERS.get(field.name, _unchanged)(value)
            value = True
        shape[field.name] = value
    return FileFilter(**shape)


def _unchanged(value: Any) -> Any:
    return value


def _escaped(prefix: str) -> str:
    for character in (LIKE_ESCAPE, "%", "_"):
        prefix = prefix.replace(character, LIKE_ESCAPE + character)
    return prefix


_ENCODERS: dict[str, Callable[[Any], Any]] = {"content_type": _escaped, "ids": list}


def _listed(shape: _Shape) -> Listed:
    values = {field.name: getattr(shape.filters, field.name) for field in fields(shape.filters)}
    for name, kind in _PARAMETER_TYPES.items():
        if values[name] is not None:
            values[name] = parameter(name, kind)
    return Listed.of(_viewer(shape.kind), FileFilter(**values), is_descending=shape.order.is_descending)


def _viewer(kind: CredentialKind) -> Viewer:
    # Never a superuser: this is the list of the caller's own files, or of those shared with or by the caller.
    user_id: ColumnElement[Any] = parameter("caller_id", User.id.type)
    if kind is CredentialKind.API_KEY:
        user_id = select_caller(kind).with_only_columns(User.id).correlate(None).scalar_subquery()
    return SimpleNamespace(id=user_id, is_superuser=False)


def _page(shape: _Shape) -> Select[Any]:
    listed = _listed(shape)
    after = None
    if shape.has_cursor:
        after = parameter("after_value", SORT_TYPES[shape.order.field]), parameter("after_id", File.id.type)
    skip: Any = parameter("skip", Integer()) if shape.has_skip else 0
    row = file_json(listed.entity, names_owner=shape.filters.shared is Shared.WITH_ME)
    return listed.page(row, shape.order, skip=skip, limit=parameter("limit", Integer()), after=after)


def _count(shape: _Shape) -> Select[Any]:
    return _listed(shape).total(parameter("up_to", Integer()))


@lru_cache(SHAPES_MAX)
def _page_statement(shape: _Shape) -> CompiledStatement:
    return CompiledStatement(partial(_page, shape))


@lru_cache(SHAPES_MAX)
def _count_statement(shape: _Shape) -> CompiledStatement:
    return CompiledStatement(partial(_count, shape))
