"""Queries on the encrypted tokens of share links and file requests, for their re-encryption."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from lambda_app.models import FileRequest, Share
from lambda_app.repositories.statements import OWN_TRANSACTION

TOKEN_MODELS: tuple[type[Share] | type[FileRequest], ...] = (Share, FileRequest)


class StoredToken(NamedTuple):
    """The encrypted token of a row."""

    id: UUID
    encrypted_token: str


class LinkTokenRepository:
    """Reads and replaces encrypted tokens of one table."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def page(self, model: type[Share] | type[FileRequest], *, after: UUID | None, limit: int) -> Sequence[StoredToken]:
        """Return up to `limit` encrypted tokens after the row `after`, in order of the ids."""
        query = select(model.id, model.encrypted_token).where(model.encrypted_token.is_not(None)).order_by(model.id).limit(limit)
        if after is not None:
            query = query.where(model.id > after)
        return [StoredToken(row[0], row[1] or "") for row in self._session.execute(query)]

    def replace(self, model: type[Share] | type[FileRequest], token: StoredToken, encrypted_token: str) -> bool:
        """Replace an encrypted token and commit; False if it was changed meanwhile."""
        unchanged = (model.id == token.id, model.encrypted_token == token.encrypted_token)
        statement = update(model).where(*unchanged).values(encrypted_token=encrypted_token).returning(model.id)
        return self._session.execute(statement.execution_options(**OWN_TRANSACTION)).scalar_one_or_none() is not None
