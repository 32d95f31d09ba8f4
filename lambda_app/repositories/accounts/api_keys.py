"""Queries on API keys."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Update, and_, bindparam, func, insert, or_, select, update
from sqlalchemy.orm import Session, make_transient

from lambda_app.core import clock
from lambda_app.core.errors import NotFoundError
from lambda_app.models import ApiKey, User
from lambda_app.repositories.accounts.current_user import lock_current
from lambda_app.repositories.audit import audited_change, with_event
from lambda_app.repositories.statements import OWN_TRANSACTION, built_once, set_columns, typed_columns

LAST_USED_STEP = timedelta(hours=1)
"""Resolution of `last_used_at`, so that not every request writes it."""


def is_valid_key(now: datetime | ColumnElement[datetime]) -> ColumnElement[bool]:
    """Return the condition that joins an API key that is in force with its active owner."""
    return and_(
        User.id == ApiKey.user_id,
        ApiKey.revoked_at.is_(None),
        or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now),
        ApiKey.token_epoch == User.token_epoch,
        User.is_active,
    )


# Nearly every request with an API key executes this.
_KEY_WITH_OWNER = (
    select(ApiKey, User)
    .join(User, is_valid_key(bindparam("now", type_=ApiKey.created_at.type)))
    .where(ApiKey.key_hash == bindparam("key_hash"))
)


class ApiKeyRepository:
    """Reads and writes the rows of `api_key`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_with_owner(self, key_hash: str) -> tuple[ApiKey, User] | None:
        """Return a valid key and its active owner, in one query; None if the key is unknown, revoked or expired."""
        row = self._session.execute(_KEY_WITH_OWNER, {"now": clock.now(), "key_hash": key_hash}).one_or_none()
        return None if row is None else (row[0], row[1])

    def record_use(self, key: ApiKey) -> None:
        """Set `last_used_at` and commit, at most once an hour."""
        now = clock.now()
        if key.last_used_at is not None and now - key.last_used_at < LAST_USED_STEP:
            return
        self._session.execute(*_record_use(key_id=key.id, now=now))

    def lock_owner(self, owner: User) -> None:
        """Lock the user until the end of the caller's transaction, so that their keys are created and revoked one after the other.

        Raises NotAuthenticatedError if the credentials of the request have ended since it was authenticated.
        """
        lock_current(self._session, owner.id, token_epoch=owner.token_epoch)

    def get_valid(self, key_id: UUID, owner: User) -> ApiKey | None:
        """Return one of the user's keys as currently stored; None if it is revoked."""
        query = _get_valid(key_id=key_id, user_id=owner.id, token_epoch=owner.token_epoch)
        return self._session.execute(*query).scalar_one_or_none()

    def add(self, key: ApiKey, *, keys_max: int) -> bool:
        """Insert the key and audit it within the caller's transaction; False if the user has `keys_max` keys already.

        The caller has locked the user (`lock_owner`), which makes the limit exact.
        """
        details = {"scopes": key.scopes, "expires_at": key.expires_at}
        statement = with_event(_add(keys_max=keys_max, **set_columns(key)), "api_key.created", details=details)
        return self._session.execute(*statement).scalar_one_or_none() is not None

    def drop_superuser(self, owner: User) -> None:
        """Remove the superuser permission from the object in memory, for a key without the scope; the row keeps it."""
        # A transient object is never written back.
        make_transient(owner)
        owner.is_superuser = False

    def list_for_user(self, user: User) -> list[ApiKey]:
        """Return the user's keys that are not revoked, newest first."""
        return list(self._session.execute(*_list(user_id=user.id, token_epoch=user.token_epoch)).scalars())

    def revoke(self, key_id: UUID, *, user_id: UUID) -> None:
        """Revoke one of the user's keys and the keys that it created, directly or not. Raises NotFoundError.

        Lock order: the user, the keys. The first lock keeps a key from creating another meanwhile.
        """
        self._session.execute(*_lock_user(user_id=user_id))
        revoked = _revoke(key_id=key_id, user_id=user_id, now=clock.now())
        if not self._session.execute(*with_event(revoked, "api_key.revoked")).all():
            raise NotFoundError("API key not found", code="api_key_not_found")


def _live_of(user_id: UUID, token_epoch: int) -> tuple[ColumnElement[bool], ...]:
    return ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None), ApiKey.token_epoch == token_epoch


@built_once
def _record_use(*, key_id: UUID, now: datetime) -> Update:
    return update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=now).execution_options(**OWN_TRANSACTION)


@built_once
def _get_valid(*, key_id: UUID, user_id: UUID, token_epoch: int) -> Select[ApiKey]:
    query = select(ApiKey).where(ApiKey.id == key_id, *_live_of(user_id, token_epoch))
    return query.execution_options(populate_existing=True)


@built_once
def _add(*, keys_max: int, user_id: UUID, token_epoch: int, **columns: Any) -> Select[ApiKey]:
    values = typed_columns(ApiKey, user_id=user_id, token_epoch=token_epoch, **columns)
    others = select(func.count()).select_from(ApiKey).where(*_live_of(user_id, token_epoch)).scalar_subquery()
    created = insert(ApiKey).from_select(list(values), select(*values.values()).where(others < keys_max))
    return audited_change(created.returning(*ApiKey.__table__.c), ApiKey)


@built_once
def _list(*, user_id: UUID, token_epoch: int) -> Select[ApiKey]:
    return select(ApiKey).where(*_live_of(user_id, token_epoch)).order_by(ApiKey.created_at.desc(), ApiKey.id)


@built_once
def _lock_user(*, user_id: UUID) -> Select[UUID]:
    return select(User.id).where(User.id == user_id).with_for_update(key_share=True)


@built_once
def _revoke(*, key_id: UUID, user_id: UUID, now: datetime) -> Select[ApiKey]:
    revoked = select(ApiKey.id).where(ApiKey.id == key_id, ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    family = revoked.cte("family", recursive=True)
    family = family.union(select(ApiKey.id).join(family, ApiKey.created_by_id == family.c.id))
    change = update(ApiKey).where(ApiKey.id.in_(select(family.c.id)), ApiKey.revoked_at.is_(None)).values(revoked_at=now)
    return audited_change(change.returning(*ApiKey.__table__.c), ApiKey)


def expiry_in(days: int | None) -> datetime | None:
    """Return the expiry time of a key that is valid for `days` days; None means that it never expires."""
    return None if days is None else clock.now() + timedelta(days=days)
