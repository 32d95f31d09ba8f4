"""Statements that are built once must have all that changes as parameters: a time or an id in them would stay that of the first request."""

from collections.abc import Callable
from datetime import date
from functools import partial
from uuid import UUID

import pytest
from sqlalchemy import Executable

from lambda_app.core.logs import request_id
from lambda_app.core.request_context import RequestContext, reset_request_context, set_request_context
from lambda_app.db.dialect import WireDialect
from lambda_app.repositories.accounts import api_keys, sessions, sign_in_attempts
from lambda_app.repositories.files import files, transitions

ADDRESS, REQUEST = "203.0.113.77", "request-of-the-first-caller"

STATEMENTS: dict[str, Callable[[], Executable]] = {
    "user of a session": lambda: sessions._USER_OF_SESSION,
    "sign-in": lambda: sessions._open.__wrapped__(resets_attempt=True),
    "refresh": sessions._rotate.__wrapped__,
    "admission": sign_in_attempts._admit.__wrapped__,
    "first refusal": sign_in_attempts._record_refusal.__wrapped__,
    "reset of counters": sign_in_attempts.reset_attempt.__wrapped__,
    "API key": lambda: api_keys._KEY_WITH_OWNER,
    "file": files._get.__wrapped__,
    "managed file": lambda: files._permitted.__wrapped__(None, is_superuser=False),
    "changeable file": lambda: files._permitted.__wrapped__(frozenset({"filename"}), is_superuser=False),
    "update": lambda: files._update.__wrapped__(frozenset({"description", "filename"}), is_superuser=False, has_revisions=True),
    "visibility": lambda: files._update.__wrapped__(frozenset({"is_public"}), is_superuser=True, has_revisions=False),
    "completion": partial(transitions._accept.__wrapped__, False, False),
    "completion before a scan and a preview": partial(transitions._accept.__wrapped__, True, True),
    **{
        str(move.action): partial(transitions._managed_move.__wrapped__, move, is_superuser=False, has_revisions=True)
        for move in (transitions._TRASH, transitions._RESTORE, transitions._DELETE)
    },
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_statement_that_is_built_once_has_no_value_of_a_request(name: str) -> None:
    context = set_request_context(RequestContext(source_address=ADDRESS, user_agent="agent", actor_id=UUID(int=7), credential="session:7"))
    token = request_id.set(REQUEST)
    try:
        compiled = STATEMENTS[name]().compile(dialect=WireDialect())  # type: ignore[attr-defined]  # every statement is compiled so
    finally:
        request_id.reset(token)
        reset_request_context(context)

    values = [value for value in compiled.params.values() if value is not None]
    assert [value for value in values if isinstance(value, date | UUID) or value in (ADDRESS, REQUEST, "session:7")] == []
