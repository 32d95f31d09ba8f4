"""Queries on API keys."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import insert, or_, select, update
from sqlalchemy.orm import Session, make_transient

from lambda_app.core import clock
from lambda_app.core.errors import NotFoundError
from lambda_app.models import ApiKey, User
from lambda_app.repositories.audit import audit_entry, audited_change, audited_writes
from lambda_app.repositories.statements import OWN_TRANSACTION

LAST_USED_STEP = timedelta(hours=1)
"""Resolution of `last_used_at`, so that not every request writes it."""


class ApiKeyRepository:
    """Reads and writes the rows of `api_key`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_with_owner(self, key_hash: str) -> tuple[ApiKey, User] | None:
        """Return a valid key and its active owner, in one query; None if the key is unknown, revoked or expired."""
        query = (
            select(ApiKey, User)
            .join(User, User.id == ApiKey.user_id)
            .where(
                ApiKey.key_hash == key_hash,
                ApiKey.revoked_at.is_(None),
                or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > clock.now()),
                ApiKey.token_epoch == User.token_epoch,
                User.is_active,
            )
        )
        row = self._session.execute(query).one_or_none()
        return None if row is None else (row[0], row[1])

    def record_use(self, key: ApiKey) -> None:
        """Set `last_used_at` and commit, at most once an hour."""
        now = clock.now()
        if key.last_used_at is not None and now - key.last_used_at < LAST_USED_STEP:
            return
        statement = update(ApiKey).where(ApiKey.id == key.id).values(last_used_at=now)
        self._session.execute(statement.execution_options(**OWN_TRANSACTION))

    def add(self, key: ApiKey) -> None:
        """Insert the key and audit it within the caller's transaction."""
        columns = {column.key: getattr(key, column.key) for column in ApiKey.__table__.c}
        entry = audit_entry("api_key.created", subject=f"api_key:{key.id}", details={"scopes": key.scopes, "expires_at": key.expires_at})
        self._session.execute(audited_writes(insert(ApiKey).values(**columns), entry=entry, lock_user_ids=[key.user_id]))

    def drop_superuser(self, owner: User) -> None:
        """Remove the superuser permission from the object in memory, for a key without the scope; the row keeps it."""
        # A transient object is never written back.
        make_transient(owner)
        owner.is_superuser = False

    def list_for_user(self, user: User) -> list[ApiKey]:
        """Return the user's keys that are not revoked, newest first."""
        query = (
            select(ApiKey)
            .where(ApiKey.user_id == user.id, ApiKey.revoked_at.is_(None), ApiKey.token_epoch == user.token_epoch)
            .order_by(ApiKey.created_at.desc(), ApiKey.id)
        )
        return list(self._session.execute(query).scalars())

    def revoke(self, key_id: UUID, *, user_id: UUID) -> None:
        """Revoke one of the user's keys. Raises NotFoundError."""
        change = (
            update(ApiKey)
            .where(ApiKey.id == key_id, ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
            .values(revoked_at=clock.now())
            .returning(*ApiKey.__table__.c)
        )
        statement = audited_change(change, ApiKey, "api_key.revoked")
        if self._session.execute(statement).scalar_one_or_none() is None:
            raise NotFoundError("API key not found", code="api_key_not_found")


def expiry_in(days: int | None) -> datetime | None:
    """Return the expiry time of a key that is valid for `days` days; None means that it never expires."""
    return None if days is None else clock.now() + timedelta(days=days)
