"""The events of a caller, in one flush: a statement that authenticates, and one for the page.

The second statement uses the user id of the credential. Its rows are dropped if the first one returns no caller.
"""

from functools import lru_cache, partial
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Integer, Select, Text, cast, select

from lambda_app.core import clock
from lambda_app.db.compiled import CompiledStatement, StatementRunner, parameter
from lambda_app.models import PublishedEvent, User
from lambda_app.repositories.accounts.callers import AUTHENTICATE, Caller, Credential, CredentialKind, caller_of, select_caller
from lambda_app.repositories.json_rows import json_object, json_time


class FeedPage(NamedTuple):
    """The caller, and the events of the page: the number and the JSON of each."""

    caller: Caller | None
    events: list[tuple[int, str]]


class CallerEventRepository:
    """Lists the events of callers that are authenticated in the same flush."""

    def __init__(self, runner: StatementRunner) -> None:
        self._runner = runner

    def page(self, credential: Credential, *, after: int | None, limit: int, event_type: str | None) -> FeedPage:
        """Return up to `limit` events of the caller with higher numbers than `after`, oldest first. With None, the newest event only."""
        parameters = {**credential.parameters, "now": clock.now(), "after": after, "limit": limit, "type": event_type}
        statement = _page_statement(credential.kind, is_newest=after is None, has_type=event_type is not None)
        callers, rows = self._runner.read_each([AUTHENTICATE[credential.kind], statement], parameters)
        caller = caller_of(callers)
        return FeedPage(caller, [] if caller is None else [(row[0], row[1]) for row in rows])


@lru_cache
def _page_statement(kind: CredentialKind, *, is_newest: bool, has_type: bool) -> CompiledStatement:
    return CompiledStatement(partial(_page, kind, is_newest=is_newest, has_type=has_type))


def _page(kind: CredentialKind, *, is_newest: bool, has_type: bool) -> Select[Any]:
    owner_id: ColumnElement[Any] = parameter("caller_id", User.id.type)
    if kind is CredentialKind.API_KEY:
        owner_id = select_caller(kind).with_only_columns(User.id).correlate(None).scalar_subquery()
    event = PublishedEvent.__table__.c
    shown = json_object(
        PublishedEvent.__table__, id=event.id, type=event.type, at=json_time(event.at), subject=event.subject, data=event.data
    )
    query = select(event.id, cast(shown, Text)).where(event.owner_id == owner_id)
    if is_newest:
        return query.order_by(event.id.desc()).limit(1)
    if has_type:
        query = query.where(event.type == parameter("type", event.type.type))
    return query.where(event.id > parameter("after", BigInteger())).order_by(event.id).limit(parameter("limit", Integer()))
