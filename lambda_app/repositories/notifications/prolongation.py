"""The expiry of share links and file requests, for the link of a mail that prolongs one."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, exists, select, update
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.core.security.notification_tokens import Prolonged
from lambda_app.models import FileRequest, Share, User
from lambda_app.repositories.audit import audited_change, with_event
from lambda_app.repositories.statements import OWN_TRANSACTION, built_once

_MODELS: Mapping[Prolonged, type[Share] | type[FileRequest]] = {Prolonged.LINK: Share, Prolonged.FILE_REQUEST: FileRequest}


class Owner(NamedTuple):
    """The active owner, and the language and time zone of the profile."""

    email: str
    locale: str | None
    time_zone: str | None


class ProlongationRepository:
    """Reads and moves the expiry of a link or file request that is open and has exactly the expected expiry."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find_owner(self, kind: Prolonged, id_: UUID, *, owner_id: UUID, expires_at: datetime) -> Owner | None:
        """Return the active owner; None if there is no such link or file request."""
        row = self._session.execute(*_owner(kind, id_=id_, owner_id=owner_id, expires_at=expires_at, now=clock.now())).one_or_none()
        return None if row is None else Owner(*row)

    def prolong(self, kind: Prolonged, id_: UUID, *, owner_id: UUID, expires_at: datetime, until: datetime) -> bool:
        """Move the expiry, audit it and commit; False if there is no such object any more. Two requests at once move it once."""
        prolonged = _prolong(kind, id_=id_, owner_id=owner_id, expires_at=expires_at, until=until, now=clock.now())
        action = f"{_MODELS[kind].__tablename__}.updated"
        event = with_event(prolonged, action, details={"fields": ["expires_at"], "by": "mail"})
        return self._session.execute(*event).scalar_one_or_none() is not None


def _expiring(
    model: type[Share] | type[FileRequest], id_: UUID, owner_id: UUID, expires_at: datetime, now: datetime
) -> tuple[ColumnElement[bool], ...]:
    is_open = (model.revoked_at.is_(None), model.expires_at == expires_at, model.expires_at > now)
    return model.id == id_, model.owner_id == owner_id, *is_open


@built_once
def _owner(kind: Prolonged, *, id_: UUID, owner_id: UUID, expires_at: datetime, now: datetime) -> Select[str, str | None, str | None]:
    model = _MODELS[kind]
    query = select(User.email, User.locale, User.time_zone).join(model, model.owner_id == User.id)
    return query.where(User.is_active, *_expiring(model, id_, owner_id, expires_at, now))


@built_once
def _prolong(kind: Prolonged, *, id_: UUID, owner_id: UUID, expires_at: datetime, until: datetime, now: datetime) -> Select[Any]:
    model = _MODELS[kind]
    is_owner_active = exists().where(User.id == model.owner_id, User.is_active)
    change = update(model).where(*_expiring(model, id_, owner_id, expires_at, now), is_owner_active)
    changed = change.values(expires_at=until, updated_at=now).returning(*model.__table__.c)
    return audited_change(changed, model, actor="owner_id").execution_options(**OWN_TRANSACTION)
