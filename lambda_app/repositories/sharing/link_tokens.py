"""Queries on the encrypted tokens of links, and the secrets of second factors and webhooks, for their re-encryption."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Select, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql.dml import ReturningUpdate

from lambda_app.models import FileRequest, Share, User, Webhook
from lambda_app.repositories.statements import OWN_TRANSACTION, built_once

TOKEN_COLUMNS: tuple[InstrumentedAttribute[Any], ...] = (
    Share.encrypted_token,
    FileRequest.encrypted_token,
    User.totp_secret,
    # In this order: a rotation meanwhile moves the secret to the second column.
    Webhook.encrypted_secret,
    Webhook.encrypted_previous_secret,
)
"""Everything that the link key encrypts. Each is bound to the id of its row."""


class StoredToken(NamedTuple):
    """The encrypted token of a row."""

    id: UUID
    encrypted_token: str


class LinkTokenRepository:
    """Reads and replaces encrypted tokens of one table."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def page(self, column: InstrumentedAttribute[Any], *, after: UUID | None, limit: int) -> Sequence[StoredToken]:
        """Return up to `limit` encrypted tokens after the row `after`, in order of the ids."""
        return [StoredToken(row[0], row[1] or "") for row in self._session.execute(*_page(column, after=after, limit=limit))]

    def replace(self, column: InstrumentedAttribute[Any], token: StoredToken, encrypted_token: str) -> bool:
        """Replace an encrypted token and commit; False if it was changed meanwhile."""
        replaced = _replace(column, token_id=token.id, encrypted_token=token.encrypted_token, successor=encrypted_token)
        return self._session.execute(*replaced).scalar_one_or_none() is not None


@built_once
def _page(column: InstrumentedAttribute[Any], *, after: UUID | None, limit: int) -> Select[UUID, str]:
    model = column.class_
    query = select(model.id, column).where(column.is_not(None)).order_by(model.id).limit(limit)
    return query if after is None else query.where(model.id > after)


@built_once
def _replace(column: InstrumentedAttribute[Any], *, token_id: UUID, encrypted_token: str, successor: str) -> ReturningUpdate[UUID]:
    model = column.class_
    unchanged = (model.id == token_id, column == encrypted_token)
    statement = update(model).where(*unchanged).values({column.key: successor}).returning(model.id)
    return statement.execution_options(**OWN_TRANSACTION)
